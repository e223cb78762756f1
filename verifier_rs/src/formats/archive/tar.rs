//! tar archives as POSIX.1-2008 ("ustar Interchange Format", "pax Interchange Format") and GNU tar's manual ("Basic
//! Tar Format") describe them, in one walk. Only regular files with distinct, safe names.

use crate::formats::archive::{Fault, Input, Names, fill, only_padding};

const BLOCK: u64 = 512;
const MAX_RECORDS: u64 = 64 * 1024;
const SET_ID: u64 = 0o6000;
/// Records that change nothing that is read here.
const HARMLESS: [&str; 8] = [
    "mtime", "atime", "ctime", "uid", "gid", "uname", "gname", "comment",
];

/// A regular file in the archive; its bytes come next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub name: String,
    pub size: u64,
    /// Where its bytes begin in the archive.
    pub from: u64,
}

pub struct Tar<R> {
    input: R,
    at: u64,
    /// Of the present entry.
    left: u64,
    names: Names,
}

/// The name of the first member, where the file begins like a tar archive.
pub fn first_name(start: &[u8]) -> Option<&[u8]> {
    let header = start.get(..512)?;
    let known = header.get(257..262) == Some(b"ustar") && checksum(header).is_some();
    known.then(|| until_nul(header.get(..100).unwrap_or_default()))
}

/// What stands before the header of an entry and changes it.
#[derive(Default)]
struct Extra {
    path: Option<Vec<u8>>,
    size: Option<u64>,
    /// Whose record it is: 'x' or 'L'.
    kind: Option<u8>,
}

impl<R: Input> Tar<R> {
    pub fn new(input: R) -> Self {
        Tar {
            input,
            at: 0,
            left: 0,
            names: Names::default(),
        }
    }

    /// The next entry; `None` at the end of the archive, behind which there is nothing.
    pub fn entry(&mut self) -> Result<Option<Entry>, Fault> {
        self.end_of_content()?;
        let mut extra = Extra::default();
        loop {
            let at = self.at;
            let header = self.block()?;
            if header.iter().all(|byte| *byte == 0) {
                if extra.kind.is_some() {
                    return Err(bad(at, "a record without the member that it is about"));
                }
                let second = self.block()?;
                if second.iter().any(|byte| *byte != 0) {
                    return Err(bad(at, "one block of zeros; the end of an archive has two"));
                }
                only_padding(&mut self.input, self.at)?;
                return Ok(None);
            }
            match self.header(&header, at, &mut extra)? {
                Some(entry) => return Ok(Some(entry)),
                None => continue,
            }
        }
    }

