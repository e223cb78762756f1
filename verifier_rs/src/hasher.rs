//! SHA-256 and BLAKE3 in one pass, with a state that can be stored and taken up by another process.

use std::path::Path;

use blake3::hazmat::{ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};
use sha2::digest::common::hazmat::{SerializableState, SerializedState};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::pool::pool;
use crate::source::{Progress, Sink, Source};

const CHUNK: usize = blake3::CHUNK_LEN;
const CHUNK_U64: u64 = 1024;
/// Below this, starting a second thread costs more than it saves.
const PARALLEL: usize = 256 * 1024;

/// What a file is: its length and its digests, each under its own name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digests {
    pub size: u64,
    pub sha256: [u8; 32],
    pub blake3: [u8; 32],
}

/// BLAKE3 as a stack of chaining values plus at most one chunk of bytes: all there is to store.
///
/// Equal neighbours on the stack are merged at once, except for the two halves of a whole that nothing follows yet:
/// they may be the last, and the root is made of its halves. So whole pieces are hashed at full width, and nothing
/// of them is held back.
#[derive(Clone)]
pub struct Tree {
    stack: Vec<ChainingValue>,
    chunks: u64,
    tail: Vec<u8>,
}

impl Default for Tree {
    fn default() -> Self {
        Tree {
            stack: Vec::new(),
            chunks: 0,
            tail: Vec::with_capacity(CHUNK),
        }
    }
}

/// Whether this many chunks are on the stack as two halves.
fn halved(chunks: u64) -> bool {
    chunks >= 2 && chunks.is_power_of_two()
}

/// How many chaining values stand for this many chunks.
fn values(chunks: u64) -> u32 {
    if halved(chunks) { 2 } else { chunks.count_ones() }
}

impl Tree {
    pub fn update(&mut self, mut data: &[u8]) {
        let room = CHUNK.saturating_sub(self.tail.len());
        if data.len() <= room {
            self.tail.extend_from_slice(data);
            return;
        }
        if !self.tail.is_empty() {
            let (head, rest) = data.split_at(room);
            self.tail.extend_from_slice(head);
            let chunk = std::mem::take(&mut self.tail);
            self.push(&chunk, 1);
            data = rest;
        }
        // The first chunk is held back until something follows it: alone, it is the root.
        while data.len() >= CHUNK && (self.chunks > 0 || data.len() > CHUNK) {
            // The largest subtree that is aligned here.
            let mut count = 1_u64 << (data.len() / CHUNK).ilog2();
            if self.chunks != 0 {
                count = count.min(1 << self.chunks.trailing_zeros());
            }
            let length = usize::try_from(count).unwrap_or(1).saturating_mul(CHUNK);
            let (subtree, rest) = data.split_at(length);
            self.push(subtree, count);
            data = rest;
        }
        self.tail.clear();
        self.tail.extend_from_slice(data);
    }

    /// Of a subtree that begins at the chunk `at`.
    fn chaining_value(data: &[u8], at: u64) -> ChainingValue {
        let mut hasher = blake3::Hasher::new();
        hasher.set_input_offset(at.saturating_mul(CHUNK_U64));
        hasher.update(data).finalize_non_root()
    }

    fn push(&mut self, subtree: &[u8], count: u64) {
        self.settle();
        let at = self.chunks;
        self.chunks = at.saturating_add(count);
        if at == 0 && count > 1 {
            let (left, right) = subtree.split_at(subtree.len() / 2);
            self.stack.push(Self::chaining_value(left, 0));
            self.stack.push(Self::chaining_value(right, count / 2));
            return;
        }
        let mut value = Self::chaining_value(subtree, at);
        // Merge as often as the count of subtrees of this size carries, as in a binary counter.
        let mut carry = at >> count.trailing_zeros();
        while carry & 1 == 1 && !(carry == 1 && halved(self.chunks)) {
            if let Some(left) = self.stack.pop() {
                value = merge_subtrees_non_root(&left, &value, Mode::Hash);
            }
            carry >>= 1;
        }
        self.stack.push(value);
    }

    /// Something follows: the two halves are not the root's.
    fn settle(&mut self) {
        if let [left, right] = self.stack.as_slice()
            && halved(self.chunks)
        {
            self.stack = vec![merge_subtrees_non_root(left, right, Mode::Hash)];
        }
    }

    pub fn digest(&self) -> [u8; 32] {
        let mut tree = self.clone();
        if tree.chunks > 0 && !tree.tail.is_empty() {
            tree.settle();
            tree.stack.push(Self::chaining_value(&self.tail, self.chunks));
        }
        let Some((first, inner)) = tree.stack.split_first() else {
            return *blake3::hash(&self.tail).as_bytes();
        };
        let (last, inner) = inner.split_last().unwrap_or((first, inner));
        let mut right = *last;
        for left in inner.iter().rev() {
            right = merge_subtrees_non_root(left, &right, Mode::Hash);
        }
        *merge_subtrees_root(first, &right, Mode::Hash).as_bytes()
    }
}

