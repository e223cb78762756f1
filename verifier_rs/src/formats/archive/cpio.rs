//! cpio archives of the formats "newc" (`070701`) and "crc" (`070702`), as GNU cpio's manual and the kernel's
//! initramfs buffer-format describe them. Only regular files with distinct, safe names.

use std::collections::HashSet;

use crate::formats::archive::{Fault, Names, Window, fill, only_padding};
use crate::source::Source;

pub const NEWC: &[u8; 6] = b"070701";
pub const CRC: &[u8; 6] = b"070702";
const HEADER: u64 = 110;
const FIELDS: usize = 13;
/// With its NUL.
const MAX_NAME_FIELD: u32 = 1025;
const TRAILER: &[u8] = b"TRAILER!!!";
const TYPE: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;
const SET_ID: u32 = 0o6000;

/// A regular file in the archive, and where its bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub name: String,
    pub from: u64,
    pub to: u64,
    /// The sum of all bytes modulo 2³² that a "crc" archive records.
    pub sum: Option<u32>,
}

/// The name of the first member, where the file begins like a cpio archive.
pub fn first_name(start: &[u8]) -> Option<&[u8]> {
    if !start.starts_with(NEWC) && !start.starts_with(CRC) {
        return None;
    }
    let name = start.get(110..)?;
    name.get(..name.iter().position(|byte| *byte == 0)?)
}

struct Header {
    inode: u32,
    mode: u32,
    links: u32,
    size: u32,
    device: (u32, u32),
    name_size: u32,
    check: u32,
}

fn header(bytes: &[u8], magic: &[u8; 6], at: u64) -> Result<Header, Fault> {
    let (found, digits) = bytes.split_at_checked(6).unwrap_or_default();
    if found != magic {
        return Err(Fault::Bad(format!(
            "expected a cpio header ({}) at offset {at}, found {:?}",
            String::from_utf8_lossy(magic),
            String::from_utf8_lossy(found)
        )));
    }
    if digits.len() != 8 * FIELDS {
        return Err(Fault::Bad(format!("the member header at offset {at} is cut")));
    }
    let mut fields = [0_u32; FIELDS];
    for (field, text) in fields.iter_mut().zip(digits.chunks_exact(8)) {
        *field = number(text).ok_or_else(|| {
            Fault::Bad(format!(
                "the member header at offset {at} has a field that is not eight hexadecimal digits: {:?}",
                String::from_utf8_lossy(text)
            ))
        })?;
    }
    let [
        inode,
        mode,
        _,
        _,
        links,
        _,
        size,
        major,
        minor,
        _,
        _,
        name_size,
        check,
    ] = fields;
    Ok(Header {
        inode,
        mode,
        links,
        size,
        device: (major, minor),
        name_size,
        check,
    })
}

fn number(text: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(text).ok()?;
    let plain = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    plain.then(|| u32::from_str_radix(text, 16).ok())?
}

/// Go through the whole archive by its headers; the bytes of the members are not read.
pub fn members(source: &Source) -> Result<Vec<Member>, Fault> {
    let mut magic = [0; 6];
    source.read_some(&mut magic, 0)?;
    if &magic != NEWC && &magic != CRC {
        return Err(Fault::Bad(
            "not a cpio archive of the format newc or crc".to_owned(),
        ));
    }
    let mut names = Names::default();
    let mut inodes = HashSet::new();
    let mut members = Vec::new();
    let mut at = 0_u64;
    loop {
        let mut window = Window::new(source, at, source.size());
        let mut bytes = [0; 110];
        let got = fill(&mut window, &mut bytes)?;
        if got == 0 {
            return Err(Fault::Bad(format!(
                "the archive is cut: it ends at offset {at} without its trailer"
            )));
        }
        let header = header(bytes.get(..got).unwrap_or_default(), &magic, at)?;
        // 1. the name, with its NUL and padding to four bytes.
        if header.name_size < 2 || header.name_size > MAX_NAME_FIELD {
            return Err(Fault::Bad(format!(
                "the member header at offset {at} announces a name of {} bytes, expected 2 to {MAX_NAME_FIELD}",
                header.name_size
            )));
        }
        let name_end = at.saturating_add(HEADER).saturating_add(header.name_size.into());
        let from = name_end.next_multiple_of(4);
        let mut name = vec![0; usize::try_from(header.name_size).unwrap_or_default()];
        if fill(&mut window, &mut name)? != name.len() {
            return Err(Fault::Bad(format!(
                "the name of the member at offset {at} is cut"
            )));
        }
        if name.pop() != Some(0) {
            return Err(Fault::Bad(format!(
                "the name of the member at offset {at} does not end with NUL"
            )));
        }
        let to = from.saturating_add(header.size.into());
        let shown = String::from_utf8_lossy(&name).into_owned();
        let next = to.next_multiple_of(4);
        // 2. its bytes lie in the file, and between the members there is nothing.
        if name == TRAILER {
            if header.size != 0 {
                return Err(Fault::Bad(format!("the trailer at offset {at} has content")));
            }
            only_padding(&mut Window::new(source, name_end, source.size()), name_end)?;
            return Ok(members);
        }
        if to > source.size() {
            return Err(Fault::Bad(format!(
                "member {shown:?} is cut: it announces {} bytes from offset {from}, the file ends at {}",
                header.size,
                source.size()
            )));
        }
        zeros(source, name_end, from)?;
        zeros(source, to, next)?;
        // 3. a regular file, once.
        let name = names.add(&name)?;
        if header.mode & TYPE != REGULAR {
            return Err(Fault::Bad(format!(
                "member {name:?} is not a regular file (mode {:o}): links, devices and folders have no place in an \
                 update",
                header.mode
            )));
        }
        if header.mode & SET_ID != 0 {
            return Err(Fault::Bad(format!(
                "member {name:?} has a set-user-id or set-group-id bit (mode {:o})",
                header.mode
            )));
        }
        if header.links > 1 && !inodes.insert((header.inode, header.device)) {
            return Err(Fault::Bad(format!(
                "member {name:?} is a hard link to another one"
            )));
        }
        if &magic == NEWC && header.check != 0 {
            return Err(Fault::Bad(format!(
                "member {name:?} records a checksum, which the format newc does not have"
            )));
        }
        members.push(Member {
            name,
            from,
            to,
            sum: (&magic == CRC).then_some(header.check),
        });
        at = next;
    }
}

/// The up to three bytes of padding from `from` to `to`.
fn zeros(source: &Source, from: u64, to: u64) -> Result<(), Fault> {
    let mut padding = [0; 4];
    let length = usize::try_from(to.saturating_sub(from)).unwrap_or_default();
    let room = padding.get_mut(..length).unwrap_or_default();
    if source.read_some(room, from)? == length && room.iter().all(|byte| *byte == 0) {
        Ok(())
    } else {
        Err(Fault::Bad(format!(
            "the padding at offset {from} is cut or not zero; nothing covers it"
        )))
    }
}
