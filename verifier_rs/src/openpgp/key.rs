//! Key packets of version 4 (RFC 9580 §5.5.2): the keys that can sign, as keys like any others.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

use crate::keys::{PublicKey, spki};
use crate::openpgp::packet::number;
use crate::source::hex;
use crate::wire::Wire;

const RSA: u8 = 1;
const ECDSA: u8 = 19;
const EDDSA_LEGACY: u8 = 22;
const ED25519: u8 = 27;

/// RFC 9580 §9.2.
const CURVE_P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const CURVE_P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
const CURVE_ED25519_LEGACY: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0xda, 0x47, 0x0f, 0x01];

/// How the signatures of a key are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Rsa,
    Ecdsa,
    /// Two numbers.
    EdDsaLegacy,
    /// 64 bytes.
    Ed25519,
}

impl Scheme {
    pub fn id(self) -> u8 {
        match self {
            Scheme::Rsa => RSA,
            Scheme::Ecdsa => ECDSA,
            Scheme::EdDsaLegacy => EDDSA_LEGACY,
            Scheme::Ed25519 => ED25519,
        }
    }
}

/// The body of a key packet, and when the key was made.
pub struct KeyPacket {
    pub body: Vec<u8>,
    pub created: u32,
    /// The key; or, in words, why nothing that it signs can be checked.
    pub key: Result<(Scheme, PublicKey), String>,
}

impl KeyPacket {
    pub fn parse(body: &[u8]) -> Result<Self, String> {
        let mut wire = Wire::new(body);
        let version = wire.u8("the version of an OpenPGP key")?;
        if version != 4 {
            return Err(format!(
                "expected an OpenPGP key of version 4, found version {version}"
            ));
        }
        let created = wire.u32("the creation time of an OpenPGP key")?;
        let algorithm = wire.u8("the algorithm of an OpenPGP key")?;
        if body.len() > usize::from(u16::MAX) {
            return Err("an OpenPGP key is longer than its fingerprint can cover".to_owned());
        }
        Ok(KeyPacket {
            body: body.to_owned(),
            created,
            key: material(wire, algorithm),
        })
    }

    /// What is hashed of a key, for its fingerprint and in signatures over it (RFC 9580 §5.2.4, §5.5.4.2).
    pub fn hashed(&self) -> Vec<u8> {
        let length = u16::try_from(self.body.len()).unwrap_or(u16::MAX);
        [&[0x99], length.to_be_bytes().as_slice(), &self.body].concat()
    }

    /// SHA-1 is what version 4 takes for it: a name of the key, on which no proof rests.
    pub fn fingerprint(&self) -> String {
        hex(digest(&SHA1_FOR_LEGACY_USE_ONLY, &self.hashed()).as_ref()).to_ascii_uppercase()
    }
}

fn material(mut wire: Wire<'_>, algorithm: u8) -> Result<(Scheme, PublicKey), String> {
    let (scheme, key) = match algorithm {
        RSA => {
            let modulus = number(&mut wire, "the RSA modulus")?;
            let exponent = number(&mut wire, "the RSA exponent")?;
            (Scheme::Rsa, spki::rsa(modulus, exponent)?)
        }
        ECDSA => {
            let length = wire.u8("the length of the curve's name")?;
            let curve = wire.take(usize::from(length), "the name of the curve")?;
            let point = number(&mut wire, "the point of the ECDSA key")?;
            let key = match curve {
                CURVE_P256 => spki::p256(point)?,
                CURVE_P384 => spki::p384(point)?,
                _ => {
                    return Err(
                        "an ECDSA key of another curve than P-256 and P-384 is not supported".to_owned(),
                    );
                }
            };
            (Scheme::Ecdsa, key)
        }
        EDDSA_LEGACY => {
            let length = wire.u8("the length of the curve's name")?;
            let curve = wire.take(usize::from(length), "the name of the curve")?;
            let point = number(&mut wire, "the point of the EdDSA key")?;
            match (curve, point) {
                (CURVE_ED25519_LEGACY, [0x40, raw @ ..]) => (Scheme::EdDsaLegacy, spki::ed25519(raw)?),
                _ => return Err("an EdDSA key of another curve than Ed25519 is not supported".to_owned()),
            }
        }
        ED25519 => (Scheme::Ed25519, spki::ed25519(wire.take(32, "the Ed25519 key")?)?),
        17 => return Err("a DSA key proves nothing any more".to_owned()),
        2 | 16 | 18 | 25 | 26 => return Err("the key is for encryption only".to_owned()),
        other => return Err(format!("OpenPGP keys of algorithm {other} are not supported")),
    };
    wire.end("the OpenPGP key")?;
    Ok((scheme, key))
}
