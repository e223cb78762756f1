//! A detached signature over a whole file, made with one of the approved keys.

use base64::Engine;

use crate::ed25519::Pending;
use crate::encoding;
use crate::file::{Request, Verdict};
use crate::key::Strength;
use crate::outcome::{Finding, Outcome};
use crate::signature::Method;
use crate::source::Sink;
use crate::trust::{Hash, Trust, describe};
use crate::{ed25519, judge};

/// Far more than the longest signature in base64.
const MAX_SIGNATURE: usize = 16 * 1024;

/// A signature and, for each Ed25519 key it could be by, the hash of the message that has to be made on the way.
pub struct Detached {
    signature: Vec<u8>,
    pending: Vec<(usize, Pending)>,
}

impl Detached {
    /// Take the content of a signature file: raw bytes, or nothing but base64 (line breaks allowed).
    pub fn read(content: &[u8], trust: &Trust) -> Result<Self, String> {
        if content.is_empty() {
            return Err("the signature file is empty".to_owned());
        }
        if content.len() > MAX_SIGNATURE {
            return Err(format!(
                "the signature file has {} bytes, more than any signature (limit {MAX_SIGNATURE})",
                content.len()
            ));
        }
        if content.starts_with(b"-----BEGIN ") {
            return Err(
                "the signature file is PEM; expected the raw signature or its plain base64".to_owned(),
            );
        }
        let signature = base64_text(content).unwrap_or_else(|| content.to_owned());
        let pending = trust
            .keys
            .iter()
            .enumerate()
            .filter_map(|(place, key)| Some((place, key.key.ed25519.as_ref()?.begin(&signature)?)))
            .collect();
        Ok(Detached { signature, pending })
    }

    /// The hashes to make while the file is read, in the order in which `judge` takes them back.
    pub fn sinks(&self) -> impl Iterator<Item = Sink> + '_ {
        self.pending
            .iter()
            .map(|(_, pending)| Sink::Sha512(pending.hash.clone()))
    }

    /// Try every key that the signature could be by; the key's enrolment says how, never the signature.
    pub fn judge(&self, digest: &dyn Fn(Hash) -> Vec<u8>, states: &[Sink], request: &Request<'_>) -> Verdict {
        let keys = &request.trust.keys;
        let mut valid = Vec::new();
        for (place, key) in keys.iter().enumerate() {
            if let Method::Digest { hash, .. } = &key.method
                && key.method.verify_digest(&digest(*hash), &self.signature)
            {
                valid.push(place);
            }
        }
        for ((place, pending), state) in self.pending.iter().zip(states) {
            if let (Some(key), Sink::Sha512(hash)) = (keys.get(*place), state)
                && let Some(point) = &key.key.ed25519
            {
                let claim = ed25519::Key::finish(pending, hash.clone());
                if point.holds(&claim) {
                    valid.push(*place);
                }
            }
        }
        if let Some(signer) = judge::choose(request, &valid) {
            return judge::by(request, signer, "The detached signature");
        }
        let weak: Vec<_> = keys
            .iter()
            .filter(|key| key.key.algorithm.strength() == Strength::Broken)
            .collect();
        let tried = keys.len().saturating_sub(weak.len());
        let signature = if tried == 0 {
            Finding::new(
                Outcome::NotRun,
                "Not verified: there is no approved key to verify the detached signature with.",
            )
        } else {
            Finding::new(
                Outcome::Fail,
                format!(
                    "The detached signature is not valid under any of the {tried} approved key(s): the file or the \
                     signature was changed, or it was made with a key that we have not approved or in another way \
                     than enrolled."
                ),
            )
        };
        let key = if tried == 0 {
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
        let algorithm = match weak.first() {
            Some(key) => Finding::new(
                Outcome::Fail,
                format!("Key {}: {}.", describe(key), key.key.algorithm.weakness()),
            ),
            None => Finding::new(
                Outcome::NotRun,
                "Not checked: no approved key is known to have signed.",
            ),
        };
        Verdict {
            signature,
            key,
            algorithm,
            signer: None,
        }
    }
}

/// The verdict on something that is no signature at all.
pub fn unreadable(why: &str) -> Verdict {
    let not_run = Finding::new(
        Outcome::NotRun,
        "Not checked: the detached signature cannot be read.",
    );
    Verdict {
        signature: Finding::new(
            Outcome::Unreadable,
            format!("The detached signature cannot be read: {why}."),
        ),
        key: not_run.clone(),
        algorithm: not_run,
        signer: None,
    }
}

/// The bytes, if the whole content is base64 text. A raw signature of 64 or more random bytes never is.
fn base64_text(content: &[u8]) -> Option<Vec<u8>> {
    let text: Vec<u8> = content
        .iter()
        .copied()
        .filter(|byte| !matches!(byte, b'\r' | b'\n'))
        .collect();
    (text.len() >= 64)
        .then(|| encoding::STANDARD.decode(&text).ok())
        .flatten()
}
