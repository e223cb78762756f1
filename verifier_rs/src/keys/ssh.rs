//! Public keys of OpenSSH: one line, `ssh-ed25519 AAAA… comment`.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use crate::encoding;
use crate::keys::{Hint, PublicKey, spki};
use crate::wire::Wire;

/// Whether a text begins like a line of OpenSSH.
pub fn detect(text: &str) -> bool {
    ["ssh-", "ecdsa-sha2-", "sk-"]
        .iter()
        .any(|begin| text.starts_with(begin))
}

/// Read one line as `ssh-keygen` writes it to a `.pub` file.
pub fn read(text: &str) -> Result<(PublicKey, Hint), String> {
    if text.lines().nth(1).is_some() {
        return Err("expected one line with one OpenSSH key, found more".to_owned());
    }
    let mut words = text.split_ascii_whitespace();
    let (Some(kind), Some(encoded)) = (words.next(), words.next()) else {
        return Err("expected a line 'ssh-ed25519 AAAA…', found no base64 after the type".to_owned());
    };
    let blob = encoding::STANDARD
        .decode(encoded)
        .map_err(|error| format!("the base64 of the OpenSSH key cannot be decoded ({error})"))?;
    let (inside, key) = key(&blob)?;
    if inside != kind.as_bytes() {
        return Err(format!(
            "the line begins with {kind:?} but holds a key {:?}",
            String::from_utf8_lossy(inside)
        ));
    }
    let name = format!(
        "OpenSSH key SHA256:{}",
        STANDARD_NO_PAD.encode(digest(&SHA256, &blob))
    );
    Ok((
        key,
        Hint {
            kind: "openssh",
            name,
            number: None,
        },
    ))
}

/// A key as it stands on the wire (RFC 4253 §6.6, RFC 5656 §3.1, RFC 8709 §4), and its type.
pub fn key(blob: &[u8]) -> Result<(&[u8], PublicKey), String> {
    let mut wire = Wire::new(blob);
    let kind = wire.string("the type of the OpenSSH key")?;
    let key = match kind {
        b"ssh-ed25519" => spki::ed25519(wire.string("the Ed25519 key")?)?,
        b"ssh-rsa" => {
            let exponent = number(&mut wire, "the RSA exponent")?;
            let modulus = number(&mut wire, "the RSA modulus")?;
            spki::rsa(modulus, exponent)?
        }
        b"ecdsa-sha2-nistp256" => spki::p256(point(&mut wire, b"nistp256")?)?,
        b"ecdsa-sha2-nistp384" => spki::p384(point(&mut wire, b"nistp384")?)?,
        other => return Err(refusal(&String::from_utf8_lossy(other))),
    };
    wire.end("the OpenSSH key")?;
    Ok((kind, key))
}

fn refusal(kind: &str) -> String {
    let why = if kind.contains("-cert-v0") {
        "is an OpenSSH certificate; give the plain public key of the one who signs"
    } else if kind.starts_with("sk-") {
        "is a key in a security token: what it signs tells of touches and counters that are not judged here; sign \
         with a key of another type"
    } else if kind == "ssh-dss" {
        "is a DSA key, which proves nothing any more"
    } else {
        "is not supported; use ssh-ed25519, ecdsa-sha2-nistp256, ecdsa-sha2-nistp384 or ssh-rsa"
    };
    format!("{:?} {why}", kind.chars().take(60).collect::<String>())
}

/// A positive `mpint` (RFC 4251 §5), without its sign byte.
pub fn number<'a>(wire: &mut Wire<'a>, what: &str) -> Result<&'a [u8], String> {
    let bytes = wire.string(what)?;
    match bytes {
        [0, rest @ ..] if rest.first().is_some_and(|first| first & 0x80 != 0) => Ok(rest),
        [first, ..] if *first != 0 && first & 0x80 == 0 => Ok(bytes),
        _ => Err(format!("{what} is not a positive number in its shortest form")),
    }
}

fn point<'a>(wire: &mut Wire<'a>, curve: &[u8]) -> Result<&'a [u8], String> {
    let named = wire.string("the name of the curve")?;
    if named == curve {
        wire.string("the point of the EC key")
    } else {
        Err(format!(
            "the key is of curve {:?}, its type says {:?}",
            String::from_utf8_lossy(named),
            String::from_utf8_lossy(curve)
        ))
    }
}
