//! Public keys of minisign and signify, which write them alike: 42 bytes in one line of base64.

use base64::Engine;

use crate::encoding;
use crate::keys::{Hint, PublicKey, spki};
use crate::wire::Wire;

pub const COMMENT: &str = "untrusted comment:";
/// `Ed`, the number of the key, and the key.
const LENGTH: usize = 2 + 8 + 32;
const ENCODED: usize = LENGTH.div_ceil(3) * 4;

/// Whether a text begins like a key of minisign or signify: the comment, or the `Ed` in base64 of the right length.
pub fn detect(text: &str) -> bool {
    text.starts_with(COMMENT) || (text.starts_with("RW") && text.len() == ENCODED)
}

/// Read the key, with or without the line of comment above it.
pub fn read(text: &str) -> Result<(PublicKey, Hint), String> {
    let mut lines = text.lines().map(str::trim_end);
    let encoded = match lines.next() {
        Some(first) if first.starts_with(COMMENT) => lines.next().unwrap_or_default(),
        first => first.unwrap_or_default(),
    };
    if lines.any(|line| !line.is_empty()) {
        return Err("expected a comment and one line with the key, found more lines".to_owned());
    }
    let bytes = encoding::STANDARD
        .decode(encoded)
        .map_err(|error| format!("the base64 of the minisign or signify key cannot be decoded ({error})"))?;
    // Secret keys begin alike, but are longer (104 bytes with signify, 158 with minisign).
    if bytes.len() > LENGTH && bytes.starts_with(b"Ed") {
        return Err(super::PRIVATE.to_owned());
    }
    let mut wire = Wire::new(&bytes);
    let algorithm: [u8; 2] = wire.array("the algorithm")?;
    if &algorithm != b"Ed" {
        return Err(format!(
            "expected a minisign or signify key of algorithm Ed, found {:?}",
            String::from_utf8_lossy(&algorithm)
        ));
    }
    let number: [u8; 8] = wire.array("the number of the key")?;
    let key = spki::ed25519(wire.take(32, "the Ed25519 key")?)?;
    wire.end("the minisign or signify key")?;
    let name = format!("minisign or signify key {}", name(number));
    Ok((
        key,
        Hint {
            kind: "minisign",
            name,
            number: Some(number),
        },
    ))
}

/// The number of a key as minisign shows it.
pub fn name(number: [u8; 8]) -> String {
    format!("{:016X}", u64::from_le_bytes(number))
}
