//! The verdict on a signature that says by which key it is, once the keys that it could be by were tried.

use crate::file::Request;
use crate::keys::Strength;
use crate::outcome::{Finding, Outcome};
use crate::trust::{TrustKey, describe};
use crate::verdict::{Moment, Verdict, choose};

/// How many reasons are told.
const MAX_REASONS: usize = 3;

/// A key by its place in the trust file, and whether the signature holds under it; if not, why, as half a sentence.
pub type Tried = (usize, Result<(), String>);

/// What is said where the bytes that were signed are others.
pub const OTHER_BYTES: &str = "the file or the signature was changed, or another key made it";

/// `what` is the signature as the subject of a sentence, `by` the key that it names.
pub fn verdict(request: &Request<'_>, what: &str, by: &str, rule: &str, tried: &[Tried]) -> Verdict {
    let moment = Moment::receipt(request.at);
    let keys = &request.trust.keys;
    let strong = |place: &usize| {
        let key = keys.get(*place);
        key.is_some_and(|key| key.key.algorithm.strength() != Strength::Broken)
    };
    let valid: Vec<_> = tried
        .iter()
        .filter(|(place, held)| held.is_ok() && strong(place))
        .map(|(place, _)| *place)
        .collect();
    if let Some(place) = choose(request, &valid, &moment) {
        return Verdict::by(request, place, what, rule, moment);
    }
    let named = |place: &usize| keys.get(*place).map(describe).unwrap_or_default();
    if tried.is_empty() {
        return Verdict::unproven(
            what,
            Finding::new(
                Outcome::NotRun,
                format!("Not verified: {by}, which is no approved key, is said to have made the signature."),
            ),
            Finding::new(
                Outcome::Fail,
                format!(
                    "The signature names {by}, which is not approved. Register it and have it approved first."
                ),
            ),
            moment,
        );
    }
    if let Some((place, _)) = tried.iter().find(|(place, _)| !strong(place)) {
        let weakness = keys.get(*place).map(|key| key.key.algorithm.weakness());
        let not_tried = Finding::new(
            Outcome::NotRun,
            format!("Not verified: key {} proves nothing.", named(place)),
        );
        let weak = format!("Key {}: {}.", named(place), weakness.unwrap_or_default());
        return Verdict {
            algorithm: Finding::new(Outcome::Fail, weak),
            ..Verdict::unproven(what, not_tried.clone(), not_tried, moment)
        };
    }
    let mut reasons: Vec<String> = tried
        .iter()
        .filter_map(|(place, held)| Some(format!("key {}: {}", named(place), held.as_ref().err()?)))
        .collect();
    if reasons.len() > MAX_REASONS {
        let more = reasons.len().saturating_sub(MAX_REASONS);
        reasons.truncate(MAX_REASONS);
        reasons.push(format!("and {more} more"));
    }
    Verdict::unproven(
        what,
        Finding::new(
            Outcome::Fail,
            format!("{what} names {by} and does not hold: {}.", reasons.join("; ")),
        ),
        Finding::new(
            Outcome::NotRun,
            "Not checked: no approved key is known to have signed.",
        ),
        moment,
    )
}

/// The keys that a signature could be by.
pub fn candidates<'a>(
    keys: &'a [TrustKey],
    fits: impl Fn(&TrustKey) -> bool + 'a,
) -> impl Iterator<Item = (usize, &'a TrustKey)> {
    keys.iter().enumerate().filter(move |(_, key)| fits(key))
}

/// Text of a stranger, for a report: without control characters.
pub fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .chars()
        .map(|letter| if letter.is_control() { '\u{fffd}' } else { letter })
        .collect()
}
