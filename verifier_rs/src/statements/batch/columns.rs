//! What became of a run of lines: failures one by one, passes as columns, so that a million passes are not a
//! million objects.

use std::collections::HashMap;

use crate::outcome::Finding;
use crate::statements::dsse::{Statement, Subject};

/// What became of one line that did not pass.
#[derive(Clone, Debug)]
pub struct Verdict {
    pub line: u64,
    /// Fail or unreadable.
    pub finding: Finding,
    /// What the line claims, as far as it could be read; proven by nobody.
    pub subjects: Vec<Subject>,
    /// The approved keys that signed, by their id in the trust file.
    pub key_ids: Vec<String>,
    pub predicate_type: String,
}

/// The verdicts on `count` lines from `first` on.
#[derive(Default)]
pub struct Chunk {
    pub first: u64,
    pub count: u64,
    pub failures: Vec<Verdict>,
    pub passed: Passed,
}

/// The lines that passed, in order. Every column but the last has one entry a line; what a line has several of
/// stands one after the other in a column of its own.
#[derive(Default)]
pub struct Passed {
    /// How many lines after the chunk's first.
    pub lines: Vec<u32>,
    /// How many different approved keys signed.
    pub signers: Vec<u8>,
    /// Which: places in the trust file.
    pub keys: Vec<u16>,
    /// How many subjects there are.
    pub subjects: Vec<u16>,
    /// Their SHA-256, of 32 bytes; zeros where only another digest binds the subject.
    pub sha256: Vec<u8>,
    /// Where each one's name ends in `names`.
    pub name_ends: Vec<u32>,
    pub names: String,
    /// The place of the predicate type in `predicate_types`.
    pub kinds: Vec<u16>,
    pub predicate_types: Vec<String>,
    pub(crate) kind_of: HashMap<String, u16>,
}

impl Chunk {
    /// Whether the columns fit together and tell of `count` lines, each once, signed by some of so many keys.
    pub fn is_sound(&self, keys: usize) -> bool {
        let passed = &self.passed;
        let lines = passed.lines.len();
        let fails = self.failures.len();
        let in_lines = |line: u64| (self.first..self.first.saturating_add(self.count)).contains(&line);
        usize::try_from(self.count).ok() == lines.checked_add(fails)
            && passed.lines.is_sorted_by(|one, next| one < next)
            && passed.lines.iter().all(|line| u64::from(*line) < self.count)
            && self.failures.is_sorted_by(|one, next| one.line < next.line)
            && self.failures.iter().all(|verdict| in_lines(verdict.line))
            && passed.signers.len() == lines
            && passed.subjects.len() == lines
            && passed.kinds.len() == lines
            && sum(passed.signers.iter().map(|n| usize::from(*n))) == Some(passed.keys.len())
            && passed.keys.iter().all(|place| usize::from(*place) < keys)
            && sum(passed.subjects.iter().map(|n| usize::from(*n))) == Some(passed.name_ends.len())
            && passed.name_ends.len().checked_mul(32) == Some(passed.sha256.len())
            && passed.name_ends.is_sorted()
            && passed
                .name_ends
                .iter()
                .all(|end| usize::try_from(*end).is_ok_and(|end| passed.names.is_char_boundary(end)))
            && passed
                .kinds
                .iter()
                .all(|kind| usize::from(*kind) < passed.predicate_types.len())
    }
}

impl Passed {
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Add a line, by its place after the chunk's first.
    pub fn push(&mut self, line: usize, keys: &[usize], statement: &Statement) {
        self.lines.push(u32::try_from(line).unwrap_or(u32::MAX));
        self.signers.push(u8::try_from(keys.len()).unwrap_or(u8::MAX));
        // There are at most 10,000 keys in a trust file, 16 signatures and 4,096 subjects in a line.
        let keys = keys.iter().map(|place| u16::try_from(*place).unwrap_or(u16::MAX));
        self.keys.extend(keys);
        let subjects = &statement.subjects;
        self.subjects
            .push(u16::try_from(subjects.len()).unwrap_or(u16::MAX));
        for subject in subjects {
            self.sha256.extend_from_slice(&binary(&subject.sha256));
            self.names.push_str(&subject.name);
            self.name_ends
                .push(u32::try_from(self.names.len()).unwrap_or(u32::MAX));
        }
        let kind = self.kind(&statement.predicate_type);
        self.kinds.push(kind);
    }

    fn kind(&mut self, name: &str) -> u16 {
        if let Some(kind) = self.kind_of.get(name) {
            return *kind;
        }
        let kind = u16::try_from(self.predicate_types.len()).unwrap_or(u16::MAX);
        self.kind_of.insert(name.to_owned(), kind);
        self.predicate_types.push(name.to_owned());
        kind
    }
}

fn sum(mut counts: impl Iterator<Item = usize>) -> Option<usize> {
    counts.try_fold(0, usize::checked_add)
}

/// The bytes of a digest that was checked to be 64 lower-case hexadecimal digits; zeros for none.
fn binary(hexadecimal: &str) -> [u8; 32] {
    let nibble = |digit: u8| match digit {
        b'a'..=b'f' => digit.wrapping_sub(b'a' - 10),
        _ => digit.wrapping_sub(b'0') & 15,
    };
    let mut digest = [0; 32];
    let (pairs, _) = hexadecimal.as_bytes().as_chunks();
    for (byte, [high, low]) in digest.iter_mut().zip(pairs) {
        *byte = nibble(*high) << 4 | nibble(*low);
    }
    digest
}
