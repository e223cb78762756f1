//! RAUC bundles: a squashfs, in the format `verity` its hash tree, CMS signed data, and the length of that in the last
//! eight bytes. After rauc's docs/reference.rst ("Bundle Formats") and docs/advanced.rst.

pub mod manifest;
mod verify;
pub mod verity;

use crate::cms::SignedData;
use crate::error::Result;
use crate::formats;
use crate::formats::archive::{Fault, split};
use crate::formats::rauc::manifest::Manifest;
use crate::formats::rauc::verity::BLOCK_U64;
use crate::source::{Source, unhex};

const SQUASHFS: &[u8; 4] = b"hsqs";
const SUPERBLOCK: usize = 96;
/// Certificates and revocation lists included.
const MAX_CMS: u64 = 4 * 1024 * 1024;
/// 1.2.840.113549.1.7, of which .2 is signed data and .3 enveloped data.
const PKCS7: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07";
const COMPRESSIONS: [&str; 7] = ["unknown", "gzip", "lzma", "lzo", "xz", "lz4", "zstd"];

/// What the hash tree must be, as the signed manifest says.
#[derive(Debug)]
pub struct Verity {
    pub root: [u8; 32],
    pub salt: Vec<u8>,
    /// Where the payload ends and the tree begins.
    pub data: u64,
}

pub enum Kind {
    /// The signature is over the squashfs itself.
    Plain(SignedData),
    /// The signature is over the manifest, which binds payload and tree. In the format `crypt` the payload is encrypted.
    Bound {
        signed: SignedData,
        text: Vec<u8>,
        manifest: Manifest,
        verity: Verity,
        encrypted: bool,
    },
    /// Signature and manifest are encrypted for the devices.
    Enveloped,
}

/// A bundle whose structure can be read. Nothing in it is proven yet.
pub struct Bundle {
    pub kind: Kind,
    /// Where the CMS begins: the end of what is signed.
    pub end: u64,
    /// Of the squashfs, where it is not encrypted: its compression.
    pub compression: Option<&'static str>,
}

fn tail(source: &Source) -> Result<u64> {
    let mut tail = [0; 8];
    source.read_some(&mut tail, source.size().saturating_sub(8))?;
    Ok(u64::from_be_bytes(tail))
}

/// How long the squashfs says it is.
fn used(start: &[u8]) -> u64 {
    let bytes = start.get(40..48).and_then(|bytes| bytes.first_chunk());
    bytes.copied().map_or(0, u64::from_le_bytes)
}

/// Whether the file is a squashfs with something behind it, or ends like a bundle.
pub fn begins(source: &Source, start: &[u8]) -> Result<bool> {
    let size = source.size();
    if start.starts_with(SQUASHFS) && used(start).div_ceil(BLOCK_U64).saturating_mul(BLOCK_U64) < size {
        return Ok(true);
    }
    let Some(at) = size
        .checked_sub(8)
        .and_then(|end| end.checked_sub(tail(source).ok()?))
    else {
        return Ok(false);
    };
    let mut cms = [0; 32];
    let got = source.read_some(&mut cms, at)?;
    let cms = cms.get(..got).unwrap_or_default();
    Ok(at < size.saturating_sub(16)
        && cms.starts_with(b"\x30")
        && cms.windows(PKCS7.len()).any(|part| part == PKCS7))
}

/// Read the bundle in `source`, to be verified when its bytes are hashed.
pub fn parse(source: &Source) -> Result<formats::Parsed> {
    Ok(match split(bundle(source))? {
        Ok(bundle) => Ok(Box::new(verify::Rauc::new(bundle))),
        Err(why) => Err(why),
    })
}

