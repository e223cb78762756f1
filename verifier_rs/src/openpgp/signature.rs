//! Signature packets of version 4 (RFC 9580 §5.2): what they say in their hashed part, and whether they hold.

use der::Encode;
use der::asn1::UintRef;

use crate::keys::method::{Method, digest_of, verify_message};
use crate::keys::{Algorithm, PublicKey};
use crate::openpgp::key::Scheme;
use crate::openpgp::packet::{length, number};
use crate::source::hex;
use crate::trust::{Hash, Options};
use crate::wire::Wire;

/// Types (RFC 9580 §5.2.1).
pub const BINARY: u8 = 0x00;
pub const TEXT: u8 = 0x01;
pub const SUBKEY_BINDING: u8 = 0x18;
pub const PRIMARY_BINDING: u8 = 0x19;
pub const DIRECT_KEY: u8 = 0x1f;
pub const KEY_REVOCATION: u8 = 0x20;
pub const SUBKEY_REVOCATION: u8 = 0x28;
pub const CERTIFICATION_REVOCATION: u8 = 0x30;

/// What may be marked as critical: subpackets that are acted on, and those that only inform (RFC 9580 §5.2.3.7).
const UNDERSTOOD: &[u8] = &[
    2, 3, 4, 7, 9, 11, 16, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 32, 33, 34,
];
/// Subpackets that would contradict themselves if they came twice.
const ONCE: &[u8] = &[2, 3, 9, 27, 29];
const MAX_SUBPACKETS: usize = 128;

/// A signature, read but not verified.
#[derive(Debug)]
pub struct Signature {
    pub kind: u8,
    algorithm: u8,
    pub hash: Result<Hash, String>,
    /// From the version to the end of the hashed subpackets.
    hashed: Vec<u8>,
    left: [u8; 2],
    value: Vec<u8>,
    /// Seconds since 1970, as the signer says.
    pub created: u32,
    /// Seconds after `created`; 0 is never.
    pub expires: u32,
    /// Seconds after the creation of the key that it binds; 0 is never.
    pub key_expires: u32,
    pub flags: Option<u8>,
    /// Why a key was revoked; `None` where it is not told.
    pub reason: Option<u8>,
    /// Fingerprint or, shorter, key id of who made it, in upper-case hexadecimal: hints.
    pub issuers: Vec<String>,
    /// The back signature of a signing subkey.
    pub embedded: Vec<Signature>,
    /// What is marked as critical and not understood, in words.
    pub unknown: Option<String>,
}

impl Signature {
    pub fn parse(body: &[u8]) -> Result<Self, String> {
        Self::read(body, true)
    }

    fn read(body: &[u8], may_embed: bool) -> Result<Self, String> {
        let mut wire = Wire::new(body);
        let version = wire.u8("the version of an OpenPGP signature")?;
        if version != 4 {
            return Err(format!(
                "expected an OpenPGP signature of version 4, found version {version}"
            ));
        }
        let kind = wire.u8("the type of an OpenPGP signature")?;
        let algorithm = wire.u8("the algorithm of an OpenPGP signature")?;
        let hash = match wire.u8("the hash of an OpenPGP signature")? {
            8 => Ok(Hash::Sha256),
            9 => Ok(Hash::Sha384),
            10 => Ok(Hash::Sha512),
            1 => Err("it is over MD5, which proves nothing".to_owned()),
            2 => Err("it is over SHA-1, which proves nothing any more".to_owned()),
            other => Err(format!(
                "it is over hash {other}; expected SHA-256, SHA-384 or SHA-512"
            )),
        };
        let mut out = Signature {
            kind,
            algorithm,
            hash,
            hashed: Vec::new(),
            left: [0; 2],
            value: Vec::new(),
            created: 0,
            expires: 0,
            key_expires: 0,
            flags: None,
            reason: None,
            issuers: Vec::new(),
            embedded: Vec::new(),
            unknown: None,
        };
        let protected = wire.u16("the length of the hashed subpackets")?;
        let protected = wire.take(usize::from(protected), "the hashed subpackets")?;
        out.hashed = body.get(..wire.at()).unwrap_or_default().to_owned();
        let free = wire.u16("the length of the unhashed subpackets")?;
        let free = wire.take(usize::from(free), "the unhashed subpackets")?;
        out.left = wire.array("the first bytes of the digest")?;
        out.value = wire.rest().to_owned();
        let seen = out.subpackets(protected, true, may_embed)?;
        if !seen.contains(&2) {
            return Err("an OpenPGP signature does not say when it was made".to_owned());
        }
        if let Some(twice) = ONCE
            .iter()
            .find(|kind| seen.iter().filter(|k| k == kind).count() > 1)
        {
            return Err(format!(
                "subpacket {twice} of an OpenPGP signature is there twice"
            ));
        }
        out.subpackets(free, false, may_embed)?;
        Ok(out)
    }

    /// Read one area. In the unhashed one only hints count, and what carries its own proof.
    fn subpackets(&mut self, area: &[u8], hashed: bool, may_embed: bool) -> Result<Vec<u8>, String> {
        let mut wire = Wire::new(area);
        let mut seen = Vec::new();
        while !wire.is_empty() {
            if seen.len() == MAX_SUBPACKETS {
                return Err(format!(
                    "expected at most {MAX_SUBPACKETS} subpackets, found more"
                ));
            }
            let size = usize::try_from(length(&mut wire, "the length of a subpacket")?).unwrap_or(usize::MAX);
            let mut body = Wire::new(wire.take(size, "a subpacket")?);
            let head = body.u8("the type of a subpacket")?;
            let (kind, critical) = (head & 0x7f, head & 0x80 != 0);
            seen.push(kind);
            if hashed {
                self.protected(kind, critical, body)?;
            }
            match kind {
                16 => self.issuers.push(hex(body.rest()).to_ascii_uppercase()),
                33 if body.rest().first() == Some(&4) => {
                    self.issuers
                        .push(hex(body.rest().get(1..).unwrap_or_default()).to_ascii_uppercase());
                }
                32 if may_embed => self.embedded.push(Self::read(body.rest(), false)?),
                _ => {}
            }
        }
        Ok(seen)
    }

