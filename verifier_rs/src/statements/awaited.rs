//! A signature over a file that is still to be read, with something before it.

use crate::digest::{Sha384, Sha512};
use crate::keys::method::{Method, Pending};
use crate::pass::{Pass, Ticket};
use crate::source::Sink;
use crate::statements::registered::with_method;
use crate::statements::signers::{self, Tried};
use crate::trust::{Hash, Trust, TrustKey};

use sha2::{Digest, Sha256};

use crate::encoding::Base64Url;

/// How many keys a signature over the file itself is tried with: each of them hashes the whole file.
const MAX_STREAMS: usize = 32;

/// How the bytes of the file stand in the message.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Plain,
    /// In base64url without padding.
    Base64Url,
}

/// One signature, and for each key that it could be by what has to be known of the file.
pub struct Awaited {
    value: Vec<u8>,
    hint: String,
    algorithm: String,
    waiting: Vec<(usize, Waiting)>,
    /// How many keys more it could be by.
    left: usize,
}

enum Waiting {
    Digest(Hash, Option<Ticket>),
    Stream(Box<Pending>, Option<Ticket>),
}

impl Awaited {
    /// Begin one signature with the keys that fit, those that `hint` names before others.
    pub fn begin(
        trust: &Trust,
        hint: &str,
        algorithm: &str,
        value: &[u8],
        fits: impl Fn(usize, &TrustKey) -> bool,
    ) -> Self {
        let begin = |place: &usize| {
            let key = trust.keys.get(*place)?;
            let waiting = with_method(key, |method: &Method| match method.hash() {
                Some(hash) => Some(Waiting::Digest(hash, None)),
                None => Some(Waiting::Stream(Box::new(method.begin(&key.key, value)?), None)),
            });
            Some((*place, waiting.flatten()?))
        };
        let candidates = signers::candidates(trust, hint, fits);
        Awaited {
            value: value.to_owned(),
            hint: hint.to_owned(),
            algorithm: algorithm.to_owned(),
            waiting: candidates.iter().take(MAX_STREAMS).filter_map(begin).collect(),
            left: candidates.len().saturating_sub(MAX_STREAMS),
        }
    }

    /// Ask for `prefix` and then the file of `size` bytes.
    pub fn plan(&mut self, pass: &mut Pass, size: u64, prefix: &[u8], form: Form) {
        let mut feed = |mut sink: Sink| {
            sink.update(prefix);
            let sink = match form {
                Form::Plain => sink,
                Form::Base64Url => Sink::Base64Url(Box::new(Base64Url::of(sink))),
            };
            pass.feed(0, size, sink)
        };
        let mut digests: Vec<(Hash, Ticket)> = Vec::new();
        for (_, waiting) in &mut self.waiting {
            match waiting {
                Waiting::Stream(pending, ticket) => *ticket = Some(feed(pending.sink())),
                Waiting::Digest(hash, ticket) => {
                    let known = digests.iter().find(|(known, _)| known == hash);
                    let made = known.map_or_else(
                        || {
                            feed(match hash {
                                Hash::Sha256 => Sink::Sha256(Sha256::new()),
                                Hash::Sha384 => Sink::Sha384(Sha384::new()),
                                Hash::Sha512 => Sink::Sha512(Sha512::new()),
                            })
                        },
                        |(_, ticket)| *ticket,
                    );
                    digests.push((*hash, made));
                    *ticket = Some(made);
                }
            }
        }
    }

    /// Who signed, once the pass is over.
    pub fn tried(&self, pass: &Pass, trust: &Trust) -> Tried {
        let waiting = |place: usize| self.waiting.iter().find(|(of, _)| *of == place);
        let holds = |place: usize, key: &TrustKey| {
            let (_, waiting) = waiting(place)?;
            with_method(key, |method| {
                let held = match waiting {
                    Waiting::Digest(_, ticket) => method.verify_digest(&pass.bytes((*ticket)?), &self.value),
                    Waiting::Stream(pending, ticket) => match pass.state((*ticket)?)? {
                        Sink::Base64Url(state) => pending.holds(&key.key, &state.finish()),
                        state => pending.holds(&key.key, state),
                    },
                };
                held.then(|| method.rule().to_owned())
            })?
        };
        let begun = |place: usize, _: &TrustKey| waiting(place).is_some();
        let mut tried = signers::search(trust, &self.hint, Some(&self.algorithm), begun, holds);
        if let Err(why) = &mut tried.found
            && self.left > 0
        {
            let note = format!(
                "; {} more key(s) were not tried: name the key by its id",
                self.left
            );
            why.push_str(&note);
        }
        tried
    }
}
