//! Sigstore bundles, verified offline against the trusted roots of the trust file: a signature over a file, or a signed
//! statement (DSSE), with the certificate, the log's entry and the time stamps that came with it.

pub mod body;
pub mod bundle;
pub mod log;
pub mod proof;
pub mod sct;

use serde_json::{Map, Value, json};

use crate::cms::verify::chained;
use crate::error;
use crate::file::Request;
use crate::formats::{Container, Parsed, Reading};
use crate::keys::method::{Method, digest_of, verify_message};
use crate::outcome::{Finding, Outcome};
use crate::pass::{Pass, Ticket};
use crate::signatures::Detached;
use crate::signatures::sigstore::body::Said;
use crate::signatures::sigstore::bundle::{Bundle, Content};
use crate::signatures::sigstore::proof::{Proven, Refused};
use crate::source::{Source, hex};
use crate::statements::in_toto::Author;
use crate::statements::{shown, whole};
use crate::time;
use crate::trust::sigstore::Sigstore as Instance;
use crate::trust::{Hash, Options, Trust};
use crate::verdict::{Verdict, sentence};

const WHAT: &str = "The Sigstore signature";

/// A bundle, and what is needed of the file that it is about.
pub struct Sigstore {
    bundle: Bundle,
    /// How Sigstore signs with a key of this kind (its algorithm registry).
    method: Result<Method, String>,
    digests: Vec<(Hash, Ticket)>,
}

/// Read a file that is a bundle.
pub fn parse(source: &Source) -> error::Result<Parsed> {
    Ok(match whole(source)? {
        Err(why) => Err(why),
        Ok(content) => Sigstore::read(&content).and_then(|read| -> Parsed {
            match read.bundle.content {
                Content::Statement { .. } => Ok(Box::new(read)),
                Content::Message { .. } => Err(
                    "it is the signature of another file; verify that file, and give this one as its signature"
                        .to_owned(),
                ),
            }
        }),
    })
}

/// Read a bundle that is the signature of another file.
pub fn detached(content: &[u8]) -> Result<Box<dyn Detached>, String> {
    Ok(Box::new(Sigstore::read(content)?))
}

impl Sigstore {
    pub fn read(content: &[u8]) -> Result<Self, String> {
        let bundle = Bundle::read(content)?;
        let key = bundle.certificate.usable_key();
        let method = key
            .map_err(|refusal| refusal.words)
            .and_then(|key| Method::of(key, &Options::default()));
        Ok(Sigstore {
            bundle,
            method,
            digests: Vec::new(),
        })
    }

    /// Whether the signature holds, is about the file, and is what the log's entry says; if not, why.
    fn held(&self, file: Option<&dyn Fn(Hash) -> Vec<u8>>) -> Result<(), String> {
        let bundle = &self.bundle;
        let key = bundle.certificate.usable_key().map_err(|refusal| refusal.words)?;
        let method = self.method.as_ref().map_err(String::clone)?;
        let changed =
            "it is not valid under its own certificate: the file, the statement or the signature was changed";
        let said = |hash, digest: &[u8]| {
            let said = Said {
                certificate: &bundle.certificate,
                content: &bundle.content,
                hash,
                digest,
            };
            body::check(&bundle.entry, &said)
        };
        match &bundle.content {
            Content::Message { digest, signature } => {
                let hash = method.hash().ok_or_else(|| {
                    format!(
                        "signatures over files with {} keys are not supported",
                        key.algorithm.name()
                    )
                })?;
                let made = file.map(|file| file(hash)).unwrap_or_default();
                if let Some((named, digest)) = digest
                    && (*named != hash || *digest != made)
                {
                    return Err("it is about other bytes: its digest is not this file's".to_owned());
                }
                if !method.verify_digest(&made, signature) {
                    return Err(changed.to_owned());
                }
                said(hash, &made)
            }
            Content::Statement { envelope, facts } => {
                let head = envelope.encoding_head();
                let message: [&[u8]; 2] = [head.as_bytes(), &envelope.payload];
                if !verify_message(key, method, &message, bundle.content.signature()) {
                    return Err(changed.to_owned());
                }
                let about = |file: &dyn Fn(Hash) -> Vec<u8>| facts.about(|hash| hex(&file(hash))).is_some();
                if !file.is_none_or(about) {
                    return Err(
                        "its statement is about other bytes: no subject has this file's digest".to_owned(),
                    );
                }
                let hash = method.hash().unwrap_or(Hash::Sha256);
                said(hash, &digest_of(hash, &message))
            }
        }
    }

