//! A bare signature by a signer whose certificate came along: how it was made is said by the root at which the
//! certificate's chain ends, as an enrolment says it for a pinned key.

use crate::cms::verify::chained;
use crate::file::Request;
use crate::keys::hss::OneTimeKey;
use crate::keys::method::{Method, Pending};
use crate::outcome::{Finding, Outcome};
use crate::pass::{Pass, Ticket};
use crate::trust::Trust;
use crate::verdict::{Verdict, sentence};
use crate::x509::path::{self, Role};
use crate::x509::{Certificate, Path, Refusal};

/// The signature as one root's signers make it.
struct Way {
    root: String,
    method: Method,
    pending: Option<Pending>,
    ticket: Option<Ticket>,
}

impl Way {
    fn one_time_keys(&self, pass: &Pass) -> Vec<OneTimeKey> {
        let state = self.ticket.and_then(|ticket| pass.state(ticket));
        match (&self.pending, state) {
            (Some(pending), Some(state)) => pending.one_time_keys(state),
            _ => Vec::new(),
        }
    }
}

#[derive(Default)]
pub struct Certified {
    ways: Vec<Way>,
}

impl Certified {
    /// `leaf` is the signer's certificate, as far as anybody says.
    pub fn read(leaf: Option<&Certificate>, trust: &Trust, signature: &[u8]) -> Self {
        let Some(key) = leaf.and_then(|leaf| leaf.usable_key().ok()) else {
            return Certified::default();
        };
        let ways = trust.roots.iter().filter_map(|root| {
            // Options for another kind of key say nothing about this one.
            let method = Method::of(key, &root.options).ok()?;
            Some(Way {
                root: root.id.clone(),
                pending: method.begin(key, signature),
                method,
                ticket: None,
            })
        });
        Certified { ways: ways.collect() }
    }

    pub fn plan(&mut self, pass: &mut Pass, size: u64) {
        for way in &mut self.ways {
            way.ticket = match (&way.pending, way.method.hash()) {
                (Some(pending), _) => Some(pass.feed(0, size, pending.sink())),
                (None, Some(hash)) => Some(pass.digest(0, size, hash)),
                (None, None) => None,
            };
        }
    }

    /// The verdict where there is a certificate that counts: `None` where there is none, or where approved keys may
    /// still have signed instead.
    pub fn judge(&self, pass: &Pass, request: &Request<'_>, signature: &[u8], what: &str) -> Option<Verdict> {
        let leaf = request.candidates().first()?;
        let key = leaf.usable_key().ok()?;
        // What is said of a pinned key is said of it in every chain.
        if request
            .trust
            .keys
            .iter()
            .any(|pinned| pinned.fingerprint == leaf.fingerprint)
        {
            return None;
        }
        let holds = |way: &&Way| {
            way.ticket.is_some_and(|ticket| match &way.pending {
                Some(pending) => pass.state(ticket).is_some_and(|state| pending.holds(key, state)),
                None => way.method.verify_digest(&pass.bytes(ticket), signature),
            })
        };
        let made: Vec<&Way> = self.ways.iter().filter(holds).collect();
        let Some(first) = made.first() else {
            return request
                .trust
                .keys
                .is_empty()
                .then(|| stranger(leaf, request, what));
        };
        let moment = request.moment();
        let role = Role::Signer(request.purpose);
        let candidates = request.candidates();
        let found = path::check(leaf, candidates, request.trust, role, &moment, request.at);
        let fits = |path: &Path| made.iter().find(|way| way.root == path.root_id);
        let refused = |words: String| {
            let signature = Finding::new(
                Outcome::Pass,
                format!("{what} is valid under the certificate {}.", leaf.title()),
            );
            let key = Finding::new(Outcome::Fail, format!("{}.", sentence(words)));
            Verdict::unproven(what, signature, key, moment.clone())
        };
        Some(match found {
            Ok(path) => match fits(&path) {
                Some(way) => Verdict {
                    one_time_keys: way.one_time_keys(pass),
                    ..chained(what, leaf, key, path, way.method.rule(), &moment)
                },
                None => refused(format!(
                    "the chain ends at root {:?}, whose signers sign in another way than this ({})",
                    path.root_id,
                    first.method.rule()
                )),
            },
            Err(Refusal { words, .. }) => refused(words),
        })
    }
}

fn stranger(leaf: &Certificate, request: &Request<'_>, what: &str) -> Verdict {
    let words = format!(
        "{what} is not valid under the certificate of {} in the way in which a root of the trust file says: the file or \
         the signature was changed, or it is by somebody else.",
        leaf.title()
    );
    let key = Finding::new(Outcome::NotRun, "Not checked: nobody is proven to have signed.");
    Verdict::unproven(what, Finding::new(Outcome::Fail, words), key, request.moment())
}
