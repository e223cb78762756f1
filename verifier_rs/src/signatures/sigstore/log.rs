//! That an entry stands in a log: its promise, its place in the tree, and the log's signature under the tree.

use base64::Engine;
use sha2::{Digest, Sha256};

use crate::encoding::STANDARD;
use crate::keys::method::verify_message;
use crate::signatures::sigstore::bundle::{Entry, Proof};
use crate::source::hex;
use crate::trust::sigstore::Log;

const MAX_CHECKPOINT: usize = 64 * 1024;
/// Signatures under a checkpoint; those of others than the log are passed over.
const MAX_NOTES: usize = 32;

/// Whether everything that the entry brings along to prove itself holds under the log's key; if not, why.
pub fn check(entry: &Entry, log: &Log) -> Result<(), String> {
    let (key, method) = log
        .key
        .as_ref()
        .map_err(|why| format!("the key of log {}: {why}", log.name))?;
    let holds = |message: &[u8], signature: &[u8]| verify_message(key, method, &[message], signature);
    if let Some(promise) = &entry.promise {
        let time = entry
            .integrated
            .ok_or("its signed entry timestamp is about no time")?;
        if !holds(promised(entry, time).as_bytes(), promise) {
            return Err(format!(
                "its signed entry timestamp is not by log {}, or is about another entry",
                log.name
            ));
        }
    }
    if let Some(proof) = &entry.proof {
        included(&entry.body, proof)?;
        checkpoint(proof, log, holds)?;
    }
    Ok(())
}

/// What a signed entry timestamp signs: this object as RFC 8785 writes it. Base64 and hexadecimal need no escapes.
fn promised(entry: &Entry, time: u64) -> String {
    format!(
        r#"{{"body":"{}","integratedTime":{time},"logID":"{}","logIndex":{}}}"#,
        STANDARD.encode(&entry.body),
        hex(&entry.log),
        entry.index
    )
}

/// RFC 9162 §2.1.3.2 (the tree is that of RFC 6962 §2.1).
fn included(body: &[u8], proof: &Proof) -> Result<(), String> {
    if proof.index >= proof.size {
        return Err(format!(
            "its inclusion proof is for entry {} in a tree of {}",
            proof.index, proof.size
        ));
    }
    let short = || "its inclusion proof has another length than the tree is high".to_owned();
    let (mut place, mut last) = (proof.index, proof.size.saturating_sub(1));
    let mut hash = Sha256::new().chain_update([0]).chain_update(body).finalize();
    for sibling in &proof.hashes {
        if sibling.len() != 32 {
            return Err("a hash of its inclusion proof is not 32 bytes long".to_owned());
        }
        if last == 0 {
            return Err(short());
        }
        let parent = Sha256::new().chain_update([1]);
        if place & 1 == 1 || place == last {
            hash = parent.chain_update(sibling).chain_update(hash).finalize();
            while place & 1 == 0 && place != 0 {
                (place, last) = (place >> 1, last >> 1);
            }
        } else {
            hash = parent.chain_update(hash).chain_update(sibling).finalize();
        }
        (place, last) = (place >> 1, last >> 1);
    }
    if last != 0 {
        return Err(short());
    }
    if hash.as_slice() != proof.root {
        return Err(
            "its inclusion proof leads to another root: it is for another entry, or was changed".to_owned(),
        );
    }
    Ok(())
}

/// A signed note (C2SP signed-note, tlog-checkpoint) about the very tree of the proof.
fn checkpoint(proof: &Proof, log: &Log, holds: impl Fn(&[u8], &[u8]) -> bool) -> Result<(), String> {
    let note = &proof.checkpoint;
    if note.len() > MAX_CHECKPOINT {
        return Err(format!(
            "its checkpoint has {} bytes, expected at most {MAX_CHECKPOINT}",
            note.len()
        ));
    }
    let malformed = || "its checkpoint is no signed note of origin, size and root hash".to_owned();
    let end = note.rfind("\n\n").ok_or_else(malformed)?.saturating_add(1);
    let (text, signatures) = note.split_at_checked(end).ok_or_else(malformed)?;
    let mut lines = text.lines();
    let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
        return Err(malformed());
    };
    let root = STANDARD.decode(root).map_err(|_| malformed())?;
    if root.len() != 32 || origin.is_empty() {
        return Err(malformed());
    }
    let other = origin != log.name
        && !origin
            .strip_prefix(log.name.as_str())
            .is_some_and(|rest| rest.starts_with(" - "));
    if other {
        return Err(format!(
            "its checkpoint is by {:?}, not by {:?}",
            crate::statements::shown(origin),
            log.name
        ));
    }
    if size != proof.size.to_string() || root != proof.root {
        return Err("its checkpoint is about another tree than its inclusion proof".to_owned());
    }
    let hint = log.id.get(..4).unwrap_or_default();
    let signed = signatures
        .lines()
        .filter_map(|line| line.strip_prefix("— ")?.split_once(' '))
        .take(MAX_NOTES)
        .filter_map(|(_, encoded)| STANDARD.decode(encoded).ok())
        .any(|bytes| {
            bytes
                .split_at_checked(4)
                .is_some_and(|(named, signature)| named == hint && holds(text.as_bytes(), signature))
        });
    if !signed {
        return Err(format!("its checkpoint is not signed by log {}", log.name));
    }
    Ok(())
}
