//! Many DSSE envelopes, one a line, against the approved keys: in parallel, in bounded memory, in input order.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{PoisonError, RwLock};
use std::time::Instant;

use rayon::prelude::*;

use crate::error::Result;
use crate::keys::ed25519::{self, Claim};
use crate::keys::method::verify_message;
use crate::lines::{Line, Lines, MAX_LINE};
use crate::outcome::{Finding, Outcome};
use crate::pool::pool;
use crate::source::{Progress, Source};
use crate::statements::dsse::{Envelope, Signature, Statement, Subject};
use crate::trust::{Purpose, Trust};

/// Lines per call of the sink.
const CHUNK: usize = 4096;
/// Lines whose Ed25519 signatures are checked together.
const GROUP: usize = 1024;
/// How many different keys are tried for a signature whose keyid names none of ours.
const MAX_TRIES: usize = 1024;
/// How many others are tried where the keyid names a key of ours that did not sign: a hint may be wrong, but a file
/// of bad signatures must not cost as many checks a line as there are keys.
const MAX_OTHERS: usize = 16;
/// How many keyids are remembered; beyond, envelopes are only slower.
const MAX_LEARNED: usize = 100_000;

/// What became of one line.
#[derive(Clone, Debug)]
pub struct Verdict {
    pub line: u64,
    /// Pass, fail or unreadable.
    pub finding: Finding,
    /// Proven only where the outcome is a pass; otherwise what the line claims, as far as it could be read.
    pub subjects: Vec<Subject>,
    /// The approved keys that signed, by their id in the trust file.
    pub key_ids: Vec<String>,
    pub predicate_type: String,
}

/// How many lines there were and what became of them.
#[derive(Clone, Debug)]
pub struct BatchReport {
    pub total: u64,
    pub passed: u64,
    pub failed: u64,
    pub unreadable: u64,
    pub seconds: f64,
    /// Of all together: a pass only if there is at least one line and every line passed.
    pub finding: Finding,
}

/// What is the same for all lines.
struct Context<'a> {
    trust: &'a Trust,
    /// For each key: whether it counts for this purpose at this time.
    approved: Vec<std::result::Result<(), String>>,
    /// For each key: the entry that counts best among those with the same public key.
    best: Vec<usize>,
    /// The Ed25519 keys, and for each key its place among them.
    points: Vec<&'a ed25519::Key>,
    point_of: Vec<Option<usize>>,
    /// The key that an id or fingerprint of the trust file names.
    named: HashMap<String, usize>,
    /// The key that was found for another keyid. Only the order of the tries depends on it, never a verdict.
    learned: RwLock<HashMap<String, usize>>,
}

impl<'a> Context<'a> {
    fn new(trust: &'a Trust, purpose: Purpose, at: f64) -> Self {
        let approved: Vec<_> = trust.keys.iter().map(|key| key.approved(purpose, at)).collect();
        let mut of_key: HashMap<&str, usize> = HashMap::new();
        let mut named = HashMap::new();
        let (mut points, mut point_of) = (Vec::new(), Vec::new());
        for (place, key) in trust.keys.iter().enumerate() {
            let best = of_key.entry(&key.fingerprint).or_insert(place);
            if matches!(approved.get(*best), Some(Err(_))) && matches!(approved.get(place), Some(Ok(()))) {
                *best = place;
            }
            point_of.push(key.key.ed25519.as_ref().map(|point| {
                points.push(point);
                points.len().saturating_sub(1)
            }));
            let bare = key.fingerprint.trim_start_matches("sha256:");
            for name in [key.id.as_str(), key.fingerprint.as_str(), bare] {
                named.entry(name.to_owned()).or_insert(place);
            }
        }
        let best = trust
            .keys
            .iter()
            .enumerate()
            .map(|(place, key)| of_key.get(key.fingerprint.as_str()).copied().unwrap_or(place))
            .collect();
        Context {
            trust,
            approved,
            best,
            points,
            point_of,
            named,
            learned: RwLock::default(),
        }
    }

    fn hint(&self, keyid: &str) -> Option<usize> {
        self.named.get(keyid).copied().or_else(|| {
            let learned = self.learned.read().unwrap_or_else(PoisonError::into_inner);
            learned.get(keyid).copied()
        })
    }

    fn learn(&self, keyid: &str, place: usize) {
        let mut learned = self.learned.write().unwrap_or_else(PoisonError::into_inner);
        if learned.len() < MAX_LEARNED {
            learned.insert(keyid.to_owned(), place);
        }
    }

    fn holds(&self, place: usize, message: &[&[u8]], signature: &[u8]) -> bool {
        let key = self.trust.keys.get(place);
        key.is_some_and(|key| verify_message(&key.key, &key.method, message, signature))
    }
}