    /// Bytes of the present entry; none at its end.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Fault> {
        let want = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let room = buffer.get_mut(..want).unwrap_or_default();
        if fill(&mut self.input, room)? != want {
            return Err(bad(self.at, "the content of a member is cut"));
        }
        let got = u64::try_from(want).unwrap_or(u64::MAX);
        self.left = self.left.saturating_sub(got);
        self.at = self.at.saturating_add(got);
        Ok(want)
    }

    /// All bytes of the present entry, which may not be more than `limit`.
    pub fn content(&mut self, limit: u64) -> Result<Vec<u8>, Fault> {
        if self.left > limit {
            return Err(bad(
                self.at,
                &format!("a member of {} bytes, expected at most {limit}", self.left),
            ));
        }
        let mut content = vec![0; usize::try_from(self.left).unwrap_or_default()];
        self.read(&mut content)?;
        Ok(content)
    }

    /// What the archive was read from, at its end.
    pub fn into_input(self) -> R {
        self.input
    }

    /// Pass over what is left of the present entry and over its padding, which must be zeros.
    fn end_of_content(&mut self) -> Result<(), Fault> {
        self.input.pass_over(self.left)?;
        self.at = self.at.saturating_add(self.left);
        self.left = 0;
        let padding = self.at.next_multiple_of(BLOCK).saturating_sub(self.at);
        let mut zeros = [0; 512];
        let room = usize::try_from(padding).unwrap_or_default();
        let room = zeros.get_mut(..room).unwrap_or_default();
        if fill(&mut self.input, room)? != room.len() {
            return Err(bad(self.at, "the content of a member is cut"));
        }
        if room.iter().any(|byte| *byte != 0) {
            return Err(bad(self.at, "padding that is not zero; nothing covers it"));
        }
        self.at = self.at.saturating_add(padding);
        Ok(())
    }

    fn block(&mut self) -> Result<[u8; 512], Fault> {
        let mut block = [0; 512];
        if fill(&mut self.input, &mut block)? != block.len() {
            return Err(bad(
                self.at,
                "the archive is cut: it has no end (two blocks of zeros)",
            ));
        }
        self.at = self.at.saturating_add(BLOCK);
        Ok(block)
    }

    /// An entry, or `None` for a record about the next one, which is then in `extra`.
    fn header(&mut self, header: &[u8; 512], at: u64, extra: &mut Extra) -> Result<Option<Entry>, Fault> {
        let field = |from: usize, to: usize| header.get(from..to).unwrap_or_default();
        // 1. it is a header, and whole.
        let posix = field(257, 265) == b"ustar\x0000";
        if !posix && field(257, 265) != b"ustar  \0" {
            return Err(bad(at, "no tar header (of ustar, pax or GNU tar)"));
        }
        let Some((recorded, computed)) = checksum(header) else {
            return Err(bad(at, "a header whose checksum is no number"));
        };
        if recorded != computed {
            return Err(bad(
                at,
                &format!("a header with checksum {recorded}, its bytes give {computed}"),
            ));
        }
        let size = size(field(124, 136)).ok_or_else(|| bad(at, "a header whose size is no number"))?;
        // 2. a regular file, or a record that says more about one.
        let kind = header.get(156).copied().unwrap_or_default();
        match kind {
            b'0' => {}
            b'x' | b'L' if extra.kind.is_some() => {
                return Err(bad(at, "a second record about one member"));
            }
            b'x' => {
                let records = self.record(size, at)?;
                *extra = pax(&records).map_err(|why| bad(at, &why))?;
                return Ok(None);
            }
            b'L' => {
                let mut path = self.record(size, at)?;
                if path.pop() != Some(0) {
                    return Err(bad(at, "a long name that does not end with NUL"));
                }
                *extra = Extra {
                    path: Some(path),
                    size: None,
                    kind: Some(b'L'),
                };
                return Ok(None);
            }
            other => {
                return Err(bad(
                    at,
                    &format!(
                        "a member that is not a regular file (type {:?}): links, devices, folders and sparse files \
                         have no place in an update",
                        char::from(other)
                    ),
                ));
            }
        }
        // 3. its name and its size; two that differ would be two archives for two readers.
        let mut name = until_nul(field(0, 100)).to_owned();
        if posix && header.get(345) != Some(&0) {
            name = [until_nul(field(345, 500)), b"/", &name].concat();
        }
        let name = self.names.add(extra.path.as_deref().unwrap_or(&name))?;
        if let Some(other) = extra.size
            && other != size
        {
            return Err(bad(
                at,
                &format!("the size of {name:?} is {size} in its header and {other} in its pax record"),
            ));
        }
        let mode = octal(field(100, 108)).ok_or_else(|| bad(at, "a header whose mode is no number"))?;
        if mode & SET_ID != 0 {
            return Err(bad(
                at,
                &format!("member {name:?} has a set-user-id or set-group-id bit"),
            ));
        }
        self.left = size;
        Ok(Some(Entry {
            name,
            size,
            from: self.at,
        }))
    }

    fn record(&mut self, size: u64, at: u64) -> Result<Vec<u8>, Fault> {
        self.left = size;
        let record = self
            .content(MAX_RECORDS)
            .map_err(|fault| fault.within(&format!("the record at offset {at}")))?;
        self.end_of_content()?;
        Ok(record)
    }
}

