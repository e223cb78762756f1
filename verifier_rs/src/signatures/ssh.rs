//! SSHSIG, the signatures of `ssh-keygen -Y sign` (OpenSSH PROTOCOL.sshsig).

use serde_json::{Map, Value, json};

use crate::file::Request;
use crate::keys::method::{Method, verify_message};
use crate::keys::ssh::{key, number};
use crate::keys::{Algorithm, PublicKey};
use crate::pass::{Pass, Ticket};
use crate::signatures::Detached;
use crate::signatures::comment::base64;
use crate::signatures::named::{OTHER_BYTES, Tried, candidates, shown, verdict};
use crate::trust::{EcdsaEncoding, Hash, Options, RsaPadding, TrustKey};
use crate::verdict::Verdict;
use crate::wire::{self, Wire};

const BEGIN: &str = "-----BEGIN SSH SIGNATURE-----";
const END: &str = "-----END SSH SIGNATURE-----";
const MAGIC: &[u8] = b"SSHSIG";
/// More than the longest: an RSA-8192 key and its signature, in base64.
const MAX_FILE: usize = 16 * 1024;

pub fn detect(content: &[u8]) -> bool {
    content.starts_with(BEGIN.as_bytes())
}

/// What the armour holds.
pub struct Blob {
    key: PublicKey,
    key_type: String,
    namespace: Vec<u8>,
    hash: Hash,
    signature: Signature,
}

struct Signature {
    scheme: String,
    /// How such a signature is checked; the bytes as that takes them.
    options: Options,
    bytes: Vec<u8>,
}

impl Blob {
    pub fn parse(content: &[u8]) -> Result<Self, String> {
        if content.len() > MAX_FILE {
            return Err(format!(
                "it has {} bytes, expected at most {MAX_FILE}",
                content.len()
            ));
        }
        let inside = content
            .trim_ascii()
            .strip_prefix(BEGIN.as_bytes())
            .and_then(|rest| rest.strip_suffix(END.as_bytes()))
            .ok_or_else(|| format!("expected one block from '{BEGIN}' to '{END}' and nothing around it"))?;
        let encoded: Vec<u8> = inside
            .iter()
            .copied()
            .filter(|byte| !matches!(byte, b'\r' | b'\n'))
            .collect();
        Self::read(&base64(&encoded, "the SSH signature")?)
    }

    fn read(blob: &[u8]) -> Result<Self, String> {
        let mut wire = Wire::new(blob);
        if wire.take(MAGIC.len(), "the magic bytes")? != MAGIC {
            return Err("the SSH signature does not begin with SSHSIG".to_owned());
        }
        let version = wire.u32("the version")?;
        if version != 1 {
            return Err(format!("expected version 1 of SSHSIG, found {version}"));
        }
        let (kind, key) = key(wire.string("the public key")?)?;
        let namespace = wire.string("the namespace")?;
        if namespace.is_empty() {
            return Err("the namespace is empty, which PROTOCOL.sshsig forbids".to_owned());
        }
        wire.string("the reserved field")?;
        let hash = match wire.string("the name of the hash")? {
            b"sha256" => Hash::Sha256,
            b"sha512" => Hash::Sha512,
            other => {
                return Err(format!(
                    "expected the hash sha256 or sha512, found {:?}",
                    shown(other)
                ));
            }
        };
        let signature = Signature::read(wire.string("the signature")?, key.algorithm)?;
        wire.end("the SSH signature")?;
        Ok(Blob {
            key,
            key_type: shown(kind),
            namespace: namespace.to_owned(),
            hash,
            signature,
        })
    }

    /// What is signed: never the file itself, always a digest of it with its namespace.
    fn message(&self, digest: &[u8]) -> Vec<u8> {
        let hash: &[u8] = match self.hash {
            Hash::Sha256 => b"sha256",
            _ => b"sha512",
        };
        let fields = [&self.namespace, [].as_slice(), hash, digest];
        let fields = fields.iter().flat_map(|field| wire::string(field));
        MAGIC.iter().copied().chain(fields).collect()
    }

    fn held(&self, digest: &[u8], key: &TrustKey) -> Result<(), String> {
        let allowed = &key.ssh_namespaces;
        if !allowed.iter().any(|name| name.as_bytes() == self.namespace) {
            return Err(format!(
                "the signature is made for the namespace {:?}, the key is enrolled for {}",
                shown(&self.namespace),
                allowed.join(", ")
            ));
        }
        let method = Method::of(&key.key, &self.signature.options)?;
        if verify_message(&key.key, &method, &[&self.message(digest)], &self.signature.bytes) {
            Ok(())
        } else {
            Err(OTHER_BYTES.to_owned())
        }
    }
}

