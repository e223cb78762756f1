//! Numbers and names at fixed places of a header that was read as a whole.

/// `N` bytes at `at`.
pub fn bytes<const N: usize>(from: &[u8], at: usize) -> Option<[u8; N]> {
    from.get(at..)?.first_chunk().copied()
}

pub fn le16(from: &[u8], at: usize) -> Option<u16> {
    bytes(from, at).map(u16::from_le_bytes)
}

pub fn le32(from: &[u8], at: usize) -> Option<u32> {
    bytes(from, at).map(u32::from_le_bytes)
}

/// Text in a field of fixed length, up to its first NUL; `None` where it is not printable ASCII.
pub fn text(field: &[u8]) -> Option<&str> {
    let text = field.split(|byte| *byte == 0).next()?;
    let printable = text.iter().all(|byte| (0x20..0x7f).contains(byte));
    std::str::from_utf8(text).ok().filter(|_| printable)
}
