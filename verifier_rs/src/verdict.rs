//! What one signature turned out to be: whether it holds, whether its key counts, and by what time that was judged.

use crate::file::Request;
use crate::keys::hss::OneTimeKey;
use crate::keys::{Algorithm, CertificateFacts, Strength};
use crate::outcome::{Finding, Outcome};
use crate::time;
use crate::trust::{TrustKey, describe};

/// The time by which keys and certificates are judged, and where it comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct Moment {
    /// Seconds since 1970.
    pub at: f64,
    pub source: TimeSource,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TimeSource {
    /// When the evidence was received, as the caller says.
    Receipt,
    /// A time stamp that was verified, by this authority of the trust file.
    Timestamp { authority: String },
}

impl TimeSource {
    /// Where the time comes from, in words.
    pub fn words(&self) -> String {
        match self {
            TimeSource::Receipt => "time of receipt".to_owned(),
            TimeSource::Timestamp { authority } => format!("time stamp by {authority:?}"),
        }
    }
}

impl Moment {
    /// The time and where it comes from.
    pub fn words(&self) -> String {
        format!("{} ({})", time::format(self.at), self.source.words())
    }

    pub fn receipt(at: f64) -> Self {
        Moment {
            at,
            source: TimeSource::Receipt,
        }
    }
}

/// Who made a signature that holds.
#[derive(Clone, Debug)]
pub struct Signer {
    /// The id in the trust file: of the key itself, or of the root at which its chain ends.
    pub id: String,
    /// `sha256:` and the hexadecimal SHA-256 of the SubjectPublicKeyInfo.
    pub fingerprint: String,
    pub algorithm: String,
    /// From the signer's certificate to the root; empty for a pinned key.
    pub chain: Vec<CertificateFacts>,
}

impl Signer {
    pub fn pinned(key: &TrustKey) -> Self {
        Signer {
            id: key.id.clone(),
            fingerprint: key.fingerprint.clone(),
            algorithm: key.key.algorithm.name(),
            chain: Vec::new(),
        }
    }
}

/// The verdict on one signature.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Which signature, as the subject of a sentence: "The embedded RSA-3072 PSS signature".
    pub what: String,
    pub signature: Finding,
    /// Whether its key counts.
    pub key: Finding,
    pub algorithm: Finding,
    /// The rule by which it was checked, with its clause.
    pub rule: Option<String>,
    /// Once it is proven who made it.
    pub signer: Option<Signer>,
    /// What became of a time stamp over this signature, where there is one.
    pub timestamp: Option<Finding>,
    /// What of a stateful key a signature that holds has used up, from the top.
    pub one_time_keys: Vec<OneTimeKey>,
    pub moment: Moment,
}

impl Verdict {
    /// The verdict on a signature that holds under the key at `place`, checked by `rule`.
    pub fn by(request: &Request<'_>, place: usize, what: &str, rule: &str, moment: Moment) -> Self {
        let Some(key) = request.trust.keys.get(place) else {
            let none = Finding::new(Outcome::NotRun, "Not checked.");
            return Self::unproven(what, none.clone(), none, moment);
        };
        Verdict {
            what: what.to_owned(),
            signature: Finding::new(
                Outcome::Pass,
                format!(
                    "{what} is valid under key {}, {}.",
                    describe(key),
                    key.fingerprint
                ),
            ),
            key: approval(request, key, &moment),
            algorithm: strength(key.key.algorithm, rule),
            rule: Some(rule.to_owned()),
            signer: Some(Signer::pinned(key)),
            timestamp: None,
            one_time_keys: Vec::new(),
            moment,
        }
    }

    /// The verdict on a signature that proves nothing.
    pub fn unproven(what: &str, signature: Finding, key: Finding, moment: Moment) -> Self {
        Verdict {
            what: what.to_owned(),
            signature,
            key,
            algorithm: Finding::new(Outcome::NotRun, "Not checked: no signature is proven."),
            rule: None,
            signer: None,
            timestamp: None,
            one_time_keys: Vec::new(),
            moment,
        }
    }

    /// The verdict on something that is no signature at all.
    pub fn unreadable(what: &str, why: &str, moment: Moment) -> Self {
        let not_run = |text: &str| Finding::new(Outcome::NotRun, text);
        Verdict {
            algorithm: not_run("Not checked: the signature cannot be read."),
            ..Self::unproven(
                what,
                Finding::new(Outcome::Unreadable, format!("{what} cannot be read: {why}.")),
                not_run("Not checked: the signature cannot be read."),
                moment,
            )
        }
    }
}

/// Of several entries for the key that signed, the one that counts best: approved then, else for this purpose.
pub fn choose(request: &Request<'_>, places: &[usize], moment: &Moment) -> Option<usize> {
    let keys = &request.trust.keys;
    let counts = |place: &usize| {
        keys.get(*place)
            .is_some_and(|key| key.approved(request.purpose, moment.at).is_ok())
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

/// Whether the key counts for what is verified, at that time.
pub fn approval(request: &Request<'_>, key: &TrustKey, moment: &Moment) -> Finding {
    match key.approved(request.purpose, moment.at) {
        Ok(()) => Finding::new(
            Outcome::Pass,
            format!("Key {:?} is approved for {}.", key.id, request.purpose.name()),
        ),
        Err(why) => Finding::new(Outcome::Fail, format!("{}.", sentence(why))),
    }
}

/// Whether the algorithm is strong enough to prove anything; `rule` says what was checked.
pub fn strength(algorithm: Algorithm, rule: &str) -> Finding {
    match algorithm.strength() {
        Strength::Strong => Finding::new(
            Outcome::Pass,
            format!("{} is strong enough (rule: {rule}).", algorithm.name()),
        ),
        Strength::Weak => Finding::new(Outcome::Warn, format!("{}.", algorithm.weakness())),
        Strength::Broken => Finding::new(Outcome::Fail, format!("{}.", algorithm.weakness())),
    }
}

/// With a capital letter at its begin.
pub fn sentence(mut text: String) -> String {
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    text
}
