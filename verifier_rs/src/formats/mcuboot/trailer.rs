//! What stands at the end of a slot behind an image: erased flash, `image_ok` and the magic of the boot loader
//! (`imgtool sign --pad`, `--confirm`; mcuboot's docs/design.md, "Image trailer"). No signature covers it, so it may
//! hold nothing else.

use crate::error::Result;
use crate::source::Source;

const MAGIC: [u8; 16] = [
    0x77, 0xc2, 0x95, 0xf3, 0x60, 0xd2, 0xef, 0x7f, 0x35, 0x52, 0x50, 0x0f, 0x2c, 0xb6, 0x79, 0x80,
];
/// With writes of more than 8 bytes: their size (little-endian), then this.
const ALIGNED_MAGIC: [u8; 14] = [
    0x2d, 0xe1, 0x5d, 0x29, 0x41, 0x0b, 0x8d, 0x77, 0x67, 0x9c, 0x11, 0x0f, 0x1f, 0x8a,
];
const READ: usize = 64 * 1024;
/// Erased flash is one of these.
const ERASED: [u8; 2] = [0xff, 0x00];
const MAX_ALIGNMENT: u64 = 32;
const MAX_FLAG: usize = 32;

/// What the padding asks of the boot loader.
#[derive(Debug)]
pub struct Padding {
    pub bytes: u64,
    /// The image stays, without the trial run after which a bad one is taken back.
    pub confirmed: bool,
}

/// The size of the writes that the magic names.
fn alignment(magic: &[u8]) -> Option<u64> {
    if magic == MAGIC {
        return Some(8);
    }
    let (size, rest) = magic.split_first_chunk::<2>()?;
    let size = u64::from(u16::from_le_bytes(*size));
    (rest == ALIGNED_MAGIC && size.is_power_of_two() && (8..=MAX_ALIGNMENT).contains(&size)).then_some(size)
}

/// What stands from `from` to the end of the file, if it is the padding of a slot and nothing else; if not, why.
pub fn read(source: &Source, from: u64) -> Result<std::result::Result<Padding, String>> {
    let size = source.size();
    let bytes = size.saturating_sub(from);
    let mut magic = [0; 16];
    if bytes < 16 || source.read_some(&mut magic, size.saturating_sub(16))? != 16 {
        return Ok(Err("they are no padding of a slot".to_owned()));
    }
    let Some(alignment) = alignment(&magic) else {
        return Ok(Err("they are no padding of a slot".to_owned()));
    };
    // The flag takes a whole write of its own before the magic, which takes whole writes too.
    let flag_at = 16_u64
        .next_multiple_of(alignment)
        .checked_add(alignment)
        .and_then(|back| size.checked_sub(back));
    let mut buffer = vec![0; READ];
    let mut at = from;
    let end = size.saturating_sub(16);
    let mut erased = None;
    let mut confirmed = false;
    while at < end {
        let room = usize::try_from(end.saturating_sub(at)).unwrap_or(READ).min(READ);
        let got = source.read_some(buffer.get_mut(..room).unwrap_or_default(), at)?;
        for (place, byte) in (at..).zip(buffer.get(..got).unwrap_or_default()) {
            if Some(place) == flag_at && *byte == 1 {
                confirmed = true;
            } else if *erased.get_or_insert(*byte) != *byte || !ERASED.contains(byte) {
                return Ok(Err(format!("the byte at offset {place} is not erased flash")));
            }
        }
        at = at.saturating_add(u64::try_from(got.max(1)).unwrap_or(u64::MAX));
    }
    Ok(Ok(Padding { bytes, confirmed }))
}

/// Whether these bytes are nothing but a piece of a trailer: `image_ok`, the magic, or both.
pub fn is_part(bytes: &[u8]) -> bool {
    let split = bytes.len().saturating_sub(16);
    let (flag, magic) = bytes.split_at_checked(split).unwrap_or((bytes, &[]));
    let flag = if alignment(magic).is_some() { flag } else { bytes };
    match flag {
        [] => !bytes.is_empty(),
        [first, rest @ ..] => {
            let erased = |byte: &u8| ERASED.contains(byte);
            flag.len() <= MAX_FLAG && (*first == 1 || erased(first)) && rest.iter().all(erased)
        }
    }
}