/// Hashes what it is fed; its state can leave the process.
#[derive(Clone, Default)]
pub struct Hasher {
    size: u64,
    sha256: Sha256,
    tree: Tree,
    /// Up to where the stored bytes were read back, and their tree.
    confirmed: (u64, Tree),
}

/// Names the layout below and the crate whose internal state is stored in it.
const STATE_TAG: &[u8; 16] = b"lotgate2sha2-011";

impl Hasher {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    /// Feed more bytes. Large pieces use two cores.
    pub fn update(&mut self, data: &[u8]) -> Result<()> {
        let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
        self.size = self
            .size
            .checked_add(length)
            .ok_or_else(|| Error::Argument("more than 2^64 bytes hashed".to_owned()))?;
        let Hasher { sha256, tree, .. } = self;
        if data.len() < PARALLEL {
            Digest::update(sha256, data);
            tree.update(data);
        } else {
            pool()?.join(|| Digest::update(sha256, data), || tree.update(data));
        }
        Ok(())
    }

    /// Feed `length` bytes of a file from `offset`, as if they had been passed to [`Hasher::update`].
    pub fn update_from_file(
        &mut self,
        path: &Path,
        offset: u64,
        length: u64,
        progress: &mut Progress<'_>,
    ) -> Result<()> {
        let source = Source::open(path)?;
        let end = offset
            .checked_add(length)
            .filter(|end| *end <= source.size())
            .ok_or_else(|| {
                Error::Unreadable(format!(
                    "{}: expected at least {length} bytes from offset {offset}, found a file of {} bytes",
                    path.display(),
                    source.size()
                ))
            })?;
        let mut sha256 = Sink::Sha256(self.sha256.clone());
        let mut blake3 = Sink::Blake3(self.tree.clone());
        source.feed(offset, end, &mut [&mut sha256, &mut blake3], progress)?;
        if let (Sink::Sha256(sha256), Sink::Blake3(tree)) = (sha256, blake3) {
            self.sha256 = sha256;
            self.tree = tree;
            self.size = self.size.saturating_add(length);
        }
        Ok(())
    }

    /// Read back from the file what was fed since the last time, or since the state was taken up, and hash it again.
    /// Returns whether it is what was fed.
    pub fn read_back(&mut self, path: &Path, progress: &mut Progress<'_>) -> Result<bool> {
        let (from, tree) = self.confirmed.clone();
        let source = Source::open(path)?;
        if source.size() < self.size {
            return Ok(false);
        }
        let mut blake3 = Sink::Blake3(tree);
        source.feed(from, self.size, &mut [&mut blake3], progress)?;
        let same = matches!(&blake3, Sink::Blake3(found) if found.digest() == self.tree.digest());
        if same {
            self.confirmed = (self.size, self.tree.clone());
        }
        Ok(same)
    }

    /// The digests so far; the hasher can go on.
    pub fn digests(&self) -> Digests {
        Digests {
            size: self.size,
            sha256: self.sha256.clone().finalize().into(),
            blake3: self.tree.digest(),
        }
    }

    /// The whole state, authenticated with `key`: a forged state would forge the digest.
    ///
    /// Layout: tag (16), size (u64 LE), SHA-256 state, count of chaining values (u8), those (32 each), the tail
    /// (what is left), keyed BLAKE3 of all of it (32).
    pub fn export_state(&self, key: &[u8; 32]) -> Vec<u8> {
        let mut out = Vec::with_capacity(2048);
        out.extend_from_slice(STATE_TAG);
        out.extend_from_slice(&self.size.to_le_bytes());
        out.extend_from_slice(&self.sha256.serialize());
        out.push(u8::try_from(self.tree.stack.len()).unwrap_or(u8::MAX));
        for value in &self.tree.stack {
            out.extend_from_slice(value);
        }
        out.extend_from_slice(&self.tree.tail);
        let mac = blake3::keyed_hash(key, &out);
        out.extend_from_slice(mac.as_bytes());
        out
    }

    /// Take up a state made by [`Hasher::export_state`] with the same key.
    pub fn resume(state: &[u8], key: &[u8; 32]) -> Result<Self> {
        let short = || Error::State("hash state: truncated; hash the stored bytes again".to_owned());
        let (tag, _) = state.split_first_chunk::<16>().ok_or_else(short)?;
        if tag != STATE_TAG {
            return Err(Error::State(
                "hash state: not one of this version of the verifier; hash the stored bytes again".to_owned(),
            ));
        }
        let (body, mac) = state.split_last_chunk::<32>().ok_or_else(short)?;
        // Comparing two `blake3::Hash` takes constant time.
        if blake3::keyed_hash(key, body) != blake3::Hash::from_bytes(*mac) {
            return Err(Error::State(
                "hash state: its authentication code does not match (damaged, forged, or made with another key); \
                 hash the stored bytes again"
                    .to_owned(),
            ));
        }
        Self::parse_state(body)
            .ok_or_else(|| Error::State("hash state: inconsistent; hash the stored bytes again".to_owned()))
    }

