//! Text keys: PEM in its kinds, OpenSSH, OpenPGP, PuTTY. Only whole, decodable blocks count: libraries carry the
//! first and last lines of all of them as constants.

use base64::Engine;
use sha2::{Digest, Sha256};

use crate::content::keys::{self, Private};
use crate::encoding::STANDARD;
use crate::error::Result;
use crate::source::Source;

/// Longer than any key or certificate; a chain has several blocks.
const MAX_BLOCK: usize = 64 * 1024;
const OPENSSH_MAGIC: &[u8] = b"openssh-key-v1\0";

pub enum Block {
    Private(Private),
    Certificate(Vec<u8>),
    Public(keys::Public),
}

/// What the PEM block that begins here holds, and how long it is in the file.
pub fn read(source: &Source, offset: u64) -> Result<Option<(Block, u64)>> {
    let mut window = vec![0; MAX_BLOCK];
    let got = source.read_some(&mut window, offset)?;
    window.truncate(got);
    Ok(block(&window))
}

fn block(window: &[u8]) -> Option<(Block, u64)> {
    let rest = window.strip_prefix(b"-----BEGIN ")?;
    let end = memchr::memmem::find(rest.get(..rest.len().min(64))?, b"-----")?;
    let label = std::str::from_utf8(rest.get(..end)?).ok()?;
    let body = rest.get(end.checked_add(5)?..)?;
    let closing = format!("-----END {label}-----");
    let stop = memchr::memmem::find(body, closing.as_bytes())?;
    let taken = [11, end, 5, stop, closing.len()].iter().sum::<usize>();
    let body = std::str::from_utf8(body.get(..stop)?).ok()?;
    // Settings files keep keys in one line, with the line breaks spelt out.
    let body = body.replace("\\r", "").replace("\\n", "\n");
    let (headers, text) = headers(&body);
    let decoded = decode(text);
    let block = match label {
        "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE" => Block::Certificate(decoded?),
        "PUBLIC KEY" => Block::Public(keys::public(&decoded?)?),
        "RSA PUBLIC KEY" => Block::Public(keys::public_pkcs1(&decoded?)?),
        "OPENSSH PRIVATE KEY" => Block::Private(openssh(&decoded?)?),
        "PGP PRIVATE KEY BLOCK" => Block::Private(openpgp(&decoded?)?),
        "ENCRYPTED PRIVATE KEY" => Block::Private(keys::private(&decoded?)?),
        _ if label.ends_with("PRIVATE KEY") && headers.contains("ENCRYPTED") => {
            // DEK-Info: the content is one encrypted run of bytes.
            (decoded?.len() >= 32).then_some(())?;
            Block::Private(Private {
                form: "PEM (RFC 1421)",
                algorithm: label
                    .strip_suffix(" PRIVATE KEY")
                    .unwrap_or("unknown algorithm")
                    .to_owned(),
                encrypted: true,
                fingerprint: None,
            })
        }
        _ if label.ends_with("PRIVATE KEY") => Block::Private(keys::private(&decoded?)?),
        _ => return None,
    };
    Some((block, u64::try_from(taken).unwrap_or(0)))
}

/// The lines `Name: value` before the first empty one, and the rest.
fn headers(body: &str) -> (&str, &str) {
    let body = body.trim_start_matches([' ', '\r', '\n']);
    if !body.lines().next().is_some_and(|line| line.contains(':')) {
        return ("", body);
    }
    let parts = body.split_once("\n\n").or_else(|| body.split_once("\r\n\r\n"));
    parts.unwrap_or((body, ""))
}

fn decode(text: &str) -> Option<Vec<u8>> {
    // The line that begins with `=` is the check sum of OpenPGP.
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('='));
    let digits: String = lines.collect();
    let decoded = STANDARD.decode(digits).ok()?;
    (decoded.len() >= 16).then_some(decoded)
}

