//! Whether the signers of CMS signed data signed this content (RFC 5652 §5.4–5.6), and whether they count.

use crate::cms::attributes::{SignedAttributes, looks_like_attributes};
use crate::cms::parse::{DATA, SignedData, SignerInfo};
use crate::cms::timestamp;
use crate::file::Request;
use crate::keys::method::{Method, digest_of, verify_message};
use crate::keys::{PublicKey, Strength};
use crate::outcome::{Finding, Outcome};
use crate::source::hex;
use crate::trust::Hash;
use crate::verdict::{Moment, Signer, Verdict, choose, sentence, strength};
use crate::x509::path::{self, Path, Role};
use crate::x509::{Certificate, Refusal};

/// A content that is larger than this is no set of signed attributes.
pub const LARGE: u64 = 64 * 1024;

/// What was signed.
pub enum Content<'a> {
    Bytes(&'a [u8]),
    /// More than `LARGE` bytes, known by their digests only. Smaller content is given as bytes.
    Large(&'a dyn Fn(Hash) -> Vec<u8>),
}

impl Content<'_> {
    fn digest(&self, hash: Hash) -> Vec<u8> {
        match self {
            Content::Bytes(bytes) => digest_of(hash, &[bytes]),
            Content::Large(digest) => digest(hash),
        }
    }
}

/// One verdict for each signer. `moment` is the time by which the signature as a whole is judged; a time stamp over
/// one signer's signature proves an earlier one for that signer.
pub fn verify(
    signed: &SignedData,
    what: &str,
    content: &Content<'_>,
    request: &Request<'_>,
    moment: &Moment,
) -> Vec<Verdict> {
    let several = signed.signers.len() > 1;
    let signers = signed.signers.iter().enumerate();
    signers
        .map(|(place, signer)| {
            let what = if several {
                format!("{what}, signer {},", place.saturating_add(1))
            } else {
                what.to_owned()
            };
            let stamped = timestamp::over_signature(signer, request);
            let moment = match &stamped {
                Some((Some(proven), _)) if proven.at < moment.at => proven.clone(),
                _ => moment.clone(),
            };
            let one = One {
                signed,
                signer,
                what,
                content,
                request,
                moment,
            };
            let mut verdict = one.judge();
            verdict.timestamp = stamped.map(|(_, finding)| finding);
            verdict
        })
        .collect()
}

struct One<'a> {
    signed: &'a SignedData,
    signer: &'a SignerInfo,
    what: String,
    content: &'a Content<'a>,
    request: &'a Request<'a>,
    moment: Moment,
}

/// What the signature is over.
enum Message<'a> {
    Attributes(&'a SignedAttributes),
    Content,
}

