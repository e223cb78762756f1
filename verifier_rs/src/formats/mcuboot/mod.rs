//! MCUboot images: header, protected and unprotected TLVs, as mcuboot's docs/design.md and image.h lay them out.
//!
//! Only the header and the TLV areas (at most 2 × 64 KiB) are held in memory; the payload is streamed elsewhere.

pub mod trailer;
mod verify;

use serde::Serialize;

use crate::error::Result;
use crate::formats;
use crate::source::{Source, hex};
use crate::trust::Hash;

pub const MAGIC: [u8; 4] = [0x3d, 0xb8, 0xf3, 0x96];
pub const MAGIC_BIG_ENDIAN: [u8; 4] = [0x96, 0xf3, 0xb8, 0x3d];
const TLV_MAGIC: u16 = 0x6907;
const PROTECTED_MAGIC: u16 = 0x6908;
const HEADER: usize = 32;
const MAX_TLVS: usize = 64;
const MAX_SIGNATURES: usize = 8;

const ENCRYPTED: u32 = 0x04 | 0x08;
const COMPRESSED: u32 = 0x200 | 0x400;
const FLAGS: [(u32, &str); 9] = [
    (0x001, "PIC"),
    (0x004, "ENCRYPTED_AES128"),
    (0x008, "ENCRYPTED_AES256"),
    (0x010, "NON_BOOTABLE"),
    (0x020, "RAM_LOAD"),
    (0x100, "ROM_FIXED"),
    (0x200, "COMPRESSED_LZMA1"),
    (0x400, "COMPRESSED_LZMA2"),
    (0x800, "COMPRESSED_ARM_THUMB"),
];

/// Type, name, whether it may stand in the protected area, whether in the unprotected one, whether repeatedly.
const TYPES: [(u16, &str, bool, bool, bool); 24] = [
    (0x01, "KEYHASH", false, true, true),
    (0x02, "PUBKEY", false, true, true),
    (0x10, "SHA256", false, true, false),
    (0x11, "SHA384", false, true, false),
    (0x12, "SHA512", false, true, false),
    (0x20, "RSA2048_PSS", false, true, true),
    (0x22, "ECDSA_SIG", false, true, true),
    (0x23, "RSA3072_PSS", false, true, true),
    (0x24, "ED25519", false, true, true),
    (0x25, "SIG_PURE", true, true, false),
    (0x30, "ENC_RSA2048", false, true, false),
    (0x31, "ENC_KW", false, true, false),
    (0x32, "ENC_EC256", false, true, false),
    (0x33, "ENC_X25519", false, true, false),
    (0x34, "ENC_X25519_SHA512", false, true, false),
    (0x40, "DEPENDENCY", true, false, true),
    (0x50, "SEC_CNT", true, false, false),
    (0x60, "BOOT_RECORD", true, false, false),
    (0x70, "DECOMP_SIZE", true, false, false),
    (0x71, "DECOMP_SHA", true, false, false),
    (0x72, "DECOMP_SIGNATURE", true, false, false),
    (0x73, "COMP_DEC_SIZE", true, false, false),
    (0x74, "UUID_VID", true, false, false),
    (0x75, "UUID_CID", true, false, false),
];

/// One entry of a TLV area, as it is shown to people.
#[derive(Clone, Debug, Serialize)]
pub struct TlvFact {
    #[serde(rename = "type")]
    pub kind: u16,
    pub name: &'static str,
    pub length: u16,
    pub protected: bool,
}

/// A version of this image or of one it needs: `major.minor.revision+build`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    major: u8,
    minor: u8,
    revision: u16,
    build: u32,
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}.{}.{}+{}",
            self.major, self.minor, self.revision, self.build
        )
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependency {
    pub image: u8,
    pub version: Version,
}

/// Which key an embedded signature says it is by. A hint: only approved keys are ever looked up with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyHint {
    Hash(Vec<u8>),
    Key(Vec<u8>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureKind {
    Rsa2048,
    Rsa3072,
    Ecdsa,
    Ed25519,
}

impl SignatureKind {
    pub fn name(self) -> &'static str {
        match self {
            SignatureKind::Rsa2048 => "RSA-2048 PSS",
            SignatureKind::Rsa3072 => "RSA-3072 PSS",
            SignatureKind::Ecdsa => "ECDSA",
            SignatureKind::Ed25519 => "Ed25519",
        }
    }
}

#[derive(Clone, Debug)]
pub struct EmbeddedSignature {
    pub hint: KeyHint,
    pub kind: SignatureKind,
    pub value: Vec<u8>,
}

