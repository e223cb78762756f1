//! Who signed a statement: each of its signatures tried with the approved keys, the threshold over different keys.

use serde_json::{Value, json};

use crate::file::Request;
use crate::outcome::{Finding, Outcome};
use crate::statements::shown;
use crate::trust::{Trust, TrustKey};
use crate::verdict::{Moment, Verdict, choose};

/// How many keys are tried for one signature.
const MAX_TRIES: usize = 1024;

/// One signature and who made it.
pub struct Tried {
    /// The key that the statement names; a hint that only says which key to try first.
    pub hint: String,
    /// The algorithm that the statement names, where it names one.
    pub algorithm: Option<String>,
    /// Under which entries of the trust file it holds, and by what rule; or why under none, as half a sentence.
    pub found: Result<(Vec<usize>, String), String>,
}

/// The entries that `hint` names, then the others; those that `fits` refuses are left out.
pub fn candidates(trust: &Trust, hint: &str, fits: impl Fn(usize, &TrustKey) -> bool) -> Vec<usize> {
    let named = |key: &TrustKey| {
        !hint.is_empty()
            && (key.id == hint
                || key.fingerprint == hint
                || key.fingerprint.strip_prefix("sha256:") == Some(hint))
    };
    let keys = || {
        trust
            .keys
            .iter()
            .enumerate()
            .filter(|(place, key)| fits(*place, key))
    };
    let first = keys().filter(|(_, key)| named(key));
    let others = keys().filter(|(_, key)| !named(key));
    first.chain(others).map(|(place, _)| place).collect()
}

/// Try the keys that fit. `holds` gives the rule by which a signature holds under a key.
pub fn search(
    trust: &Trust,
    hint: &str,
    algorithm: Option<&str>,
    fits: impl Fn(usize, &TrustKey) -> bool,
    mut holds: impl FnMut(usize, &TrustKey) -> Option<String>,
) -> Tried {
    let candidates = candidates(trust, hint, fits);
    let mut found: Option<(Vec<usize>, String, &str)> = None;
    for place in candidates.iter().copied().take(MAX_TRIES) {
        let Some(key) = trust.keys.get(place) else {
            continue;
        };
        match &mut found {
            None => {
                if let Some(rule) = holds(place, key) {
                    found = Some((vec![place], rule, &key.fingerprint));
                }
            }
            // The same key under another id may count where this entry does not.
            Some((places, _, fingerprint)) if *fingerprint == key.fingerprint => {
                if holds(place, key).is_some() {
                    places.push(place);
                }
            }
            Some(_) => {}
        }
    }
    Tried {
        hint: hint.to_owned(),
        algorithm: algorithm.map(ToOwned::to_owned),
        found: match found {
            Some((places, rule, _)) => Ok((places, rule)),
            None => Err(none(trust, candidates.len(), algorithm)),
        },
    }
}

fn none(trust: &Trust, candidates: usize, algorithm: Option<&str>) -> String {
    let keys = trust.keys.len();
    match (candidates, algorithm) {
        _ if keys == 0 => "is by a key that we do not have: no key is approved".to_owned(),
        (0, Some(algorithm)) => format!(
            "says that it is {}, and none of the {keys} approved key(s) is enrolled for that",
            shown(algorithm)
        ),
        (1.., _) if candidates > MAX_TRIES => format!(
            "is not valid under the first {MAX_TRIES} of {candidates} approved keys; name the key by its id"
        ),
        _ => format!(
            "is not valid under any of the {candidates} approved key(s) that it could be by: the statement was \
             changed, or it was made with a key that we have not approved or in another way than enrolled"
        ),
    }
}

/// What all signatures of one statement come to.
pub struct Signed {
    pub verdicts: Vec<Verdict>,
    /// The places of the different approved keys that signed.
    pub signers: Vec<usize>,
    /// What the statement says and what was found, a row for each signature.
    pub rows: Vec<Value>,
    /// What is to be said of signatures that were not needed.
    pub note: String,
}

/// Judge the signatures of `whole` ("the DSSE envelope"). Where as many different approved keys signed as must, only
/// these are judged, and the others are told; else all are.
pub fn judge(request: &Request<'_>, whole: &str, tried: &[Tried]) -> Signed {
    let moment = request.moment();
    let keys = &request.trust.keys;
    let mut out = Signed {
        verdicts: Vec::new(),
        signers: Vec::new(),
        rows: Vec::new(),
        note: String::new(),
    };
    let mut counted = Vec::new();
    let mut all = Vec::new();
    for (nth, one) in (1_usize..).zip(tried) {
        let what = match tried.len() {
            1 => format!("The signature of {whole}"),
            _ => format!("Signature {nth} of {whole}"),
        };
        let best = match &one.found {
            Ok((places, rule)) => choose(request, places, &moment).map(|place| (place, rule)),
            Err(_) => None,
        };
        let key = best.and_then(|(place, _)| keys.get(place));
        out.rows.push(json!({
            "keyid": shown(&one.hint),
            "algorithm": one.algorithm.as_deref().map(shown),
            "valid_under": key.map(|key| key.id.as_str()),
        }));
        let Some(((place, rule), key)) = best.zip(key) else {
            let why = one.found.as_ref().err().map_or("is not valid", String::as_str);
            all.push(unproven(request, &what, why, &moment));
            continue;
        };
        let verdict = Verdict::by(request, place, &what, rule, moment.clone());
        let same = |place: &usize| {
            keys.get(*place)
                .is_some_and(|known| known.fingerprint == key.fingerprint)
        };
        if verdict.key.outcome == Outcome::Pass && !out.signers.iter().any(same) {
            out.signers.push(place);
            counted.push(verdict.clone());
        }
        all.push(verdict);
    }
    let needed = usize::try_from(request.trust.threshold).unwrap_or(usize::MAX);
    if counted.len() < needed {
        out.verdicts = all;
        return out;
    }
    match all.len().saturating_sub(counted.len()) {
        0 => {}
        more => {
            out.note = format!(
                " {more} more signature(s) of {whole} are not by a further approved key; they were not needed."
            );
        }
    }
    out.verdicts = counted;
    out
}

fn unproven(request: &Request<'_>, what: &str, why: &str, moment: &Moment) -> Verdict {
    let key = if request.trust.keys.is_empty() {
        Finding::new(
            Outcome::Fail,
            "No key is approved. Register the signing key and have it approved first.",
        )
    } else {
        Finding::new(
            Outcome::NotRun,
            "Not checked: no approved key is known to have signed.",
        )
    };
    Verdict::unproven(
        what,
        Finding::new(Outcome::Fail, format!("{what} {why}.")),
        key,
        moment.clone(),
    )
}
