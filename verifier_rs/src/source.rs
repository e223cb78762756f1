//! Reading a file once, in order, into as many digests as are wanted, beside each other.

mod feed;

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use blake2::Blake2b512;
use rustix::fs::{Advice, FileType, OFlags, Stat, fadvise, fstat};
use sha2::{Digest, Sha256};
use shake::{ExtendableOutput, Shake256, Update, XofReader};

use crate::digest::{Sha384, Sha512};
use crate::encoding::Base64Url;
use crate::error::{Error, Result};
use crate::hasher::{Digests, Tree};

const TICK: Duration = Duration::from_millis(100);

/// Tells the caller how far the work is, at most every 100 ms, and lets it stop the work.
pub struct Progress<'a> {
    report: &'a mut dyn FnMut(u64) -> Result<()>,
    last: Instant,
    done: u64,
}

impl<'a> Progress<'a> {
    /// `report` gets what is done so far (bytes, or envelopes) and ends the work by an error.
    pub fn new(report: &'a mut dyn FnMut(u64) -> Result<()>) -> Self {
        Progress {
            report,
            last: Instant::now(),
            done: 0,
        }
    }

    pub fn advance(&mut self, by: u64) -> Result<()> {
        self.done = self.done.saturating_add(by);
        if self.last.elapsed() >= TICK {
            (self.report)(self.done)?;
            self.last = Instant::now();
        }
        Ok(())
    }
}

/// One digest being computed.
#[derive(Clone)]
pub enum Sink {
    Sha256(Sha256),
    Sha384(Sha384),
    Sha512(Sha512),
    Blake3(Tree),
    /// The bytes themselves, where they are few.
    Keep(Vec<u8>),
    Shake256(Shake256),
    /// The sum of all bytes modulo 2³², as cpio's format "crc" records it.
    Sum(u32),
    Blake2b(Blake2b512),
    /// A hash tree of dm-verity.
    Verity(Box<crate::formats::rauc::verity::Tree>),
    /// What is fed, in base64url without padding, to another one.
    Base64Url(Box<Base64Url>),
    /// With line ends as text has them on the wire.
    Text(Box<Text>),
    /// A digest that somebody made before.
    Known(Vec<u8>),
}

impl Sink {
    /// A state that sees the bytes as text.
    pub fn text(inner: Sink) -> Self {
        Sink::Text(Box::new(Text {
            inner,
            returned: false,
        }))
    }

    /// How long a byte takes, roughly, beside the others.
    pub fn cost(&self) -> u8 {
        match self {
            Sink::Shake256(_) => 8,
            Sink::Sha384(_) | Sink::Sha512(_) | Sink::Blake2b(_) => 6,
            Sink::Sha256(_) | Sink::Verity(_) => 3,
            Sink::Blake3(_) | Sink::Sum(_) => 1,
            Sink::Keep(_) | Sink::Known(_) => 0,
            Sink::Base64Url(state) => state.cost(),
            Sink::Text(text) => text.inner.cost(),
        }
    }

    pub fn update(&mut self, data: &[u8]) {
        match self {
            Sink::Sha256(state) => Digest::update(state, data),
            Sink::Sha384(state) => Digest::update(state, data),
            Sink::Sha512(state) => Digest::update(state, data),
            Sink::Blake3(tree) => tree.update(data),
            Sink::Keep(bytes) => bytes.extend_from_slice(data),
            Sink::Shake256(state) => state.update(data),
            Sink::Sum(sum) => {
                // Pieces this short cannot overflow, so that the sum is made with vectors.
                for piece in data.chunks(1 << 16) {
                    *sum = sum.wrapping_add(piece.iter().map(|byte| u32::from(*byte)).sum());
                }
            }
            Sink::Blake2b(state) => Digest::update(state, data),
            Sink::Verity(tree) => tree.update(data),
            Sink::Base64Url(state) => state.update(data),
            Sink::Text(text) => text.update(data),
            Sink::Known(_) => {}
        }
    }

