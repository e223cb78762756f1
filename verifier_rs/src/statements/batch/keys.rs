//! Which approved keys are tried for a signature, and in which order.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use crate::keys::ed25519;
use crate::keys::method::verify_message;
use crate::statements::dsse::Signature;
use crate::trust::{Purpose, Trust};

/// How many different keys are tried for a signature whose keyid names none of ours.
const MAX_TRIES: usize = 1024;
/// Up to this many different keys, a keyid that names one of ours is only the first to be tried. Where there are
/// more it chooses: a file of bad signatures must not cost as many checks a line as there are keys.
const MAX_OTHERS: usize = 16;
/// How many keyids are remembered; beyond, envelopes are only slower.
const MAX_LEARNED: usize = 100_000;

/// The approved keys, prepared for many signatures.
pub struct Keys<'a> {
    pub trust: &'a Trust,
    /// For each key: whether it counts for this purpose at this time.
    pub approved: Vec<Result<(), String>>,
    /// For each key: the entry that counts best among those with the same public key.
    best: Vec<usize>,
    /// One entry for each public key.
    different: Vec<usize>,
    /// The Ed25519 keys, and for each key its place among them.
    pub points: Vec<&'a ed25519::Key>,
    point_of: Vec<Option<usize>>,
    /// The key that an id or fingerprint of the trust file names.
    named: HashMap<String, usize>,
    /// The key that was found for another keyid. Only the order of the tries depends on it, never a verdict.
    learned: RwLock<HashMap<String, usize>>,
}

impl<'a> Keys<'a> {
    pub fn new(trust: &'a Trust, purpose: Purpose, at: f64) -> Self {
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
        let best: Vec<usize> = trust
            .keys
            .iter()
            .enumerate()
            .map(|(place, key)| of_key.get(key.fingerprint.as_str()).copied().unwrap_or(place))
            .collect();
        let different = best.iter().enumerate().filter(|(place, best)| *best == place);
        Keys {
            different: different.map(|(place, _)| place).collect(),
            trust,
            approved,
            best,
            points,
            point_of,
            named,
            learned: RwLock::default(),
        }
    }

    /// The key to try first.
    pub fn hint(&self, keyid: &str) -> Option<usize> {
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

    /// An Ed25519 key and its place among those.
    pub fn point(&self, place: usize) -> Option<(usize, &'a ed25519::Key)> {
        let point = self.point_of.get(place).copied().flatten()?;
        Some((point, self.points.get(point).copied()?))
    }

    /// The entry that stands for all with the same public key: a key under two ids is one key.
    pub fn best(&self, place: usize) -> Option<usize> {
        self.best.get(place).copied()
    }

    pub fn holds(&self, place: usize, message: &[&[u8]], signature: &[u8]) -> bool {
        let key = self.trust.keys.get(place);
        key.is_some_and(|key| verify_message(&key.key, &key.method, message, signature))
    }

    /// Look for the key of a signature that is not valid under `tried`.
    pub fn search(&self, signature: &Signature, message: &[&[u8]], tried: Option<usize>) -> Option<usize> {
        if self.chosen(&signature.keyid) {
            return None;
        }
        let tried = tried.and_then(|place| self.best(place));
        let candidates = self.different.iter().copied().take(MAX_TRIES);
        let found = candidates
            .filter(|place| tried != Some(*place))
            .find(|place| self.holds(*place, message, &signature.value))?;
        self.learn(&signature.keyid, found);
        Some(found)
    }

    /// Whether a keyid leaves no choice.
    fn chosen(&self, keyid: &str) -> bool {
        self.different.len() > MAX_OTHERS && self.named.contains_key(keyid)
    }

    /// Why no key was found for a signature.
    pub fn invalid(&self, nth: usize, signature: &Signature) -> String {
        let nth = nth.saturating_add(1);
        let keys = self.trust.keys.len();
        let keyid: String = signature.keyid.chars().take(80).collect();
        if self.chosen(&signature.keyid) {
            format!("signature {nth} names key {keyid:?} and is not valid under it")
        } else if self.named.contains_key(&signature.keyid) {
            format!(
                "signature {nth} names key {keyid:?} and is not valid under it or any other of the {keys} \
                 approved key(s)"
            )
        } else {
            let limit = if self.different.len() > MAX_TRIES {
                format!("the first {MAX_TRIES} of the {keys} approved keys; put the id of the key into keyid")
            } else {
                format!("any of the {keys} approved key(s)")
            };
            format!("signature {nth} (keyid {keyid:?}) is not valid under {limit}")
        }
    }
}
