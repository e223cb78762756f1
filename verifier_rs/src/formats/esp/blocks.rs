//! The signature sector of Secure Boot v2: up to three blocks of 1,216 bytes, the rest erased flash. Laid out as
//! esp-idf's "Secure Boot v2" says, numbers with their lowest byte first.

use der::Decode;
use rsa::BigUint;
use sha2::{Digest, Sha256};

use crate::formats::fields::le32;
use crate::keys::{Algorithm, PublicKey, RsaPublicKey};
use crate::trust::Hash;

const MAGIC: u8 = 0xe7;
const BLOCK: usize = 1216;
const MAX_BLOCKS: usize = 3;
/// What the CRC covers, and where it is.
const CHECKED: usize = 1196;
const ERASED: u8 = 0xff;
const P192: u8 = 1;
const P256: u8 = 2;
const P384: u8 = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Rsa3072,
    P256,
    P384,
    /// Too short to prove anything; never tried.
    P192,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Rsa3072 => "RSA-3072 PSS",
            Kind::P256 => "ECDSA P-256",
            Kind::P384 => "ECDSA P-384",
            Kind::P192 => "ECDSA P-192",
        }
    }

    pub fn hash(self) -> Hash {
        match self {
            Kind::P384 => Hash::Sha384,
            _ => Hash::Sha256,
        }
    }
}

/// One signature with the key that it says it is by.
#[derive(Debug)]
pub struct Block {
    pub kind: Kind,
    /// The digest of the image, as the block records it.
    pub image: Vec<u8>,
    /// SHA-256 over the key as it stands in the block: what is burnt into the chip.
    pub key: [u8; 32],
    /// RSA: highest byte first; ECDSA: r‖s.
    pub signature: Vec<u8>,
}

pub fn begins(sector: &[u8]) -> bool {
    matches!(sector, [MAGIC, 2 | 3, ..])
}

/// The blocks of a sector. Nothing may stand beside them: no signature covers this sector.
pub fn parse(sector: &[u8]) -> Result<Vec<Block>, String> {
    let mut blocks = Vec::new();
    let mut rest = sector;
    while let Some((bytes, behind)) = rest.split_at_checked(BLOCK) {
        if bytes.first() != Some(&MAGIC) || blocks.len() == MAX_BLOCKS {
            break;
        }
        let read = block(bytes).map_err(|why| format!("signature block {}: {why}", blocks.len()))?;
        blocks.push(read);
        rest = behind;
    }
    if rest.iter().any(|byte| *byte != ERASED) {
        return Err(format!(
            "something follows the {} signature block(s) in their sector; expected erased flash (0xff)",
            blocks.len()
        ));
    }
    Ok(blocks)
}

fn block(bytes: &[u8]) -> Result<Block, String> {
    let crc = le32(bytes, CHECKED).unwrap_or_default();
    let computed = crc32fast::hash(bytes.get(..CHECKED).unwrap_or_default());
    if crc != computed {
        return Err(format!(
            "the CRC-32 is 0x{computed:08x}, the block records 0x{crc:08x}"
        ));
    }
    let cut = || "the block is cut".to_owned();
    let part = |from: usize, length: usize| bytes.get(from..from.saturating_add(length)).ok_or_else(cut);
    let (version, hash) = (bytes.get(1).copied(), bytes.get(2).copied());
    let (kind, image, key, signature, end) =
        match (version, hash, bytes.get(36).copied(), bytes.get(52).copied()) {
            (Some(2), Some(0), ..) => (
                Kind::Rsa3072,
                part(4, 32)?,
                part(36, 776)?,
                part(812, 384)?,
                CHECKED,
            ),
            (Some(3), Some(0), Some(P256), _) => {
                (Kind::P256, part(4, 32)?, part(36, 65)?, part(101, 64)?, 165)
            }
            (Some(3), Some(0), Some(P192), _) => {
                (Kind::P192, part(4, 32)?, part(36, 65)?, part(101, 48)?, 165)
            }
            (Some(3), Some(1), _, Some(P384)) => {
                (Kind::P384, part(4, 48)?, part(52, 97)?, part(149, 96)?, 245)
            }
            _ => {
                return Err(format!(
                    "version {}, hash {} and its curve are no combination that is known",
                    version.unwrap_or_default(),
                    hash.unwrap_or_default()
                ));
            }
        };
    // Content that the CRC covers but no signature does would be a place to hide something.
    let unused = part(end, CHECKED.saturating_sub(end))?;
    if bytes.get(3) != Some(&0) || unused.iter().chain(part(1200, 16)?).any(|byte| *byte != 0) {
        return Err("what is not used of it is not zero".to_owned());
    }
    Ok(Block {
        kind,
        image: image.to_owned(),
        key: Sha256::digest(key).into(),
        signature: match kind {
            Kind::Rsa3072 => reversed(signature),
            _ => {
                let (r, s) = signature.split_at_checked(signature.len() / 2).ok_or_else(cut)?;
                [reversed(r), reversed(s)].concat()
            }
        },
    })
}

fn reversed(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().rev().copied().collect()
}

/// The digest by which a block and a chip name this key; `None` for a key that Secure Boot v2 cannot use.
pub fn digest_of(key: &PublicKey) -> Option<[u8; 32]> {
    match key.algorithm {
        Algorithm::Rsa { bits: 3072 } => rsa(&key.raw),
        Algorithm::EcdsaP256 | Algorithm::EcdsaP384 => {
            let (x, y) = key.raw.get(1..)?.split_at_checked(key.raw.len() / 2)?;
            let curve = if key.algorithm == Algorithm::EcdsaP256 {
                P256
            } else {
                P384
            };
            Some(Sha256::digest([&[curve][..], &reversed(x), &reversed(y)].concat()).into())
        }
        _ => None,
    }
}

/// The modulus, the exponent, and two numbers with which the chip multiplies faster (Montgomery's).
fn rsa(pkcs1: &[u8]) -> Option<[u8; 32]> {
    let key = RsaPublicKey::from_der(pkcs1).ok()?;
    let modulus = BigUint::from_bytes_be(key.modulus.as_bytes());
    let exponent = key.exponent.as_bytes().iter();
    let exponent = exponent.fold(0_u32, |all, byte| all << 8 | u32::from(*byte));
    let mut square = BigUint::from(2_u32)
        .modpow(&BigUint::from(2 * 3072_u32), &modulus)
        .to_bytes_le();
    square.resize(384, 0);
    let little = reversed(key.modulus.as_bytes());
    // Newton's way to the inverse modulo 2³²: each step doubles the bits that are right.
    let low = le32(&little, 0)?;
    let mut inverse = 1_u32;
    for _ in 0..5 {
        inverse = inverse.wrapping_mul(2_u32.wrapping_sub(low.wrapping_mul(inverse)));
    }
    let negative = inverse.wrapping_neg().to_le_bytes();
    let encoded = [&little[..], &exponent.to_le_bytes(), &square, &negative].concat();
    (encoded.len() == 776).then(|| Sha256::digest(&encoded).into())
}
