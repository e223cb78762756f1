//! Archives as update packages use them: read where they lie, member by member, never unpacked.

pub mod cpio;
pub mod tar;
pub mod unpack;

use std::collections::HashSet;
use std::io::Read;

use unicode_normalization::UnicodeNormalization;

use crate::error::Error;
use crate::source::Source;

/// Far more than any update has.
pub const MAX_MEMBERS: usize = 4096;
const MAX_NAME: usize = 1024;
/// Tools fill the last block of an archive with zeros.
pub const MAX_PADDING: u64 = 1024 * 1024;

/// Why an archive could not be read to its end.
#[derive(Debug)]
pub enum Fault {
    /// The file itself cannot be read.
    Io(Error),
    /// Its bytes are not what they should be, in words.
    Bad(String),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Fault::Io(error)
    }
}

impl From<String> for Fault {
    fn from(why: String) -> Self {
        Fault::Bad(why)
    }
}

impl From<std::io::Error> for Fault {
    /// An error of ours that went through a reader of the standard library, or one of a decompressor.
    fn from(error: std::io::Error) -> Self {
        match error.downcast::<Error>() {
            Ok(ours) => Fault::Io(ours),
            Err(other) => Fault::Bad(other.to_string()),
        }
    }
}

impl Fault {
    /// Say where it was, unless the file itself cannot be read.
    pub fn within(self, place: &str) -> Self {
        match self {
            Fault::Bad(why) => Fault::Bad(format!("{place}: {why}")),
            io => io,
        }
    }
}

/// Outer: the file cannot be read; inner: why its bytes are refused.
pub fn split<T>(result: Result<T, Fault>) -> crate::error::Result<Result<T, String>> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(Fault::Bad(why)) => Ok(Err(why)),
        Err(Fault::Io(error)) => Err(error),
    }
}

/// Bytes of an archive, in order.
pub trait Input: Read {
    /// Pass over `count` bytes; whether they are there shows at the next read.
    fn pass_over(&mut self, count: u64) -> Result<(), Fault>;
}

/// A range of a file.
pub struct Window<'a> {
    source: &'a Source,
    at: u64,
    end: u64,
}

impl<'a> Window<'a> {
    pub fn new(source: &'a Source, from: u64, to: u64) -> Self {
        Window {
            source,
            at: from,
            end: to,
        }
    }

    /// How many bytes are left.
    pub fn size(&self) -> u64 {
        self.end.saturating_sub(self.at)
    }
}

impl Read for Window<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let left = usize::try_from(self.size()).unwrap_or(usize::MAX);
        let want = left.min(buffer.len());
        let room = buffer.get_mut(..want).unwrap_or_default();
        let got = self
            .source
            .read_some(room, self.at)
            .map_err(std::io::Error::other)?;
        self.at = self.at.saturating_add(u64::try_from(got).unwrap_or(u64::MAX));
        Ok(got)
    }
}

impl Input for Window<'_> {
    fn pass_over(&mut self, count: u64) -> Result<(), Fault> {
        self.at = self.at.saturating_add(count);
        Ok(())
    }
}