/// A well-formed image. Nothing in it is proven yet.
#[derive(Debug)]
pub struct Image {
    pub version: Version,
    pub load_address: u32,
    pub header_size: u16,
    pub image_size: u32,
    pub flags: u32,
    pub tlvs: Vec<TlvFact>,
    /// The recorded hash of the first `hashed` bytes (header, payload, protected TLVs).
    pub hash: Option<(Hash, Vec<u8>)>,
    pub hashed: u64,
    /// The signature is over the image itself, not over its hash.
    pub pure: bool,
    pub signatures: Vec<EmbeddedSignature>,
    pub security_counter: Option<u32>,
    pub dependencies: Vec<Dependency>,
    /// Behind the image, where it came with the rest of its slot.
    pub padding: Option<trailer::Padding>,
}

impl Image {
    pub fn encrypted(&self) -> bool {
        self.flags & ENCRYPTED != 0
    }

    pub fn compressed(&self) -> bool {
        self.flags & COMPRESSED != 0
    }

    pub fn flag_names(&self) -> Vec<String> {
        let mut names: Vec<_> = FLAGS
            .iter()
            .filter(|(bit, _)| self.flags & bit != 0)
            .map(|(_, name)| (*name).to_owned())
            .collect();
        let known = FLAGS.iter().fold(0, |all, (bit, _)| all | bit);
        if self.flags & !known != 0 {
            names.push(format!("UNKNOWN_0x{:x}", self.flags & !known));
        }
        names
    }
}

/// Reads little-endian numbers off the front of a slice.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }
    fn slice(&mut self, length: u16) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(usize::from(length))?;
        self.0 = rest;
        Some(head)
    }
    fn u8(&mut self) -> Option<u8> {
        self.take().map(|[byte]| byte)
    }
    fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_le_bytes)
    }
    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }
    fn version(&mut self) -> Option<Version> {
        Some(Version {
            major: self.u8()?,
            minor: self.u8()?,
            revision: self.u16()?,
            build: self.u32()?,
        })
    }
}

struct Header {
    load_address: u32,
    header_size: u16,
    protected_size: u16,
    image_size: u32,
    flags: u32,
    version: Version,
}

fn header(bytes: &[u8]) -> Option<Header> {
    let mut cursor = Cursor(bytes);
    cursor.u32()?;
    Some(Header {
        load_address: cursor.u32()?,
        header_size: cursor.u16()?,
        protected_size: cursor.u16()?,
        image_size: cursor.u32()?,
        flags: cursor.u32()?,
        version: cursor.version()?,
    })
}

/// An image, or why a file that begins like one is none.
type Parsed = std::result::Result<Image, String>;

/// Read the image in `source`, to be verified when its bytes are hashed.
pub fn parse(source: &Source) -> Result<formats::Parsed> {
    Ok(match image(source)? {
        Ok(image) => Ok(Box::new(verify::Mcuboot::new(image))),
        Err(why) => Err(why),
    })
}