/// One line on its way: read, its signatures partly placed.
struct Work {
    envelope: Envelope,
    head: String,
    statement: std::result::Result<Statement, Finding>,
    /// For each signature the key under which it is valid.
    signers: Vec<Option<usize>>,
}

fn group(context: &Context<'_>, lines: &[(u64, Option<&[u8]>)]) -> Vec<Verdict> {
    // 1. read every line.
    let mut works: Vec<_> = lines.iter().map(|(number, text)| read(*number, *text)).collect();
    // 2. Ed25519 signatures whose keyid names a key: all at once.
    let mut claims: Vec<(usize, Claim)> = Vec::new();
    let mut owners = Vec::new();
    let mut tried: Vec<Vec<Option<usize>>> = Vec::new();
    for (at, work) in works.iter_mut().enumerate() {
        let Ok(work) = work else {
            tried.push(Vec::new());
            continue;
        };
        let message: [&[u8]; 2] = [work.head.as_bytes(), &work.envelope.payload];
        let mut first = Vec::new();
        for (nth, signature) in work.envelope.signatures.iter().enumerate() {
            let hint = context.hint(&signature.keyid);
            first.push(hint);
            let Some(place) = hint else { continue };
            let point = context.point_of.get(place).copied().flatten();
            match point.and_then(|point| context.points.get(point).map(|key| (point, key))) {
                Some((point, key)) => {
                    if let Some(claim) = key.claim(&message, &signature.value) {
                        claims.push((point, claim));
                        owners.push((at, nth, place));
                    }
                }
                None => {
                    if context.holds(place, &message, &signature.value)
                        && let Some(slot) = work.signers.get_mut(nth)
                    {
                        *slot = Some(place);
                    }
                }
            }
        }
        tried.push(first);
    }
    let held = ed25519::verify_batch(&context.points, &claims);
    for ((at, nth, place), held) in owners.into_iter().zip(held) {
        if held
            && let Some(Ok(work)) = works.get_mut(at)
            && let Some(slot) = work.signers.get_mut(nth)
        {
            *slot = Some(place);
        }
    }
    // 3. whatever found no key yet is tried with all of them; then each line is judged.
    works
        .into_iter()
        .zip(lines)
        .zip(tried)
        .map(|((work, (number, _)), tried)| match work {
            Ok(mut work) => {
                // What cannot be read proves nothing, whoever signed it.
                if work.statement.is_ok() {
                    search(context, &mut work, &tried);
                }
                judge(context, *number, work)
            }
            Err(finding) => verdict(*number, finding, None),
        })
        .collect()
}

fn read(number: u64, text: Option<&[u8]>) -> std::result::Result<Work, Finding> {
    let unreadable = |why: String| Finding::new(Outcome::Unreadable, why);
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
    Ok(Work {
        head: envelope.encoding_head(),
        statement: Statement::parse(&envelope.payload),
        signers: vec![None; envelope.signatures.len()],
        envelope,
    })
}

/// Try other keys for every signature that has none yet.
fn search(context: &Context<'_>, work: &mut Work, tried: &[Option<usize>]) {
    let message: [&[u8]; 2] = [work.head.as_bytes(), &work.envelope.payload];
    let signatures = work.envelope.signatures.iter().zip(tried);
    for ((signature, tried), signer) in signatures.zip(&mut work.signers) {
        if signer.is_some() {
            continue;
        }
        let limit = if context.named.contains_key(&signature.keyid) {
            MAX_OTHERS
        } else {
            MAX_TRIES
        };
        let tried = tried.and_then(|tried| context.best.get(tried));
        // One entry for each public key is enough.
        let places = context.best.iter().enumerate();
        let different = places
            .filter(|(place, best)| *best == place)
            .map(|(place, _)| place);
        for place in different.take(limit) {
            if tried != Some(&place) && context.holds(place, &message, &signature.value) {
                *signer = Some(place);
                context.learn(&signature.keyid, place);
                break;
            }
        }
    }
}