impl Signature {
    /// RFC 8332 §3, RFC 5656 §3.1.2, RFC 8709 §6: the scheme must be one that the key can make.
    fn read(blob: &[u8], algorithm: Algorithm) -> Result<Self, String> {
        let mut wire = Wire::new(blob);
        let scheme = wire.string("the scheme of the signature")?;
        let value = wire.string("the value of the signature")?;
        wire.end("the value of the signature")?;
        let rsa = |hash| Options {
            rsa_padding: Some(RsaPadding::Pkcs1v15),
            hash: Some(hash),
            ..Options::default()
        };
        let ecdsa = || Options {
            ecdsa_encoding: Some(EcdsaEncoding::P1363),
            ..Options::default()
        };
        let (options, bytes) = match (scheme, algorithm) {
            (b"ssh-ed25519", Algorithm::Ed25519) => (Options::default(), value.to_owned()),
            (b"rsa-sha2-256", Algorithm::Rsa { .. }) => (rsa(Hash::Sha256), value.to_owned()),
            (b"rsa-sha2-512", Algorithm::Rsa { .. }) => (rsa(Hash::Sha512), value.to_owned()),
            (b"ssh-rsa", Algorithm::Rsa { .. }) => {
                return Err(
                    "the signature is ssh-rsa, which is over SHA-1; sign with rsa-sha2-512".to_owned(),
                );
            }
            (b"ecdsa-sha2-nistp256", Algorithm::EcdsaP256) => (ecdsa(), numbers(value, 32)?),
            (b"ecdsa-sha2-nistp384", Algorithm::EcdsaP384) => (ecdsa(), numbers(value, 48)?),
            _ => {
                return Err(format!(
                    "a key {} cannot make a signature {:?}",
                    algorithm.name(),
                    shown(scheme)
                ));
            }
        };
        Ok(Signature {
            scheme: shown(scheme),
            options,
            bytes,
        })
    }
}

/// r and s, each filled up to the length of the curve.
fn numbers(value: &[u8], length: usize) -> Result<Vec<u8>, String> {
    let mut wire = Wire::new(value);
    let mut out = Vec::new();
    for what in ["r", "s"] {
        let number = number(&mut wire, what)?;
        let short = length
            .checked_sub(number.len())
            .ok_or_else(|| format!("{what} has {} bytes, expected at most {length}", number.len()))?;
        out.resize(out.len().saturating_add(short), 0);
        out.extend(number);
    }
    wire.end("the pair of r and s")?;
    Ok(out)
}

/// A signature and the digest that it is over.
pub struct Ssh {
    blob: Blob,
    digest: Option<Ticket>,
}

impl Ssh {
    pub fn new(blob: Blob) -> Self {
        Ssh { blob, digest: None }
    }
}

impl Detached for Ssh {
    fn form(&self) -> &'static str {
        "ssh"
    }

    fn plan(&mut self, pass: &mut Pass, size: u64) {
        self.digest = Some(pass.digest(0, size, self.blob.hash));
    }

    fn judge(&self, pass: &Pass, request: &Request<'_>) -> Vec<Verdict> {
        let blob = &self.blob;
        let digest = self.digest.map(|ticket| pass.bytes(ticket)).unwrap_or_default();
        let tried: Vec<Tried> = candidates(&request.trust.keys, |key| key.key.spki == blob.key.spki)
            .map(|(place, key)| (place, blob.held(&digest, key)))
            .collect();
        let by = format!("the key {}", blob.key.fingerprint());
        let rule = format!(
            "SSHSIG: {} over {} of the file with its namespace (PROTOCOL.sshsig)",
            blob.signature.scheme,
            blob.hash.name()
        );
        vec![verdict(request, "The SSH signature", &by, &rule, &tried)]
    }

    fn claims(&self) -> Map<String, Value> {
        let blob = &self.blob;
        Map::from_iter([
            ("namespace".to_owned(), json!(shown(&blob.namespace))),
            ("hash".to_owned(), json!(blob.hash.name())),
            ("key_type".to_owned(), json!(blob.key_type)),
            ("key_fingerprint".to_owned(), json!(blob.key.fingerprint())),
        ])
    }
}