/// Parse the structure; every length is checked against the file before anything is read by it.
pub fn image(source: &Source) -> Result<Parsed> {
    let size = source.size();
    let mut start = [0; HEADER];
    let got = source.read_some(&mut start, 0)?;
    let Some(header) = (got == HEADER).then(|| header(&start)).flatten() else {
        return Ok(Err(format!("the header is cut: expected 32 bytes, found {got}")));
    };
    if usize::from(header.header_size) < HEADER {
        return Ok(Err(format!(
            "the header size at offset 8 is {}, expected at least 32",
            header.header_size
        )));
    }
    // 1. header and payload lie inside the file.
    let payload_end = u64::from(header.header_size).saturating_add(u64::from(header.image_size));
    if payload_end > size {
        return Ok(Err(format!(
            "the image is cut: its header announces {payload_end} bytes of header and payload, the file has {size}"
        )));
    }
    let mut image = Image {
        version: header.version,
        load_address: header.load_address,
        header_size: header.header_size,
        image_size: header.image_size,
        flags: header.flags,
        tlvs: Vec::new(),
        hash: None,
        hashed: payload_end.saturating_add(u64::from(header.protected_size)),
        pure: false,
        signatures: Vec::new(),
        security_counter: None,
        dependencies: Vec::new(),
        padding: None,
    };
    // 2. the protected area is exactly as long as the header says, and absent where it says 0.
    let mut at = payload_end;
    let (mut magic, mut total) = match area_info(source, at)? {
        Ok(info) => info,
        Err(why) => return Ok(Err(why)),
    };
    if magic == PROTECTED_MAGIC || header.protected_size != 0 {
        if magic != PROTECTED_MAGIC || total != header.protected_size {
            return Ok(Err(format!(
                "the header announces a protected TLV area of {} bytes at offset {at}, found magic 0x{magic:04x} \
                 with {total} bytes",
                header.protected_size
            )));
        }
        if let Err(why) = read_area(source, at, total, true, &mut image)? {
            return Ok(Err(why));
        }
        at = at.saturating_add(u64::from(total));
        (magic, total) = match area_info(source, at)? {
            Ok(info) => info,
            Err(why) => return Ok(Err(why)),
        };
    }
    // 3. then the unprotected area, up to the last byte of the file or the padding of a slot.
    if magic != TLV_MAGIC {
        return Ok(Err(format!(
            "expected a TLV area (magic 0x6907) at offset {at}, found 0x{magic:04x}"
        )));
    }
    if let Err(why) = read_area(source, at, total, false, &mut image)? {
        return Ok(Err(why));
    }
    let end = at.saturating_add(u64::from(total));
    if end != size {
        match trailer::read(source, end)? {
            Ok(padding) => image.padding = Some(padding),
            Err(why) => {
                return Ok(Err(format!(
                    "{} bytes follow the TLV area, which ends at offset {end}; no signature covers them, and {why}. \
                     Submit the image without them",
                    size.saturating_sub(end)
                )));
            }
        }
    }
    // 4. what is signed must be hashed, unless the signature covers the image itself.
    if image.hash.is_none() && !image.pure {
        return Ok(Err(
            "the image records no hash (no SHA256, SHA384 or SHA512 TLV)".to_owned()
        ));
    }
    // 5. what it says of encryption agrees.
    let keys = image.tlvs.iter().any(|tlv| (0x30..0x40).contains(&tlv.kind));
    if keys && !image.encrypted() {
        return Ok(Err(
            "it carries a key for decryption, but its flags do not say that it is encrypted".to_owned(),
        ));
    }
    if image.flags & ENCRYPTED == ENCRYPTED {
        return Ok(Err(
            "its flags say that it is encrypted with AES-128 and with AES-256".to_owned(),
        ));
    }
    Ok(Ok(image))
}

fn area_info(source: &Source, at: u64) -> Result<std::result::Result<(u16, u16), String>> {
    let mut info = [0; 4];
    if source.read_some(&mut info, at)? != info.len() {
        return Ok(Err(format!(
            "expected a TLV area at offset {at}, found the end of the file"
        )));
    }
    let mut cursor = Cursor(&info);
    let magic = cursor.u16().unwrap_or_default();
    let total = cursor.u16().unwrap_or_default();
    if total < 4 {
        return Ok(Err(format!(
            "the TLV area at offset {at} has a length of {total}, expected at least 4"
        )));
    }
    if at.saturating_add(u64::from(total)) > source.size() {
        return Ok(Err(format!(
            "the TLV area at offset {at} is cut: it announces {total} bytes, the file ends at {}",
            source.size()
        )));
    }
    Ok(Ok((magic, total)))
}

fn read_area(
    source: &Source,
    at: u64,
    total: u16,
    protected: bool,
    image: &mut Image,
) -> Result<std::result::Result<(), String>> {
    let area = source.read_exact(at, usize::from(total))?;
    let body = area.get(4..).unwrap_or_default();
    Ok(entries(body, protected, image).map_err(|why| {
        let place = if protected { "protected" } else { "unprotected" };
        format!("{place} TLV area at offset {at}: {why}")
    }))
}