/// A field with its length before it, as SSH writes them, and the rest.
fn field(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = data.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

/// The `openssh-key-v1` format: cipher, KDF, its options, how many keys, the public half.
pub fn openssh(data: &[u8]) -> Option<Private> {
    let rest = data.strip_prefix(OPENSSH_MAGIC)?;
    let (cipher, rest) = field(rest)?;
    let (_kdf, rest) = field(rest)?;
    let (_options, rest) = field(rest)?;
    let (count, rest) = rest.split_first_chunk::<4>()?;
    let (public, rest) = field(rest)?;
    let (secret, _) = field(rest)?;
    let (algorithm, _) = field(public)?;
    let algorithm = std::str::from_utf8(algorithm).ok()?;
    if u32::from_be_bytes(*count) == 0 || secret.is_empty() || algorithm.len() > 64 {
        return None;
    }
    Some(Private {
        form: "OpenSSH",
        algorithm: algorithm.to_owned(),
        encrypted: cipher != b"none",
        fingerprint: Some(ssh_fingerprint(public)),
    })
}

/// As `ssh-keygen -l` shows it.
fn ssh_fingerprint(public: &[u8]) -> String {
    let text = STANDARD.encode(Sha256::digest(public));
    format!("SHA256:{}", text.trim_end_matches('='))
}

/// RFC 9580 §5.5.3: whether the first secret-key packet is protected stands after its public part.
fn openpgp(data: &[u8]) -> Option<Private> {
    let (tag, body) = match data {
        [0xc5, short, rest @ ..] if *short < 192 => (5, rest),
        [0xc5, first, _, rest @ ..] if *first < 224 => (5, rest),
        [0xc5, 255, _, _, _, _, rest @ ..] => (5, rest),
        [first, rest @ ..] if first & 0xc0 == 0x80 => {
            let skip = match first & 3 {
                0 => 1,
                1 => 2,
                2 => 4,
                _ => 0,
            };
            ((first >> 2) & 15, rest.get(skip..)?)
        }
        _ => return None,
    };
    let [version, _, _, _, _, algorithm, rest @ ..] = body else {
        return None;
    };
    if tag != 5 || ![4, 5, 6].contains(version) {
        return None;
    }
    let (name, secret) = match algorithm {
        1..=3 => ("RSA", numbers(rest, 2)),
        16 => ("ElGamal", numbers(rest, 3)),
        17 => ("DSA", numbers(rest, 4)),
        19 => ("ECDSA", curve_point(rest)),
        22 => ("EdDSA", curve_point(rest)),
        27 => ("Ed25519", rest.get(32..)),
        _ => ("unknown algorithm", None),
    };
    Some(Private {
        form: "OpenPGP",
        algorithm: name.to_owned(),
        // Where it cannot be told, it is not taken for protected.
        encrypted: *version == 4 && secret.and_then(<[u8]>::first).is_some_and(|usage| *usage != 0),
        fingerprint: None,
    })
}

fn number(data: &[u8]) -> Option<&[u8]> {
    let (bits, rest) = data.split_first_chunk::<2>()?;
    rest.get(usize::from(u16::from_be_bytes(*bits).div_ceil(8))..)
}

fn numbers(data: &[u8], count: usize) -> Option<&[u8]> {
    (0..count).try_fold(data, |rest, _| number(rest))
}

fn curve_point(data: &[u8]) -> Option<&[u8]> {
    let (length, rest) = data.split_first()?;
    number(rest.get(usize::from(*length)..)?)
}

/// A PuTTY key: its first lines say what it is and whether it is encrypted.
pub fn putty(source: &Source, offset: u64) -> Result<Option<Private>> {
    let mut window = [0; 1024];
    let got = source.read_some(&mut window, offset)?;
    let text = String::from_utf8_lossy(window.get(..got).unwrap_or_default()).into_owned();
    let mut lines = text.lines();
    let first = lines.next().and_then(|line| line.split_once(": "));
    let second = lines.next().and_then(|line| line.strip_prefix("Encryption: "));
    let (Some((_, algorithm)), Some(encryption)) = (first, second) else {
        return Ok(None);
    };
    Ok(Some(Private {
        form: "PuTTY",
        algorithm: algorithm.trim().chars().take(64).collect(),
        encrypted: encryption.trim() != "none",
        fingerprint: None,
    }))
}
