//! The hash tree of dm-verity (the kernel's admin-guide/device-mapper/verity.rst, hash type 1) with SHA-256 and blocks
//! of 4,096 bytes, made while the payload is read: one unfinished block a level is all that is held.

use rayon::prelude::*;
use sha2::{Digest, Sha256};

pub const BLOCK: usize = 4096;
pub const BLOCK_U64: u64 = 4096;
/// How many hashes a block of the tree holds.
const PER_BLOCK: u64 = 128;
/// Below this, starting other threads costs more than it saves.
const PARALLEL: usize = 256 * 1024;

/// The sizes of the levels in blocks, from the one over the data up to the single block at the top.
pub fn levels(data: u64) -> Vec<u64> {
    let mut levels = Vec::new();
    let mut blocks = data.div_ceil(BLOCK_U64);
    while blocks > 1 {
        blocks = blocks.div_ceil(PER_BLOCK);
        levels.push(blocks);
    }
    levels
}

#[derive(Clone, Default)]
struct Level {
    block: Vec<u8>,
    /// Of all blocks of this level so far.
    digest: Sha256,
}

/// A tree that grows with the data that it is fed.
#[derive(Clone)]
pub struct Tree {
    salt: Vec<u8>,
    /// Data that fills no block yet.
    rest: Vec<u8>,
    /// From the level over the data upwards; the last holds the root.
    levels: Vec<Level>,
}

impl Tree {
    /// Of `data` bytes.
    pub fn new(salt: &[u8], data: u64) -> Self {
        let count = levels(data).len().saturating_add(1);
        Tree {
            salt: salt.to_owned(),
            rest: Vec::new(),
            levels: vec![Level::default(); count],
        }
    }

    pub fn update(&mut self, mut data: &[u8]) {
        if !self.rest.is_empty() {
            let room = BLOCK.saturating_sub(self.rest.len()).min(data.len());
            let (head, after) = data.split_at(room);
            self.rest.extend_from_slice(head);
            data = after;
            if self.rest.len() < BLOCK {
                return;
            }
            let block = std::mem::take(&mut self.rest);
            let hash = self.hash(&block);
            self.push(0, &hash);
        }
        let whole = data.len().saturating_sub(data.len() % BLOCK);
        let (blocks, rest) = data.split_at(whole);
        self.rest.extend_from_slice(rest);
        // In the verifier's own threads only: elsewhere rayon would start others.
        if blocks.len() >= PARALLEL && rayon::current_thread_index().is_some() {
            let hashes: Vec<_> = blocks
                .par_chunks(BLOCK)
                .with_min_len(16)
                .map(|block| self.hash(block))
                .collect();
            hashes.iter().for_each(|hash| self.push(0, hash));
        } else {
            for block in blocks.chunks(BLOCK) {
                let hash = self.hash(block);
                self.push(0, &hash);
            }
        }
    }

    fn hash(&self, block: &[u8]) -> [u8; 32] {
        Sha256::new()
            .chain_update(&self.salt)
            .chain_update(block)
            .finalize()
            .into()
    }

    fn push(&mut self, at: usize, hash: &[u8; 32]) {
        let (mut at, mut hash) = (at, *hash);
        while let Some(level) = self.levels.get_mut(at) {
            level.block.extend_from_slice(&hash);
            if level.block.len() < BLOCK {
                return;
            }
            let block = std::mem::take(&mut level.block);
            level.digest.update(&block);
            hash = self.hash(&block);
            at = at.saturating_add(1);
        }
    }

    /// The root, and the SHA-256 of each level, from the one over the data upwards.
    pub fn finish(&self) -> (Vec<u8>, Vec<Vec<u8>>) {
        let mut tree = self.clone();
        let top = tree.levels.len().saturating_sub(1);
        for at in 0..top {
            let Some(level) = tree.levels.get_mut(at) else {
                break;
            };
            if level.block.is_empty() {
                continue;
            }
            level.block.resize(BLOCK, 0);
            let block = std::mem::take(&mut level.block);
            level.digest.update(&block);
            let hash = tree.hash(&block);
            tree.push(at.saturating_add(1), &hash);
        }
        let root = tree.levels.pop().map(|level| level.block).unwrap_or_default();
        let digests = tree.levels.into_iter();
        (
            root,
            digests.map(|level| level.digest.finalize().to_vec()).collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_levels_grows_with_the_data() {
        assert_eq!(levels(4096), Vec::<u64>::new());
        assert_eq!(levels(2 * 4096), [1]);
        assert_eq!(levels(128 * 4096), [1]);
        assert_eq!(levels(129 * 4096), [2, 1]);
        assert_eq!(levels(128 * 128 * 4096 + 4096), [129, 2, 1]);
    }

    #[test]
    fn every_split_of_the_data_gives_the_same_tree() {
        let data: Vec<u8> = (0..300 * 4096_u32).map(|n| (n / 4096 + n % 251) as u8).collect();
        let mut whole = Tree::new(b"salt", data.len() as u64);
        whole.update(&data);
        for step in [1000, 4096, 10_000, 300_000] {
            let mut tree = Tree::new(b"salt", data.len() as u64);
            data.chunks(step).for_each(|piece| tree.update(piece));
            assert_eq!(tree.finish(), whole.finish());
        }
        assert_eq!(whole.finish().0.len(), 32);
    }
}