fn entries(body: &[u8], protected: bool, image: &mut Image) -> std::result::Result<(), String> {
    let mut cursor = Cursor(body);
    let mut hint = None;
    while !cursor.0.is_empty() {
        let at = body.len().saturating_sub(cursor.0.len());
        let cut = || format!("the entry at {at} runs past the end of the area");
        let kind = cursor.u16().ok_or_else(cut)?;
        let length = cursor.u16().ok_or_else(cut)?;
        let value = cursor.slice(length).ok_or_else(cut)?;
        // 1. the type is known and allowed here, and there only once where it must be unique.
        let known = TYPES.iter().find(|(known, ..)| *known == kind);
        let name = match known {
            Some((_, name, ..)) => name,
            None if kind >= 0xa0 => "vendor",
            None => "unknown",
        };
        if length == 0 {
            return Err(format!("the {name} entry (0x{kind:04x}) at {at} is empty"));
        }
        if let Some((_, _, in_protected, in_unprotected, repeatable)) = known {
            if !(if protected { *in_protected } else { *in_unprotected }) {
                return Err(format!("{name} (0x{kind:02x}) does not belong into this area"));
            }
            if !repeatable && image.tlvs.iter().any(|tlv| tlv.kind == kind) {
                return Err(format!("{name} (0x{kind:02x}) appears twice"));
            }
        }
        if image.tlvs.len() >= MAX_TLVS {
            return Err(format!("more than {MAX_TLVS} entries"));
        }
        image.tlvs.push(TlvFact {
            kind,
            name,
            length,
            protected,
        });
        // 2. its value has the length that its type needs.
        let wrong = |expected: &str| format!("{name} has {length} bytes, expected {expected}");
        let mut inner = Cursor(value);
        let mut set_hash = |hash: Hash, bytes: u16| {
            if length != bytes {
                return Err(wrong(&bytes.to_string()));
            }
            if image.hash.replace((hash, value.to_owned())).is_some() {
                return Err("two image hashes of different kinds".to_owned());
            }
            Ok(())
        };
        match kind {
            0x10 => set_hash(Hash::Sha256, 32)?,
            0x11 => set_hash(Hash::Sha384, 48)?,
            0x12 => set_hash(Hash::Sha512, 64)?,
            0x01 | 0x02 => {
                if kind == 0x01 && ![32, 48, 64].contains(&length) {
                    return Err(wrong("32, 48 or 64"));
                }
                let new = if kind == 0x01 { KeyHint::Hash } else { KeyHint::Key };
                if hint.replace(new(value.to_owned())).is_some() {
                    return Err(format!(
                        "{name} follows another key name without a signature between"
                    ));
                }
            }
            0x20 | 0x22 | 0x23 | 0x24 => {
                let kind = match kind {
                    0x20 => SignatureKind::Rsa2048,
                    0x22 => SignatureKind::Ecdsa,
                    0x23 => SignatureKind::Rsa3072,
                    _ => SignatureKind::Ed25519,
                };
                let fixed = match kind {
                    SignatureKind::Rsa2048 => Some(256),
                    SignatureKind::Rsa3072 => Some(384),
                    SignatureKind::Ed25519 => Some(64),
                    SignatureKind::Ecdsa => None,
                };
                if fixed.is_some_and(|fixed| fixed != length) {
                    return Err(wrong(&fixed.unwrap_or_default().to_string()));
                }
                let Some(hint) = hint.take() else {
                    return Err(format!("{name} is not preceded by a KEYHASH that names its key"));
                };
                if image.signatures.iter().any(|other| other.hint == hint) {
                    return Err(format!("two signatures ({name}) name the same key"));
                }
                if image.signatures.len() >= MAX_SIGNATURES {
                    return Err(format!("more than {MAX_SIGNATURES} signatures"));
                }
                image.signatures.push(EmbeddedSignature {
                    hint,
                    kind,
                    value: value.to_owned(),
                });
            }
            0x25 => {
                if value != [1] {
                    return Err(format!("SIG_PURE is {}, expected 01", hex(value)));
                }
                image.pure = true;
            }
            0x40 => {
                let read = (|| {
                    let image = inner.u8()?;
                    inner.take::<3>()?;
                    let version = inner.version()?;
                    inner.0.is_empty().then_some(Dependency { image, version })
                })();
                let new = read.ok_or_else(|| wrong("12"))?;
                if image.dependencies.iter().any(|other| other.image == new.image) {
                    return Err(format!(
                        "two dependencies on image {}: nobody can tell which version it needs",
                        new.image
                    ));
                }
                image.dependencies.push(new);
            }
            0x50 => {
                let counter = inner.u32().filter(|_| inner.0.is_empty());
                image.security_counter = Some(counter.ok_or_else(|| wrong("4"))?);
            }
            _ => {}
        }
    }
    if hint.is_some() {
        return Err("the last KEYHASH is not followed by a signature".to_owned());
    }
    Ok(())
}

/// An ECDSA signature without the zero bytes that `imgtool --pad-sig` puts behind it; anything else stays.
pub fn unpadded(signature: &[u8]) -> &[u8] {
    let Some([0x30, length]) = signature.first_chunk::<2>() else {
        return signature;
    };
    let end = usize::from(*length).saturating_add(2);
    match signature.split_at_checked(end) {
        Some((exact, padding)) if *length < 0x80 && padding.iter().all(|byte| *byte == 0) => exact,
        _ => signature,
    }
}