fn judge(context: &Context<'_>, number: u64, work: Work) -> Verdict {
    let statement = match work.statement {
        Ok(statement) => statement,
        Err(finding) => return verdict(number, finding, None),
    };
    // A key under two ids is one key: the best entry stands for all with the same public key.
    let mut signers: Vec<usize> = Vec::new();
    let mut notes = Vec::new();
    for (nth, (signature, signer)) in work.envelope.signatures.iter().zip(&work.signers).enumerate() {
        let best = signer.and_then(|place| context.best.get(place).copied());
        match best.map(|place| (place, context.approved.get(place))) {
            Some((place, Some(Ok(())))) if signers.contains(&place) => {
                notes.push(format!(
                    "signature {} is by a key that signed before",
                    nth.saturating_add(1)
                ));
            }
            Some((place, Some(Ok(())))) => signers.push(place),
            Some((_, Some(Err(why)))) => notes.push(why.clone()),
            _ => notes.push(invalid(context, nth, signature)),
        }
    }
    let needed = usize::try_from(context.trust.threshold).unwrap_or(usize::MAX);
    let finding = if signers.len() < needed {
        let mut reason = if needed == 1 {
            "No approved key signed this: ".to_owned()
        } else {
            format!(
                "{needed} different approved keys must sign, {} did: ",
                signers.len()
            )
        };
        reason.push_str(&notes.join("; "));
        reason.push('.');
        Finding::new(Outcome::Fail, reason)
    } else if let Some(defect) = &statement.defect {
        Finding::new(Outcome::Fail, format!("Validly signed, but {defect}."))
    } else {
        Finding::new(Outcome::Pass, "Signed by approved keys.")
    };
    let mut out = verdict(number, finding, Some(statement));
    out.key_ids = signers
        .iter()
        .filter_map(|place| context.trust.keys.get(*place).map(|key| key.id.clone()))
        .collect();
    out
}

fn invalid(context: &Context<'_>, nth: usize, signature: &Signature) -> String {
    let nth = nth.saturating_add(1);
    let keys = context.trust.keys.len();
    match context.named.get(&signature.keyid) {
        Some(_) if keys > MAX_OTHERS => format!(
            "signature {nth} is not valid under key {:?}, which it names, nor under any of {MAX_OTHERS} others",
            signature.keyid
        ),
        Some(_) => format!(
            "signature {nth} names key {:?} and is not valid under it or any other of the {keys} approved key(s)",
            signature.keyid
        ),
        None => {
            let keyid: String = signature.keyid.chars().take(80).collect();
            let limit = if keys > MAX_TRIES {
                format!("the first {MAX_TRIES} of the {keys} approved keys; put the id of the key into keyid")
            } else {
                format!("any of the {keys} approved key(s)")
            };
            format!("signature {nth} (keyid {keyid:?}) is not valid under {limit}")
        }
    }
}

fn verdict(line: u64, finding: Finding, statement: Option<Statement>) -> Verdict {
    let (subjects, predicate_type) = statement.map_or_else(Default::default, |statement| {
        (statement.subjects, statement.predicate_type)
    });
    Verdict {
        line,
        finding,
        subjects,
        key_ids: Vec::new(),
        predicate_type,
    }
}

/// Verify a file of envelopes. `sink` gets the verdicts of up to 4,096 lines at a time, in input order, on the
/// caller's thread; an error from it ends the work. Progress is in bytes of the file.
pub fn verify(
    path: &Path,
    trust: &Trust,
    purpose: Purpose,
    at: f64,
    sink: &mut dyn FnMut(Vec<Verdict>) -> Result<()>,
    progress: &mut Progress<'_>,
) -> Result<BatchReport> {
    let began = Instant::now();
    let source = Source::open(path)?;
    let context = Context::new(trust, purpose, at);
    let pool = pool()?;
    let mut lines = Lines::of(&source);
    let (mut total, mut passed, mut failed, mut unreadable) = (0_u64, 0_u64, 0_u64, 0_u64);
    let mut offset = 0;
    loop {
        let chunk: Vec<Line> = lines.next(CHUNK)?;
        if chunk.is_empty() {
            break;
        }
        let texts: Vec<_> = chunk.iter().map(|line| (line.number, lines.text(line))).collect();
        let verdicts: Vec<Verdict> = pool.install(|| {
            let groups = texts.par_chunks(GROUP);
            groups.flat_map_iter(|lines| group(&context, lines)).collect()
        });
        for verdict in &verdicts {
            let counter = match verdict.finding.outcome {
                Outcome::Pass => &mut passed,
                Outcome::Fail => &mut failed,
                _ => &mut unreadable,
            };
            *counter = counter.saturating_add(1);
            total = total.saturating_add(1);
        }
        sink(verdicts)?;
        progress.advance(lines.offset().saturating_sub(offset))?;
        offset = lines.offset();
    }
    source.ensure_unchanged()?;
    let finding = if total == 0 {
        Finding::new(Outcome::Unreadable, "The file has no envelope.")
    } else if passed == total {
        Finding::new(
            Outcome::Pass,
            format!("All {total} envelopes are signed by approved keys."),
        )
    } else {
        let outcome = if failed > 0 {
            Outcome::Fail
        } else {
            Outcome::Unreadable
        };
        Finding::new(
            outcome,
            format!("Of {total} envelopes {passed} passed, {failed} failed, {unreadable} could not be read."),
        )
    };
    Ok(BatchReport {
        total,
        passed,
        failed,
        unreadable,
        seconds: began.elapsed().as_secs_f64(),
        finding,
    })
}