    /// The digest so far, as long as the algorithm makes it.
    pub fn digest(&self) -> Vec<u8> {
        match self {
            Sink::Sha256(state) => state.clone().finalize().to_vec(),
            Sink::Sha384(state) => state.clone().finalize().to_vec(),
            Sink::Sha512(state) => state.clone().finalize().to_vec(),
            Sink::Blake3(tree) => tree.digest().to_vec(),
            Sink::Keep(bytes) => bytes.clone(),
            Sink::Shake256(state) => {
                let mut digest = vec![0; 64];
                state.clone().finalize_xof().read(&mut digest);
                digest
            }
            Sink::Sum(sum) => sum.to_be_bytes().to_vec(),
            Sink::Blake2b(state) => state.clone().finalize().to_vec(),
            Sink::Verity(tree) => tree.finish().0,
            Sink::Base64Url(state) => state.finish().digest(),
            Sink::Text(text) => text.inner.digest(),
            Sink::Known(digest) => digest.clone(),
        }
    }
}

/// Text whose line ends become CR LF before another state sees them.
#[derive(Clone)]
pub struct Text {
    inner: Sink,
    /// The last byte was a carriage return.
    returned: bool,
}

impl Text {
    fn update(&mut self, data: &[u8]) {
        for line in data.split_inclusive(|byte| *byte == b'\n') {
            match line.split_last() {
                Some((b'\n', rest)) => {
                    let returned = rest.last().map_or(self.returned, |last| *last == b'\r');
                    self.inner.update(rest);
                    self.inner.update(if returned { b"\n" } else { b"\r\n" });
                    self.returned = false;
                }
                Some((last, _)) => {
                    self.inner.update(line);
                    self.returned = *last == b'\r';
                }
                None => {}
            }
        }
    }

    pub fn inner(&self) -> &Sink {
        &self.inner
    }
}

/// A regular file opened for reading, and what it looked like then.
pub struct Source {
    bytes: Bytes,
    path: PathBuf,
    stamp: Stamp,
    forgetful: bool,
}

/// Where the bytes are.
enum Bytes {
    File(File),
    /// What was unwrapped from another file; whoever made it kept to a limit.
    Memory(Vec<u8>),
}

impl Bytes {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<usize> {
        match self {
            Bytes::File(file) => file.read_at(buffer, offset),
            Bytes::Memory(bytes) => {
                let from = usize::try_from(offset).unwrap_or(usize::MAX);
                let rest = bytes.get(from..).unwrap_or_default();
                let length = rest.len().min(buffer.len());
                if let (Some(to), Some(from)) = (buffer.get_mut(..length), rest.get(..length)) {
                    to.copy_from_slice(from);
                }
                Ok(length)
            }
        }
    }
}

/// Wide enough for what the kernel counts on any machine.
#[derive(PartialEq, Eq)]
struct Stamp {
    size: u64,
    modified: (i128, i128),
    inode: u64,
}

impl Stamp {
    fn of(stat: &Stat) -> Self {
        Stamp {
            size: u64::try_from(stat.st_size).unwrap_or_default(),
            modified: (stat.st_mtime.into(), stat.st_mtime_nsec.into()),
            inode: stat.st_ino,
        }
    }
}

/// By `fstat`: what std calls takes a path as well, which a confined process must not ask about.
fn stat(file: &File, name: &Path) -> Result<Stat> {
    fstat(file).map_err(|error| Error::io(name)(error.into()))
}

impl Source {
    pub fn open(path: &Path) -> Result<Self> {
        // Without O_NONBLOCK, opening a named pipe would wait for ever.
        let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(flags)
            .open(path)
            .map_err(Error::io(path))?;
        Source::from_file(file, path)
    }

