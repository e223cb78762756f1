//! The verdicts on a block of lines. All its Ed25519 signatures are checked together.

use std::ops::Range;

use crate::keys::ed25519::{self, Claim};
use crate::lines::{Block, MAX_LINE};
use crate::outcome::{Finding, Outcome};
use crate::statements::batch::columns::{Chunk, Verdict};
use crate::statements::batch::keys::Keys;
use crate::statements::dsse::{Envelope, Statement};

/// A line that could be read; its signatures are `slots` of the block.
struct Entry {
    statement: Statement,
    slots: Range<usize>,
}

/// A signature on its way.
struct Slot {
    /// The key that was or will be tried first.
    hint: Option<usize>,
    signer: Option<usize>,
}

/// Examine a block; `None` when `stopped` says that nobody wants to know any more.
pub fn examine(keys: &Keys<'_>, block: &Block, stopped: &dyn Fn() -> bool) -> Option<Chunk> {
    let mut slots: Vec<Slot> = Vec::with_capacity(block.len());
    let mut claims: Vec<(usize, Claim)> = Vec::with_capacity(block.len());
    let mut of_claim: Vec<usize> = Vec::with_capacity(block.len());
    let mut entries: Vec<Result<Entry, Finding>> = Vec::with_capacity(block.len());
    for (nth, text) in block.lines().enumerate() {
        if stopped() {
            return None;
        }
        entries.push(read(block, nth, text).map(|(envelope, statement)| {
            let from = slots.len();
            let head = envelope.encoding_head();
            let message: [&[u8]; 2] = [head.as_bytes(), &envelope.payload];
            for signature in &envelope.signatures {
                let hint = keys.hint(&signature.keyid);
                let signer = match hint {
                    Some(place) => match keys.point(place) {
                        Some((point, key)) => {
                            if let Some(claim) = key.claim(&message, &signature.value) {
                                claims.push((point, claim));
                                of_claim.push(slots.len());
                            }
                            None
                        }
                        None => Some(place).filter(|place| keys.holds(*place, &message, &signature.value)),
                    },
                    None => keys.search(signature, &message, None),
                };
                slots.push(Slot { hint, signer });
            }
            Entry {
                statement,
                slots: from..slots.len(),
            }
        }));
    }
    let held = ed25519::verify_batch_unless(&keys.points, &claims, stopped);
    for (place, _) in of_claim.iter().zip(held).filter(|(_, held)| *held) {
        if let Some(slot) = slots.get_mut(*place) {
            slot.signer = slot.hint;
        }
    }
    drop(claims);
    let mut chunk = Chunk {
        first: block.first,
        count: u64::try_from(block.len()).unwrap_or(u64::MAX),
        ..Chunk::default()
    };
    for (nth, entry) in entries.into_iter().enumerate() {
        if stopped() {
            return None;
        }
        match entry {
            Ok(entry) => judge(keys, block, nth, entry, &mut slots, &mut chunk),
            Err(finding) => chunk.failures.push(failure(block, nth, finding, None)),
        }
    }
    Some(chunk)
}

fn read(block: &Block, nth: usize, text: Option<&[u8]>) -> Result<(Envelope, Statement), Finding> {
    let unreadable = |why: String| Finding::new(Outcome::Unreadable, why);
    let number = number(block, nth);
    let text = text.ok_or_else(|| {
        unreadable(format!(
            "Line {number} is longer than {MAX_LINE} bytes; an envelope is far shorter."
        ))
    })?;
    if text.trim_ascii().is_empty() {
        return Err(unreadable(format!(
            "Line {number} is empty; expected one envelope a line."
        )));
    }
    let envelope = Envelope::parse(text)?;
    // What cannot be read proves nothing, whoever signed it.
    let statement = Statement::parse(&envelope.payload)?;
    Ok((envelope, statement))
}

fn judge(keys: &Keys<'_>, block: &Block, nth: usize, entry: Entry, slots: &mut [Slot], chunk: &mut Chunk) {
    let slots = slots.get_mut(entry.slots).unwrap_or_default();
    // Only where a signature found no key is the line read once more.
    let mut again = None;
    if slots.iter().any(|slot| slot.signer.is_none()) {
        again = block.line(nth).and_then(|text| Envelope::parse(text).ok());
        if let Some(envelope) = &again {
            let head = envelope.encoding_head();
            let message: [&[u8]; 2] = [head.as_bytes(), &envelope.payload];
            for (slot, signature) in slots.iter_mut().zip(&envelope.signatures) {
                if slot.signer.is_none() && slot.hint.is_some() {
                    slot.signer = keys.search(signature, &message, slot.hint);
                }
            }
        }
    }
    let mut signers: Vec<usize> = Vec::with_capacity(slots.len());
    let mut notes = Vec::new();
    for (at, slot) in slots.iter().enumerate() {
        let best = slot.signer.and_then(|place| keys.best(place));
        match best.map(|place| (place, keys.approved.get(place))) {
            Some((place, Some(Ok(())))) if signers.contains(&place) => notes.push(format!(
                "signature {} is by a key that signed before",
                at.saturating_add(1)
            )),
            Some((place, Some(Ok(())))) => signers.push(place),
            Some((_, Some(Err(why)))) => notes.push(why.clone()),
            _ => {
                let signature = again.as_ref().and_then(|envelope| envelope.signatures.get(at));
                notes.extend(signature.map(|signature| keys.invalid(at, signature)));
            }
        }
    }
    let needed = usize::try_from(keys.trust.threshold).unwrap_or(usize::MAX);
    let reason = if signers.len() < needed {
        let short = if needed == 1 {
            "No approved key signed this".to_owned()
        } else {
            format!(
                "{needed} different approved keys must sign, {} did",
                signers.len()
            )
        };
        format!("{short}: {}.", notes.join("; "))
    } else if let Some(defect) = &entry.statement.defect {
        format!("Validly signed, but {defect}.")
    } else {
        chunk.passed.push(nth, &signers, &entry.statement);
        return;
    };
    let finding = Finding::new(Outcome::Fail, reason);
    let mut verdict = failure(block, nth, finding, Some(entry.statement));
    let ids = signers.iter().filter_map(|place| keys.trust.keys.get(*place));
    verdict.key_ids = ids.map(|key| key.id.clone()).collect();
    chunk.failures.push(verdict);
}

fn failure(block: &Block, nth: usize, finding: Finding, statement: Option<Statement>) -> Verdict {
    let (subjects, predicate_type) = statement.map_or_else(Default::default, |statement| {
        (statement.subjects, statement.predicate_type)
    });
    Verdict {
        line: number(block, nth),
        finding,
        subjects,
        key_ids: Vec::new(),
        predicate_type,
    }
}

/// The number of a line in the file, from 1.
fn number(block: &Block, nth: usize) -> u64 {
    block.first.saturating_add(u64::try_from(nth).unwrap_or(u64::MAX))
}
