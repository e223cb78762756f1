//! The bare bytes of a signature over a whole file, made with one of the approved keys.

use base64::Engine;

use crate::encoding;
use crate::file::Request;
use crate::keys::Strength;
use crate::keys::hss;
use crate::outcome::{Finding, Outcome};
use crate::pass::{Pass, Ticket};
use crate::signatures::Detached;
use crate::signatures::certified::Certified;
use crate::signatures::streams::Streams;
use crate::trust::{Hash, Trust, TrustKey, describe};
use crate::verdict::{Verdict, choose};
use crate::x509::Certificate;

/// More than the longest signature in base64.
const MAX_SIGNATURE: usize = hss::MAX_SIGNATURE;
const WHAT: &str = "The detached signature";

/// A signature and what each key that it could be by needs of the file.
pub struct Raw {
    signature: Vec<u8>,
    hashes: Vec<Hash>,
    digests: Vec<(Hash, Ticket)>,
    streams: Streams,
    /// The signature by a certificate that came along.
    certified: Certified,
}

impl Raw {
    /// Take the content of a signature file: raw bytes, or nothing but base64 (line breaks allowed). `leaf` is the
    /// signer's certificate, where it came along.
    pub fn read(content: &[u8], trust: &Trust, leaf: Option<&Certificate>) -> Result<Self, String> {
        if content.len() > MAX_SIGNATURE {
            return Err(format!(
                "the signature file has {} bytes, more than any signature (limit {MAX_SIGNATURE})",
                content.len()
            ));
        }
        let signature = base64_text(content).unwrap_or_else(|| content.to_owned());
        let mut hashes: Vec<_> = trust.keys.iter().filter_map(|key| key.method.hash()).collect();
        hashes.sort_unstable();
        hashes.dedup();
        Ok(Raw {
            certified: Certified::read(leaf, trust, &signature),
            streams: Streams::begin(trust.keys.iter().enumerate(), &signature),
            signature,
            hashes,
            digests: Vec::new(),
        })
    }

    /// The places of the keys under which it holds; each key is tried in the way of its enrolment only.
    fn valid(&self, pass: &Pass, trust: &Trust) -> Vec<usize> {
        let mut valid = Vec::new();
        let digests: Vec<_> = self
            .digests
            .iter()
            .map(|(hash, ticket)| (*hash, pass.bytes(*ticket)))
            .collect();
        for (place, key) in trust.keys.iter().enumerate() {
            let digest = digests.iter().find(|(hash, _)| Some(*hash) == key.method.hash());
            if digest.is_some_and(|(_, digest)| key.method.verify_digest(digest, &self.signature))
                || self.streams.hold(pass, place, key)
            {
                valid.push(place);
            }
        }
        valid
    }

    /// The verdict where nobody signed, and what is wrong with the signature itself where that can be told.
    fn refused(&self, request: &Request<'_>) -> Verdict {
        let mut verdict = nobody(WHAT, request);
        for key in &request.trust.keys {
            if let Some(why) = key.method.misfit(&self.signature) {
                let more = format!(" For key {}: {why}.", describe(key));
                verdict.signature.reason.push_str(&more);
            }
        }
        verdict
    }
}

impl Detached for Raw {
    fn form(&self) -> &'static str {
        "raw"
    }

    fn plan(&mut self, pass: &mut Pass, size: u64) {
        self.certified.plan(pass, size);
        let hashes = self.hashes.iter();
        self.digests = hashes.map(|hash| (*hash, pass.digest(0, size, *hash))).collect();
        self.streams.plan(pass, size);
    }

    fn judge(&self, pass: &Pass, request: &Request<'_>) -> Vec<Verdict> {
        let moment = request.moment();
        let keys = &request.trust.keys;
        let valid = self.valid(pass, request.trust);
        if let Some(signer) = choose(request, &valid, &moment) {
            let rule = keys.get(signer).map(|key| key.method.rule()).unwrap_or_default();
            return vec![Verdict {
                one_time_keys: self.streams.one_time_keys(pass, signer),
                ..Verdict::by(request, signer, WHAT, rule, moment)
            }];
        }
        let certified = self.certified.judge(pass, request, &self.signature, WHAT);
        vec![certified.unwrap_or_else(|| self.refused(request))]
    }
}

/// The verdict on a signature over bytes at hand that does not say whose it is. `holds` tries one key in the one way
/// that counts, and gives the rule by which the signature is valid under it.
pub fn by_any(what: &str, request: &Request<'_>, holds: impl Fn(&TrustKey) -> Option<String>) -> Verdict {
    let moment = request.moment();
    let keys = request.trust.keys.iter().enumerate();
    let valid: Vec<_> = keys
        .filter_map(|(place, key)| Some((place, holds(key)?)))
        .collect();
    let places: Vec<_> = valid.iter().map(|(place, _)| *place).collect();
    let signer = choose(request, &places, &moment);
    match valid.into_iter().find(|(place, _)| Some(*place) == signer) {
        Some((place, rule)) => Verdict::by(request, place, what, &rule, moment),
        None => nobody(what, request),
    }
}

/// The verdict on a signature that is not by any approved key.
fn nobody(what: &str, request: &Request<'_>) -> Verdict {
    let moment = request.moment();
    let keys = &request.trust.keys;
    let weak: Vec<_> = keys
        .iter()
        .filter(|key| key.key.algorithm.strength() == Strength::Broken)
        .collect();
    let tried = keys.len().saturating_sub(weak.len());
    let (signature, key) = if tried == 0 {
        (
            Finding::new(
                Outcome::NotRun,
                "Not verified: there is no approved key to verify the signature with.",
            ),
            Finding::new(
                Outcome::Fail,
                "No key is approved. Register the signing key and have it approved first.",
            ),
        )
    } else {
        (
            Finding::new(
                Outcome::Fail,
                format!(
                    "{what} is not valid under any of the {tried} approved key(s): the file or the signature was \
                     changed, or it was made with a key that we have not approved or in another way than enrolled."
                ),
            ),
            Finding::new(
                Outcome::NotRun,
                "Not checked: no approved key is known to have signed.",
            ),
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
        algorithm,
        ..Verdict::unproven(what, signature, key, moment)
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