    /// A file that somebody else opened; `name` stands in messages only.
    pub fn from_file(file: File, name: &Path) -> Result<Self> {
        let stat = stat(&file, name)?;
        let found = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => None,
            FileType::Directory => Some("directory"),
            _ => Some("device, pipe or socket"),
        };
        if let Some(found) = found {
            return Err(Error::Unreadable(format!(
                "{}: expected a regular file, found a {found}",
                name.display()
            )));
        }
        // Advice only: a file system that does not take it reads all the same.
        let _ = fadvise(&file, 0, None, Advice::Sequential);
        Ok(Source {
            stamp: Stamp::of(&stat),
            bytes: Bytes::File(file),
            path: name.to_owned(),
            forgetful: false,
        })
    }

    /// Bytes that were unwrapped from a file, to be read like one.
    pub fn memory(bytes: Vec<u8>, name: &Path) -> Self {
        Source {
            stamp: Stamp {
                size: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
                modified: (0, 0),
                inode: 0,
            },
            bytes: Bytes::Memory(bytes),
            path: name.to_owned(),
            forgetful: false,
        }
    }

    /// Leave the page cache as it was: a check of many stored files must not push out what others need.
    pub fn forgetful(self) -> Self {
        Source {
            forgetful: true,
            ..self
        }
    }

    pub fn size(&self) -> u64 {
        self.stamp.size
    }

    /// The open file, where it is one.
    pub fn file(&self) -> Option<&File> {
        match &self.bytes {
            Bytes::File(file) => Some(file),
            Bytes::Memory(_) => None,
        }
    }

    /// As many bytes from `offset` as the file has, at most the buffer's length.
    pub fn read_some(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        let mut filled = 0_usize;
        while let Some(rest) = buffer.get_mut(filled..)
            && !rest.is_empty()
        {
            let at = offset.saturating_add(u64::try_from(filled).unwrap_or(u64::MAX));
            match self.bytes.read_at(rest, at) {
                Ok(0) => break,
                Ok(n) => filled = filled.saturating_add(n),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io(&self.path)(error)),
            }
        }
        Ok(filled)
    }

    /// Exactly `length` bytes from `offset`; the caller has checked `length` against a limit.
    pub fn read_exact(&self, offset: u64, length: usize) -> Result<Vec<u8>> {
        let mut buffer = vec![0; length];
        if self.read_some(&mut buffer, offset)? == length {
            Ok(buffer)
        } else {
            Err(self.changed())
        }
    }

    /// Whether the file is still what was opened; to be asked after the last read.
    pub fn ensure_unchanged(&self) -> Result<()> {
        let Some(file) = self.file() else {
            return Ok(());
        };
        if Stamp::of(&stat(file, &self.path)?) == self.stamp {
            Ok(())
        } else {
            Err(self.changed())
        }
    }

    fn changed(&self) -> Error {
        Error::Unreadable(format!(
            "{}: the file changed while it was read; verify it again when nobody writes to it",
            self.path.display()
        ))
    }

    /// Fill the buffer from `at`, not beyond `to`; fewer bytes than that mean that the file shrank.
    fn fill(&self, buffer: &mut [u8], at: u64, to: u64) -> Result<usize> {
        let want = usize::try_from(to.saturating_sub(at))
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let got = self.read_some(buffer.get_mut(..want).unwrap_or_default(), at)?;
        if got == want { Ok(got) } else { Err(self.changed()) }
    }
}

/// Size, SHA-256 and BLAKE3 of a file, in one pass and in bounded memory; what of it was not in the page cache
/// before is not there afterwards.
pub fn hash_file(path: &Path, progress: &mut Progress<'_>) -> Result<Digests> {
    hash(&Source::open(path)?.forgetful(), progress)
}

/// As `hash_file`, for a file that is open.
pub fn hash(source: &Source, progress: &mut Progress<'_>) -> Result<Digests> {
    let mut sha256 = Sink::Sha256(Sha256::new());
    let mut blake3 = Sink::Blake3(Tree::default());
    source.feed(0, source.size(), &mut [&mut sha256, &mut blake3], progress)?;
    source.ensure_unchanged()?;
    Ok(Digests {
        size: source.size(),
        sha256: fixed(&sha256.digest()),
        blake3: fixed(&blake3.digest()),
    })
}

/// A digest of 32 bytes as an array.
pub fn fixed(digest: &[u8]) -> [u8; 32] {
    digest.first_chunk().copied().unwrap_or_default()
}

pub fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().saturating_mul(2));
    for byte in bytes {
        for nibble in [byte >> 4, byte & 15] {
            out.push(char::from_digit(u32::from(nibble), 16).unwrap_or('?'));
        }
    }
    out
}

/// A digest of 32 bytes from its 64 hexadecimal digits.
pub fn unhex(text: &str) -> Result<[u8; 32]> {
    let wrong = || Error::Argument(format!("digest: expected 64 hexadecimal digits, found {text:?}"));
    let nibbles: Vec<u8> = text
        .chars()
        .map(|digit| digit.to_digit(16).and_then(|value| u8::try_from(value).ok()))
        .collect::<Option<_>>()
        .filter(|nibbles: &Vec<u8>| nibbles.len() == 64)
        .ok_or_else(wrong)?;
    let mut digest = [0; 32];
    for (byte, pair) in digest.iter_mut().zip(nibbles.chunks_exact(2)) {
        if let [high, low] = pair {
            *byte = high << 4 | low;
        }
    }
    Ok(digest)
}