    /// By the first instance of the trust file under which the certificate counts.
    fn proven<'a>(&self, request: &Request<'a>) -> Result<(&'a Instance, Proven), String> {
        let mut furthest: Option<Refused> = None;
        for instance in &request.trust.sigstore {
            match proof::check(&self.bundle, instance, request) {
                Ok(proven) => return Ok((instance, proven)),
                Err(refused) => furthest = furthest.max(Some(refused)),
            }
        }
        Err(furthest.map_or_else(
            || "no Sigstore instance is approved; add its trusted root to the trust file".to_owned(),
            |refused| refused.words,
        ))
    }

    fn verdict(&self, request: &Request<'_>, file: Option<&dyn Fn(Hash) -> Vec<u8>>) -> Verdict {
        let fail = |words: &str| Finding::new(Outcome::Fail, format!("{}.", sentence(words.to_owned())));
        let held = self.held(file);
        let (key, method) = match (&held, self.bundle.certificate.usable_key(), &self.method) {
            (Ok(()), Ok(key), Ok(method)) => (key, method),
            _ => {
                let why = held.err().unwrap_or_default();
                let signature = Finding::new(Outcome::Fail, format!("{WHAT} does not count: {why}."));
                let key = Finding::new(
                    Outcome::NotRun,
                    "Not checked: nobody is proven to have signed this.",
                );
                return Verdict::unproven(WHAT, signature, key, request.moment());
            }
        };
        let leaf = &self.bundle.certificate;
        let holds = Finding::new(
            Outcome::Pass,
            format!("{WHAT} is valid under its certificate, {}.", leaf.fingerprint),
        );
        let (instance, Proven { moment, path, log }) = match self.proven(request) {
            Ok(proven) => proven,
            Err(why) => return Verdict::unproven(WHAT, holds, fail(&why), request.moment()),
        };
        let rule = format!(
            "Sigstore bundle {}, {}",
            self.bundle.version.name(),
            method.rule()
        );
        let mut verdict = chained(WHAT, leaf, key, path, &rule, &moment);
        verdict.signature = holds;
        verdict.key = Finding::new(
            Outcome::Pass,
            format!(
                "Signed by {:?} (issuer {:?}), approved for {} by Sigstore instance {:?}; entry {} of log {log}, judged \
                 at {}.",
                shown(&proof::subject(leaf).unwrap_or_default()),
                shown(&proof::issuer(leaf).unwrap_or_default()),
                request.purpose.name(),
                instance.id,
                self.bundle.entry.index,
                moment.words()
            ),
        );
        verdict
    }

    fn checks_by(&self, verdict: &Verdict, request: &Request<'_>) -> Vec<(&'static str, Finding)> {
        let Content::Statement { facts, .. } = &self.bundle.content else {
            return Vec::new();
        };
        let counts = verdict.key.outcome == Outcome::Pass;
        let signer = verdict.signer.as_ref().filter(|_| counts);
        let instances = request.trust.sigstore.iter();
        let authors: Vec<Author<'_>> = instances
            .filter(|instance| signer.is_some_and(|signer| signer.id == instance.id))
            .map(|instance| Author {
                id: &instance.id,
                builders: &instance.builders,
            })
            .collect();
        facts.checks(&authors)
    }

    fn claims_of(&self) -> Map<String, Value> {
        let Bundle {
            certificate, entry, ..
        } = &self.bundle;
        let mut claims = match &self.bundle.content {
            Content::Statement { facts, .. } => facts.claims(),
            Content::Message { .. } => Map::new(),
        };
        let text = |text: Result<String, String>| text.ok().map(|text| shown(&text));
        let integrated = entry.integrated.and_then(|at| u32::try_from(at).ok());
        let further = json!({
            "bundle_version": self.bundle.version.name(),
            "identity": text(proof::subject(certificate)),
            "issuer": text(proof::issuer(certificate)),
            "log_id": hex(&entry.log),
            "log_index": entry.index,
            "log_entry": shown(&format!("{} {}", entry.kind, entry.version)),
            "log_time": integrated.map(|at| time::format(f64::from(at))),
            "timestamps": self.bundle.stamps.len(),
        });
        if let Value::Object(further) = further {
            claims.extend(further);
        }
        claims
    }
}

impl Detached for Sigstore {
    fn form(&self) -> &'static str {
        "sigstore"
    }

    fn plan(&mut self, pass: &mut Pass, size: u64) {
        let hashes = match &self.bundle.content {
            Content::Statement { facts, .. } => facts.hashes(),
            Content::Message { .. } => self.method.iter().filter_map(Method::hash).collect(),
        };
        let ticket = |hash| (hash, pass.digest(0, size, hash));
        self.digests = hashes.into_iter().map(ticket).collect();
    }

    fn judge(&self, pass: &Pass, request: &Request<'_>) -> Vec<Verdict> {
        vec![self.detached(pass, request)]
    }

    fn checks(&self, pass: &Pass, request: &Request<'_>) -> Vec<(&'static str, Finding)> {
        self.checks_by(&self.detached(pass, request), request)
    }

    fn claims(&self) -> Map<String, Value> {
        self.claims_of()
    }
}

impl Sigstore {
    fn detached(&self, pass: &Pass, request: &Request<'_>) -> Verdict {
        let digest = |wanted: Hash| {
            let made = self.digests.iter().find(|(hash, _)| *hash == wanted);
            made.map(|(_, ticket)| pass.bytes(*ticket)).unwrap_or_default()
        };
        self.verdict(request, Some(&digest))
    }
}

impl Container for Sigstore {
    fn plan(&mut self, _: &mut Pass, _: &Trust) {}

    fn judge(&self, _: &Pass, _: &Source, request: &Request<'_>) -> error::Result<Reading> {
        let verdict = self.verdict(request, None);
        Ok(Reading {
            format: Finding::new(
                Outcome::Pass,
                format!(
                    "A well-formed Sigstore bundle, version {}, around an in-toto statement.",
                    self.bundle.version.name()
                ),
            ),
            checks: self.checks_by(&verdict, request),
            verdicts: vec![verdict],
            unsigned: Finding::new(Outcome::Fail, "The bundle carries no signature."),
            claims: self.claims_of(),
        })
    }
}