    fn parse_state(body: &[u8]) -> Option<Self> {
        let (_, rest) = body.split_first_chunk::<16>()?;
        let (size, rest) = rest.split_first_chunk::<8>()?;
        let size = u64::from_le_bytes(*size);
        let (sha_state, rest) = rest.split_at_checked(SerializedState::<Sha256>::default().len())?;
        let sha_state: &SerializedState<Sha256> = sha_state.try_into().ok()?;
        let sha256 = Sha256::deserialize(sha_state).ok()?;
        let (count, mut rest) = rest.split_first()?;
        let mut stack = Vec::new();
        for _ in 0..*count {
            let (value, after) = rest.split_first_chunk::<32>()?;
            stack.push(*value);
            rest = after;
        }
        // All but at most one chunk are on the stack.
        let tail = u64::try_from(rest.len()).ok().filter(|tail| *tail <= CHUNK_U64)?;
        let chunks = size.checked_sub(tail)? / CHUNK_U64;
        let consistent = chunks.checked_mul(CHUNK_U64)?.checked_add(tail) == Some(size)
            && (chunks != 1 || tail > 0)
            && values(chunks) == u32::from(*count);
        let tree = Tree {
            stack,
            chunks,
            tail: rest.to_vec(),
        };
        consistent.then(|| Hasher {
            size,
            sha256,
            confirmed: (size, tree.clone()),
            tree,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(n: usize) -> Vec<u8> {
        (0..n).map(|i| (i % 251) as u8).collect()
    }

    fn expected(data: &[u8]) -> Digests {
        Digests {
            size: data.len() as u64,
            sha256: Sha256::digest(data).into(),
            blake3: *blake3::hash(data).as_bytes(),
        }
    }

    #[test]
    fn every_length_around_the_chunk_boundaries_and_every_split_gives_the_plain_digest() {
        for n in [
            0,
            1,
            63,
            64,
            1023,
            1024,
            1025,
            2047,
            2048,
            2049,
            3072,
            3073,
            4096,
            5000,
            31 * 1024,
            65537,
        ] {
            let data = bytes(n);
            for step in [1, 7, 64, 1000, 1023, 1024, 1025, 4096, 70000] {
                if n / step > 9000 {
                    continue;
                }
                let mut hasher = Hasher::new();
                for piece in data.chunks(step) {
                    hasher.update(piece).unwrap();
                }
                assert_eq!(hasher.digests(), expected(&data), "length {n} in steps of {step}");
            }
        }
    }

    #[test]
    fn large_pieces_on_two_threads_give_the_plain_digest() {
        let data = bytes(5 * 1024 * 1024 + 17);
        let mut hasher = Hasher::new();
        for piece in data.chunks(1_500_000) {
            hasher.update(piece).unwrap();
        }
        assert_eq!(hasher.digests(), expected(&data));
    }

    #[test]
    fn a_state_resumes_at_every_length() {
        let key = [7; 32];
        let data = bytes(9000);
        for cut in (0..data.len())
            .step_by(97)
            .chain([1023, 1024, 1025, 2048, 4096, 8192])
        {
            let (head, rest) = data.split_at(cut);
            let mut hasher = Hasher::new();
            hasher.update(head).unwrap();
            let mut resumed = Hasher::resume(&hasher.export_state(&key), &key).unwrap();
            assert_eq!(resumed.size(), cut as u64);
            resumed.update(rest).unwrap();
            assert_eq!(resumed.digests(), expected(&data), "cut at {cut}");
        }
    }

    #[test]
    fn a_flipped_bit_a_cut_or_another_key_is_refused() {
        let key = [7; 32];
        let mut hasher = Hasher::new();
        hasher.update(&bytes(5000)).unwrap();
        let state = hasher.export_state(&key);
        assert!(Hasher::resume(&state, &key).is_ok());
        assert!(matches!(Hasher::resume(&state, &[8; 32]), Err(Error::State(_))));
        for at in 0..state.len() {
            let mut forged = state.clone();
            forged[at] ^= 1;
            assert!(
                matches!(Hasher::resume(&forged, &key), Err(Error::State(_))),
                "bit at {at}"
            );
            assert!(
                matches!(Hasher::resume(&state[..at], &key), Err(Error::State(_))),
                "cut at {at}"
            );
        }
    }

    #[test]
    fn a_well_authenticated_but_inconsistent_state_is_refused() {
        let key = [7; 32];
        let mut hasher = Hasher::new();
        hasher.update(&bytes(5000)).unwrap();
        hasher.size = 6000;
        assert!(matches!(
            Hasher::resume(&hasher.export_state(&key), &key),
            Err(Error::State(_))
        ));
    }
}