/// Parse the structure; only the end of the file and the squashfs superblock are read.
pub fn bundle(source: &Source) -> std::result::Result<Bundle, Fault> {
    let size = source.size();
    // 1. the CMS lies in the file.
    let length = tail(source)?;
    let end = size.saturating_sub(8).checked_sub(length).filter(|_| length > 0);
    let Some(end) = end.filter(|end| *end > 0) else {
        return Err(Fault::Bad(format!(
            "its last eight bytes announce a signature of {length} bytes, the file has {size}"
        )));
    };
    if length > MAX_CMS {
        return Err(Fault::Bad(format!(
            "its last eight bytes announce a signature of {length} bytes, expected at most {MAX_CMS}"
        )));
    }
    let cms = source.read_exact(end, usize::try_from(length).unwrap_or_default())?;
    let start = cms.get(..32).unwrap_or(&cms);
    let enveloped = [PKCS7, b"\x03"].concat();
    if start.windows(enveloped.len()).any(|part| part == enveloped) {
        return Ok(Bundle {
            kind: Kind::Enveloped,
            end,
            compression: None,
        });
    }
    let signed = SignedData::parse(&cms).map_err(|why| format!("the signature at offset {end}: {why}"))?;
    // 2. the manifest, where the signature has it inside.
    let Some(text) = signed.content.clone() else {
        return Ok(Bundle {
            compression: Some(squashfs(source, end)?),
            kind: Kind::Plain(signed),
            end,
        });
    };
    let manifest = Manifest::parse(&text).map_err(|why| format!("the manifest, {why}"))?;
    let encrypted = match manifest.get("bundle", "format") {
        Some("verity") => false,
        Some("crypt") => true,
        other => {
            return Err(Fault::Bad(format!(
                "the manifest in the signature says format {:?}, expected verity or crypt",
                other.unwrap_or("plain")
            )));
        }
    };
    // 3. what it says about the tree fits the file.
    let verity = verity(&manifest, end)?;
    let compression = if encrypted {
        None
    } else {
        Some(squashfs(source, verity.data)?)
    };
    Ok(Bundle {
        kind: Kind::Bound {
            signed,
            text,
            manifest,
            verity,
            encrypted,
        },
        end,
        compression,
    })
}

fn verity(manifest: &Manifest, end: u64) -> std::result::Result<Verity, String> {
    let text = |key: &str| {
        let value = manifest.get("bundle", key);
        value.ok_or_else(|| format!("the manifest has no {key}"))
    };
    let digest = |key: &str| {
        unhex(text(key)?).map_err(|_| format!("the manifest's {key} is not 64 hexadecimal digits"))
    };
    let size = text("verity-size")?;
    let size: u64 = size
        .parse()
        .map_err(|_| format!("the manifest's verity-size is no number: {size:?}"))?;
    let data = end
        .checked_sub(size)
        .filter(|data| *data > 0 && data % BLOCK_U64 == 0)
        .ok_or_else(|| {
            format!("the manifest's verity-size is {size}; payload and tree are {end} bytes, in blocks of {BLOCK_U64}")
        })?;
    let blocks: u64 = verity::levels(data).iter().sum();
    let expected = blocks.saturating_mul(BLOCK_U64);
    if size != expected {
        return Err(format!(
            "the manifest's verity-size is {size}, a payload of {data} bytes has a tree of {expected}"
        ));
    }
    Ok(Verity {
        root: digest("verity-hash")?,
        salt: digest("verity-salt")?.to_vec(),
        data,
    })
}

/// The compression of the squashfs, which must be whole up to `end`.
fn squashfs(source: &Source, end: u64) -> std::result::Result<&'static str, Fault> {
    let mut start = [0; SUPERBLOCK];
    let got = source.read_some(&mut start, 0)?;
    let start = start.get(..got).unwrap_or_default();
    if !start.starts_with(SQUASHFS) {
        return Err(Fault::Bad("expected a squashfs at its begin (hsqs)".to_owned()));
    }
    if used(start) > end {
        return Err(Fault::Bad(format!(
            "the squashfs announces {} bytes, {end} are there",
            used(start)
        )));
    }
    let id = start.get(20).copied().map(usize::from).unwrap_or_default();
    Ok(COMPRESSIONS.get(id).unwrap_or(&"unknown"))
}
