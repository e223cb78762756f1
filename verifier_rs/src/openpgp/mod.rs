//! OpenPGP (RFC 9580, before it RFC 4880), version 4: as much of it as certificates and detached signatures need.
//!
//! Why this is ours and no library's: docs/decisions/0012-openpgp.md.

pub mod armour;
pub mod certificate;
pub mod key;
pub mod packet;
pub mod signature;

use crate::keys::{Algorithm, Hint, PublicKey};
use certificate::Certificate;

const LABEL: &str = "PUBLIC KEY BLOCK";

/// Read one certificate in armour, as `gpg --armor --export` writes it.
pub fn read(text: &str) -> Result<(PublicKey, Hint), String> {
    let bytes = armour::decode(text.as_bytes(), LABEL)?;
    let certificate = Certificate::parse(&bytes)?;
    let hint = Hint {
        kind: "openpgp",
        name: format!("OpenPGP fingerprint {}", certificate.fingerprint),
        number: None,
    };
    let key = PublicKey {
        algorithm: Algorithm::OpenPgp,
        spki: bytes,
        raw: Vec::new(),
        ed25519: None,
        openpgp: Some(Box::new(certificate)),
    };
    Ok((key, hint))
}
