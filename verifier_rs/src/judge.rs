//! What a valid signature is worth: whether its key counts, and whether its algorithm is strong enough.

use crate::ed25519;
use crate::file::{Request, Verdict};
use crate::key::{Algorithm, Strength};
use crate::outcome::{Finding, Outcome};
use crate::trust::{TrustKey, describe};

/// Of several entries for the key that signed, the one that counts best: approved now, else for this purpose.
pub fn choose(request: &Request<'_>, places: &[usize]) -> Option<usize> {
    let keys = &request.trust.keys;
    let counts = |place: &usize| {
        keys.get(*place)
            .is_some_and(|key| key.approved(request.purpose, request.at).is_ok())
    };
    let purpose = |place: &usize| {
        keys.get(*place)
            .is_some_and(|key| key.purposes.contains(&request.purpose))
    };
    places
        .iter()
        .find(|place| counts(place))
        .or_else(|| places.iter().find(|place| purpose(place)))
        .or_else(|| places.first())
        .copied()
}

/// The verdict on a signature that is valid under the key at `place`.
pub fn by(request: &Request<'_>, place: usize, what: &str) -> Verdict {
    let Some(key) = request.trust.keys.get(place) else {
        let none = Finding::new(Outcome::NotRun, "Not checked.");
        return Verdict {
            signature: none.clone(),
            key: none.clone(),
            algorithm: none,
            signer: None,
        };
    };
    Verdict {
        signature: Finding::new(
            Outcome::Pass,
            format!(
                "{what} is valid under key {}, {}.",
                describe(key),
                key.fingerprint
            ),
        ),
        key: approval(request, key),
        algorithm: algorithm(key),
        signer: Some(place),
    }
}

pub fn approval(request: &Request<'_>, key: &TrustKey) -> Finding {
    match key.approved(request.purpose, request.at) {
        Ok(()) => Finding::new(
            Outcome::Pass,
            format!("Key {:?} is approved for {}.", key.id, request.purpose.name()),
        ),
        Err(why) => {
            let mut why = why;
            if let Some(first) = why.get_mut(..1) {
                first.make_ascii_uppercase();
            }
            Finding::new(Outcome::Fail, format!("{why}."))
        }
    }
}

pub fn algorithm(key: &TrustKey) -> Finding {
    let algorithm = key.key.algorithm;
    match algorithm.strength() {
        Strength::Strong if algorithm == Algorithm::Ed25519 => Finding::new(
            Outcome::Pass,
            format!("Ed25519 is strong enough (rule: {}).", ed25519::RULE),
        ),
        Strength::Strong => Finding::new(Outcome::Pass, format!("{} is strong enough.", algorithm.name())),
        Strength::Weak => Finding::new(Outcome::Warn, format!("{}.", algorithm.weakness())),
        Strength::Broken => Finding::new(Outcome::Fail, format!("{}.", algorithm.weakness())),
    }
}