impl One<'_> {
    fn unproven(&self, signature: Finding, key: Finding) -> Verdict {
        Verdict::unproven(&self.what, signature, key, self.moment.clone())
    }

    fn refused(&self, outcome: Outcome, why: &str) -> Verdict {
        self.unproven(
            Finding::new(outcome, format!("{} proves nothing: {why}.", self.what)),
            Finding::new(Outcome::NotRun, "Not checked: no signature is proven."),
        )
    }

    fn judge(&self) -> Verdict {
        // 1. the message is what was signed, or binds it.
        let message = match self.message() {
            Ok(message) => message,
            Err((outcome, why)) => return self.refused(outcome, &why),
        };
        let scheme = match &self.signer.scheme {
            Ok(scheme) => *scheme,
            Err(refusal) => return self.refused(Outcome::Fail, &refusal.words),
        };
        // 2. whose it could be: certificates that fit the signer's name for itself are candidates, nothing more.
        let leaves: Vec<&Certificate> = self
            .signed
            .certificates
            .iter()
            .chain(self.request.candidates())
            .chain(&self.request.trust.intermediates)
            .filter(|certificate| self.signer.id.names(certificate))
            .collect();
        let named = |fingerprint: &String| leaves.iter().any(|leaf| leaf.fingerprint == *fingerprint);
        let keys = self.request.trust.keys.iter().enumerate();
        let pinned: Vec<_> = keys
            .filter(|(_, key)| leaves.is_empty() || named(&key.fingerprint))
            .collect();
        // 3. a pinned key decides, also against: no chain makes up for a key that was distrusted.
        let mut valid = Vec::new();
        let mut rule = String::new();
        for (place, key) in &pinned {
            let Ok(method) = scheme.method(&key.key) else {
                continue;
            };
            match self.holds(&key.key, &method, &message) {
                Ok(true) => {
                    valid.push(*place);
                    rule = rule_of(&method, &message);
                }
                Ok(false) => {}
                Err(why) => return self.refused(Outcome::Unreadable, &why),
            }
        }
        if let Some(place) = choose(self.request, &valid, &self.moment) {
            return Verdict::by(self.request, place, &self.what, &rule, self.moment.clone());
        }
        if leaves.is_empty() {
            return self.nobody(pinned.len());
        }
        // 4. a certificate that came along, whose chain ends at an approved root.
        let judged = leaves.iter().map(|leaf| {
            let method = leaf.usable_key().and_then(|key| scheme.method(key));
            self.by_chain(leaf, method, &message)
        });
        let mut verdicts: Vec<Verdict> = judged.collect();
        let counts = |verdict: &Verdict| verdict.signer.is_some();
        let place = verdicts.iter().position(counts).unwrap_or_default();
        verdicts.swap_remove(place)
    }

    /// RFC 5652 §5.3: signed attributes bind type and digest of the content; only plain data goes without them.
    fn message(&self) -> Result<Message<'_>, (Outcome, String)> {
        let fail = |why: &str| Err((Outcome::Fail, why.to_owned()));
        let digest = match &self.signer.digest {
            Ok(digest) => *digest,
            Err(refusal) => return Err((Outcome::Fail, refusal.words.clone())),
        };
        match &self.signer.attributes {
            Err(why) => Err((Outcome::Fail, why.clone())),
            Ok(Some(attributes)) => {
                if attributes.content_type != self.signed.content_type {
                    return fail("the type of the content is not the one that was signed (contentType)");
                }
                let computed = self.content.digest(digest);
                if attributes.message_digest != computed {
                    return Err((
                        Outcome::Fail,
                        format!(
                            "the content is not what was signed: its {} is {}, the signed one is {}",
                            digest.name(),
                            hex(&computed),
                            hex(&attributes.message_digest)
                        ),
                    ));
                }
                Ok(Message::Attributes(attributes))
            }
            Ok(None) => {
                if self.signed.content_type != DATA {
                    return fail(
                        "it has no signed attributes, which RFC 5652 §5.3 wants for content that is not plain data",
                    );
                }
                match self.content {
                    Content::Bytes(bytes) if looks_like_attributes(bytes) => fail(
                        "the content is a set of signed attributes, taken from another signature: whoever signed it \
                         signed other content",
                    ),
                    _ => Ok(Message::Content),
                }
            }
        }
    }

    fn holds(&self, key: &PublicKey, method: &Method, message: &Message<'_>) -> Result<bool, String> {
        let signature = &self.signer.signature;
        match (message, self.content, method.hash()) {
            (Message::Attributes(attributes), ..) => {
                Ok(verify_message(key, method, &[&attributes.message], signature))
            }
            (Message::Content, content, Some(hash)) => {
                Ok(method.verify_digest(&content.digest(hash), signature))
            }
            (Message::Content, Content::Bytes(bytes), None) => {
                Ok(verify_message(key, method, &[bytes], signature))
            }
            (Message::Content, Content::Large(_), None) => Err(format!(
                "{} over large content without signed attributes is not supported",
                key.algorithm.name()
            )),
        }
    }

    fn by_chain(
        &self,
        leaf: &Certificate,
        method: Result<Method, Refusal>,
        message: &Message<'_>,
    ) -> Verdict {
        let title = leaf.title();
        let (method, key) = match (method, leaf.usable_key()) {
            (Ok(method), Ok(key)) => (method, key),
            (Err(refusal), _) | (_, Err(refusal)) => return self.refused(Outcome::Fail, &refusal.words),
        };
        match self.holds(key, &method, message) {
            Ok(true) => {}
            Ok(false) => {
                let why = format!("it is not valid under the certificate that it names, {title}");
                return self.refused(Outcome::Fail, &why);
            }
            Err(why) => return self.refused(Outcome::Unreadable, &why),
        }
        let candidates = self.signed.certificates.iter().chain(self.request.candidates());
        let role = Role::Signer(self.request.purpose);
        match path::check(
            leaf,
            candidates,
            self.request.trust,
            role,
            &self.moment,
            self.request.at,
        ) {
            Ok(path) => {
                let rule = rule_of(&method, message);
                chained(&self.what, leaf, key, path, &rule, &self.moment)
            }
            Err(refusal) => self.unproven(
                Finding::new(
                    Outcome::Pass,
                    format!("{} is valid under the certificate {title}.", self.what),
                ),
                Finding::new(Outcome::Fail, format!("{}.", sentence(refusal.words))),
            ),
        }
    }

    fn nobody(&self, tried: usize) -> Verdict {
        let unreadable = match self.signed.unreadable.first() {
            Some(why) => format!(" A certificate in it cannot be read: {why}."),
            None => String::new(),
        };
        let signature = if tried == 0 {
            Finding::new(
                Outcome::NotRun,
                format!(
                    "{} was not verified: its signer's certificate is not at hand.{unreadable}",
                    self.what
                ),
            )
        } else {
            Finding::new(
                Outcome::Fail,
                format!(
                    "{} is not valid under any of the {tried} approved key(s), and its signer's certificate is not \
                     at hand.{unreadable}",
                    self.what
                ),
            )
        };
        self.unproven(
            signature,
            Finding::new(
                Outcome::Fail,
                "The signer is not known. Have its key approved, or give its certificate and approve the root.",
            ),
        )
    }
}