fn bad(at: u64, what: &str) -> Fault {
    Fault::Bad(format!("at offset {at} of the archive: {what}"))
}

fn until_nul(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|byte| *byte == 0);
    field.get(..end.unwrap_or(field.len())).unwrap_or_default()
}

/// The checksum that the header records, and the one that it has.
fn checksum(header: &[u8]) -> Option<(u64, u64)> {
    let recorded = octal(header.get(148..156)?)?;
    let sum = |bytes: Option<&[u8]>| -> u64 {
        bytes
            .unwrap_or_default()
            .iter()
            .map(|byte| u64::from(*byte))
            .sum()
    };
    let blanks = 8 * u64::from(b' ');
    let computed = sum(header.get(..148))
        .saturating_add(sum(header.get(156..)))
        .saturating_add(blanks);
    Some((recorded, computed))
}

/// Octal digits, perhaps after blanks, ended by a blank, NUL or the field's end.
fn octal(field: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(field).ok()?;
    let digits = text.trim_matches([' ', '\0']);
    let plain = !digits.is_empty() && digits.bytes().all(|digit| matches!(digit, b'0'..=b'7'));
    plain.then(|| u64::from_str_radix(digits, 8).ok())?
}

/// Octal, or GNU tar's binary form for large numbers.
fn size(field: &[u8]) -> Option<u64> {
    let Some((0x80, rest)) = field.split_first().map(|(first, rest)| (*first, rest)) else {
        return octal(field);
    };
    let (high, low) = rest.split_last_chunk::<8>()?;
    let value = u64::from_be_bytes(*low);
    (high.iter().all(|byte| *byte == 0) && i64::try_from(value).is_ok()).then_some(value)
}

/// Records "LENGTH KEY=VALUE\n", each key once.
fn pax(mut records: &[u8]) -> Result<Extra, String> {
    let mut extra = Extra {
        kind: Some(b'x'),
        ..Extra::default()
    };
    let mut seen: Vec<&[u8]> = Vec::new();
    while !records.is_empty() {
        let (key, value, rest) = record(records).ok_or("a pax record that cannot be read")?;
        records = rest;
        if seen.contains(&key) {
            return Err(format!("the pax record {:?} twice", String::from_utf8_lossy(key)));
        }
        seen.push(key);
        match key {
            b"path" => extra.path = Some(value.to_owned()),
            b"size" => {
                let text = std::str::from_utf8(value).unwrap_or_default();
                let plain = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
                let size = text.parse::<u64>().ok().filter(|_| plain);
                extra.size = Some(size.ok_or("a pax size that is no number")?);
            }
            other if HARMLESS.iter().any(|known| known.as_bytes() == other) => {}
            other => {
                return Err(format!(
                    "the pax record {:?}, which is not accepted",
                    String::from_utf8_lossy(other)
                ));
            }
        }
        if seen.len() > HARMLESS.len().saturating_add(2) {
            return Err("too many pax records".to_owned());
        }
    }
    Ok(extra)
}

/// Key and value of the first record, and what follows it.
fn record(records: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let blank = records.iter().take(8).position(|byte| *byte == b' ')?;
    let digits = std::str::from_utf8(records.get(..blank)?).ok()?;
    let plain = !digits.starts_with('0') && digits.bytes().all(|digit| digit.is_ascii_digit());
    let length = digits.parse::<usize>().ok().filter(|_| plain)?;
    let (record, rest) = records.split_at_checked(length)?;
    let pair = record.get(blank.checked_add(1)?..)?.strip_suffix(b"\n")?;
    let equals = pair.iter().position(|byte| *byte == b'=')?;
    let (key, value) = pair.split_at_checked(equals)?;
    Some((key, value.get(1..)?, rest))
}