    fn protected(&mut self, kind: u8, critical: bool, mut body: Wire<'_>) -> Result<(), String> {
        match kind {
            2 => self.created = body.u32("the creation time of a signature")?,
            3 => self.expires = body.u32("the expiration time of a signature")?,
            9 => self.key_expires = body.u32("the expiration time of a key")?,
            // Later bytes hold flags that do not concern signing.
            27 => self.flags = Some(body.rest().first().copied().unwrap_or(0)),
            29 => self.reason = Some(body.u8("the reason of a revocation")?),
            20 if critical => self.unknown = Some("a critical notation that we do not know".to_owned()),
            kind if critical && !UNDERSTOOD.contains(&kind) => {
                self.unknown = Some(format!("a critical subpacket of type {kind} that we do not know"));
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether this is one of the four certifications of a user id.
    pub fn certifies(&self) -> bool {
        (0x10..=0x13).contains(&self.kind)
    }

    /// Whether a key with this fingerprint could have made it: it is named, or nobody is.
    pub fn could_be_by(&self, fingerprint: &str) -> bool {
        let named = |issuer: &String| fingerprint.ends_with(issuer.as_str()) && issuer.len() >= 16;
        self.issuers.is_empty() || self.issuers.iter().all(named)
    }

    /// What is hashed behind the data (RFC 9580 §5.2.4).
    pub fn trailer(&self) -> Vec<u8> {
        let length = u32::try_from(self.hashed.len()).unwrap_or(u32::MAX);
        [&self.hashed, [4, 0xff].as_slice(), &length.to_be_bytes()].concat()
    }

    /// Whether it holds over `data`, given as its parts. `Err` says why not.
    pub fn verify(&self, scheme: Scheme, key: &PublicKey, data: &[&[u8]]) -> Result<(), String> {
        let hash = self.hash.clone()?;
        let trailer = self.trailer();
        let message = [data, &[&trailer]].concat();
        self.verify_digest(scheme, key, &digest_of(hash, &message))
    }

    /// As `verify`, for the finished digest over data and trailer.
    pub fn verify_digest(&self, scheme: Scheme, key: &PublicKey, digest: &[u8]) -> Result<(), String> {
        let hash = self.hash.clone()?;
        if let Some(unknown) = &self.unknown {
            return Err(format!("it has {unknown}"));
        }
        if scheme.id() != self.algorithm {
            return Err(format!(
                "it says algorithm {}, the key is one of algorithm {}",
                self.algorithm,
                scheme.id()
            ));
        }
        if !digest.starts_with(&self.left) {
            return Err("the digest of what was signed is another one".to_owned());
        }
        let value = self.value(scheme, key.algorithm)?;
        let options = match scheme {
            Scheme::EdDsaLegacy | Scheme::Ed25519 => Options::default(),
            Scheme::Rsa | Scheme::Ecdsa => Options {
                hash: Some(hash),
                ..Options::default()
            },
        };
        let method = Method::of(key, &options)?;
        let holds = match method.hash() {
            Some(_) => method.verify_digest(digest, &value),
            // Ed25519 signs the digest as its message.
            None => verify_message(key, &method, &[digest], &value),
        };
        if holds {
            Ok(())
        } else {
            Err("it does not hold".to_owned())
        }
    }

    /// The signature value as the verifying library takes it.
    fn value(&self, scheme: Scheme, algorithm: Algorithm) -> Result<Vec<u8>, String> {
        let mut wire = Wire::new(&self.value);
        let value = match scheme {
            Scheme::Rsa => {
                // As long as the modulus again: a number does not keep leading zeros.
                let bits = usize::try_from(algorithm.bits()).unwrap_or(usize::MAX);
                filled(number(&mut wire, "the RSA signature")?, bits.div_ceil(8))?
            }
            Scheme::Ed25519 => wire.take(64, "the Ed25519 signature")?.to_owned(),
            Scheme::EdDsaLegacy => {
                let r = filled(number(&mut wire, "R of the EdDSA signature")?, 32)?;
                [r, filled(number(&mut wire, "S of the EdDSA signature")?, 32)?].concat()
            }
            Scheme::Ecdsa => {
                let pair = [number(&mut wire, "r")?, number(&mut wire, "s")?];
                let encode = |pair: [&[u8]; 2]| -> der::Result<Vec<u8>> {
                    let [r, s] = pair;
                    vec![UintRef::new(r)?, UintRef::new(s)?].to_der()
                };
                encode(pair).map_err(|error| format!("the ECDSA signature cannot be read ({error})"))?
            }
        };
        wire.end("the OpenPGP signature")?;
        Ok(value)
    }
}

/// With zeros before it, to `length` bytes.
fn filled(number: &[u8], length: usize) -> Result<Vec<u8>, String> {
    let short = length.checked_sub(number.len()).ok_or_else(|| {
        format!(
            "a number of the signature has {} bytes, expected at most {length}",
            number.len()
        )
    })?;
    Ok([&vec![0; short], number].concat())
}