fn rule_of(method: &Method, message: &Message<'_>) -> String {
    match message {
        Message::Attributes(_) => format!("{}, over signed attributes (RFC 5652 §5.4)", method.rule()),
        Message::Content => format!("{}, over the content (RFC 5652 §5.4)", method.rule()),
    }
}

/// The verdict on a signature that holds under a certificate whose chain counts.
pub fn chained(
    what: &str,
    leaf: &Certificate,
    key: &PublicKey,
    path: Path,
    rule: &str,
    moment: &Moment,
) -> Verdict {
    let mut reason = format!(
        "The chain of {} ends at the approved root {:?}, judged at {}.",
        leaf.title(),
        path.root_id,
        moment.words()
    );
    for note in &path.notes {
        reason.push(' ');
        reason.push_str(note);
    }
    let weak = path
        .algorithms
        .iter()
        .skip(1)
        .filter(|found| found.strength() != Strength::Strong);
    let along = weak.map(|found| strength(*found, rule));
    let algorithm = Finding::worst(along.chain([strength(key.algorithm, rule)]));
    Verdict {
        what: what.to_owned(),
        signature: Finding::new(
            Outcome::Pass,
            format!(
                "{what} is valid under the certificate {}, {}.",
                leaf.title(),
                leaf.fingerprint
            ),
        ),
        key: Finding::new(Outcome::Pass, reason),
        algorithm: algorithm.unwrap_or_else(|| strength(key.algorithm, rule)),
        rule: Some(rule.to_owned()),
        signer: Some(Signer {
            id: path.root_id,
            fingerprint: leaf.fingerprint.clone(),
            algorithm: key.algorithm.name(),
            chain: path.chain,
        }),
        timestamp: None,
        one_time_keys: Vec::new(),
        moment: moment.clone(),
    }
}