/// Fill the buffer as far as there are bytes.
pub fn fill(input: &mut impl Read, buffer: &mut [u8]) -> Result<usize, Fault> {
    let mut filled = 0_usize;
    while let Some(rest) = buffer.get_mut(filled..)
        && !rest.is_empty()
    {
        match input.read(rest) {
            Ok(0) => break,
            Ok(got) => filled = filled.saturating_add(got),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(filled)
}

/// All that is left must be padding: zeros, and not many.
pub fn only_padding(input: &mut impl Read, offset: u64) -> Result<(), Fault> {
    let mut buffer = [0; 4096];
    let mut at = offset;
    loop {
        let got = fill(input, &mut buffer)?;
        let read = buffer.get(..got).unwrap_or_default();
        if let Some(place) = read.iter().position(|byte| *byte != 0) {
            let place = at.saturating_add(u64::try_from(place).unwrap_or(u64::MAX));
            return Err(Fault::Bad(format!(
                "data follows the end of the archive, at offset {place}; nothing covers it"
            )));
        }
        at = at.saturating_add(u64::try_from(got).unwrap_or(u64::MAX));
        if at.saturating_sub(offset) > MAX_PADDING {
            return Err(Fault::Bad(format!(
                "more than {MAX_PADDING} bytes of padding follow the end of the archive, at offset {offset}"
            )));
        }
        if got < buffer.len() {
            return Ok(());
        }
    }
}

/// The names of an archive so far: each must be safe, and no two may be one on any file system.
#[derive(Default)]
pub struct Names {
    seen: HashSet<String>,
}

impl Names {
    /// Take the name of the next member.
    pub fn add(&mut self, raw: &[u8]) -> Result<String, String> {
        if self.seen.len() >= MAX_MEMBERS {
            return Err(format!("more than {MAX_MEMBERS} members"));
        }
        let name = std::str::from_utf8(raw)
            .map_err(|_| format!("a member's name is not UTF-8: {:?}", String::from_utf8_lossy(raw)))?;
        check(name)?;
        let folded: String = name.nfc().collect::<String>().to_lowercase().nfc().collect();
        if self.seen.insert(folded) {
            Ok(name.to_owned())
        } else {
            Err(format!(
                "the name {name:?} appears twice (capitals and forms of one letter count as the same)"
            ))
        }
    }
}

/// Whether the name could leave the folder that it is meant for, or show as another one.
fn check(name: &str) -> Result<(), String> {
    let refuse = |why: &str| Err(format!("the member name {name:?} {why}"));
    if name.is_empty() {
        return refuse("is empty");
    }
    if name.len() > MAX_NAME {
        return Err(format!("a member's name has more than {MAX_NAME} bytes"));
    }
    if name.chars().any(hidden) {
        return refuse("has control, direction or invisible characters");
    }
    if name.starts_with('/') {
        return refuse("is an absolute path");
    }
    if name.contains('\\') || name.chars().nth(1) == Some(':') {
        return refuse("has a backslash or a drive letter");
    }
    if name.split('/').any(|part| part == "..") {
        return refuse("leads out of its folder (..)");
    }
    if name.split('/').any(|part| part.is_empty() || part == ".") {
        return refuse("has empty or \".\" parts");
    }
    Ok(())
}

/// Characters that show nothing, or change the order in which others show.
fn hidden(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{00ad}' | '\u{061c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_do_harm_are_refused() {
        let mut names = Names::default();
        assert_eq!(
            names.add("data/0000/root.ext4".as_bytes()).unwrap(),
            "data/0000/root.ext4"
        );
        assert!(names.add("größe.bin".as_bytes()).is_ok());
        for (name, words) in [
            (&b"../x"[..], "leads out"),
            (b"a/../../x", "leads out"),
            (b"..", "leads out"),
            (b"/etc/passwd", "absolute"),
            (b"//x", "absolute"),
            (b"a\\..\\x", "backslash"),
            (b"C:x", "drive"),
            (b"a//b", "empty"),
            (b"./a", "\".\""),
            (b"", "empty"),
            (b"a\0b", "control"),
            (b"a\nb", "control"),
            ("a\u{202e}b".as_bytes(), "direction"),
            ("a\u{200b}".as_bytes(), "invisible"),
            (b"\xff", "not UTF-8"),
            (b"Data/0000/ROOT.ext4", "twice"),
            ("gr\u{f6}\u{df}e.BIN".as_bytes(), "twice"),
            ("gro\u{308}\u{df}e.bin".as_bytes(), "twice"),
        ] {
            let why = names.add(name).unwrap_err();
            assert!(why.contains(words), "{name:?}: {why}");
        }
    }
}
