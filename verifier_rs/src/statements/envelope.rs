//! One DSSE envelope as a file: alone, or as the signature of the file that its statement is about.

use serde_json::{Map, Value, json};

use crate::error;
use crate::file::Request;
use crate::formats::{Container, Parsed, Reading};
use crate::keys::method::verify_message;
use crate::outcome::{Finding, Outcome};
use crate::pass::{Pass, Ticket};
use crate::signatures::Detached;
use crate::source::{Source, hex};
use crate::statements::dsse::{Envelope, PAYLOAD_TYPE};
use crate::statements::in_toto::{Author, Facts};
use crate::statements::signers::{self, Signed, Tried};
use crate::statements::whole;
use crate::trust::{Hash, Trust};
use crate::verdict::Verdict;

const WHOLE: &str = "the DSSE envelope";

/// An envelope and the statement in it; nothing in them is worth anything before the signatures are.
pub struct Dsse {
    envelope: Envelope,
    facts: Facts,
    /// The digests of the file that it is the signature of.
    digests: Vec<(Hash, Ticket)>,
}

impl Dsse {
    pub fn read(content: &[u8]) -> Result<Self, String> {
        let envelope = Envelope::parse(content).map_err(|finding| finding.reason)?;
        // The bytes that are verified are the bytes that are parsed.
        let facts = Facts::read(&envelope.payload)?;
        Ok(Dsse {
            envelope,
            facts,
            digests: Vec::new(),
        })
    }

    fn tried(&self, trust: &Trust) -> Vec<Tried> {
        let head = self.envelope.encoding_head();
        let message: [&[u8]; 2] = [head.as_bytes(), &self.envelope.payload];
        let signatures = self.envelope.signatures.iter();
        signatures
            .map(|signature| {
                signers::search(
                    trust,
                    &signature.keyid,
                    None,
                    |_, _| true,
                    |_, key| {
                        verify_message(&key.key, &key.method, &message, &signature.value)
                            .then(|| key.method.rule().to_owned())
                    },
                )
            })
            .collect()
    }

    fn signed(&self, request: &Request<'_>) -> Signed {
        signers::judge(request, WHOLE, &self.tried(request.trust))
    }

    fn checks_by(&self, request: &Request<'_>, signed: &Signed) -> Vec<(&'static str, Finding)> {
        let keys = signed
            .signers
            .iter()
            .filter_map(|place| request.trust.keys.get(*place));
        self.facts.checks(&keys.map(Author::from).collect::<Vec<_>>())
    }

    fn claims_of(&self) -> Map<String, Value> {
        let mut claims = self.facts.claims();
        claims.insert("payload_type".to_owned(), json!(PAYLOAD_TYPE));
        claims
    }
}

/// Read a file that is one envelope.
pub fn parse(source: &Source) -> error::Result<Parsed> {
    Ok(match whole(source)? {
        Err(why) => Err(why),
        Ok(content) => Dsse::read(&content).map(|dsse| -> Box<dyn Container> { Box::new(dsse) }),
    })
}

/// Read an envelope that is the signature of another file.
pub fn detached(content: &[u8]) -> Result<Box<dyn Detached>, String> {
    Ok(Box::new(Dsse::read(content)?))
}

impl Container for Dsse {
    fn plan(&mut self, _: &mut Pass, _: &Trust) {}

    fn judge(&self, _: &Pass, _: &Source, request: &Request<'_>) -> error::Result<Reading> {
        let signed = self.signed(request);
        let subjects = self.facts.statement.subjects.len();
        let mut claims = self.claims_of();
        claims.insert("signatures".to_owned(), Value::Array(signed.rows.clone()));
        Ok(Reading {
            format: Finding::new(
                Outcome::Pass,
                format!(
                    "A well-formed DSSE envelope around an in-toto statement about {subjects} subject(s).{}",
                    signed.note
                ),
            ),
            checks: self.checks_by(request, &signed),
            verdicts: signed.verdicts,
            unsigned: Finding::new(Outcome::Fail, "The envelope carries no signature."),
            claims,
        })
    }
}

impl Detached for Dsse {
    fn form(&self) -> &'static str {
        "in-toto"
    }

    fn plan(&mut self, pass: &mut Pass, size: u64) {
        let hashes = self.facts.hashes().into_iter();
        self.digests = hashes.map(|hash| (hash, pass.digest(0, size, hash))).collect();
    }

    fn judge(&self, pass: &Pass, request: &Request<'_>) -> Vec<Verdict> {
        let digest = |wanted: Hash| {
            let known = self.digests.iter().find(|(hash, _)| *hash == wanted);
            known
                .map(|(_, ticket)| hex(&pass.bytes(*ticket)))
                .unwrap_or_default()
        };
        let signed = self.signed(request);
        if self.facts.about(digest).is_some() {
            return signed.verdicts;
        }
        let about = format!(
            "The in-toto statement is about other bytes: none of its {} subject(s) has this file's digest.",
            self.facts.statement.subjects.len()
        );
        let other = |verdict: Verdict| {
            let key = Finding::new(
                Outcome::NotRun,
                "Not checked: the statement is not about this file.",
            );
            let finding = Finding::new(Outcome::Fail, about.clone());
            Verdict::unproven(&verdict.what, finding, key, request.moment())
        };
        signed.verdicts.into_iter().map(other).collect()
    }

    fn checks(&self, _: &Pass, request: &Request<'_>) -> Vec<(&'static str, Finding)> {
        self.checks_by(request, &self.signed(request))
    }

    fn claims(&self) -> Map<String, Value> {
        self.claims_of()
    }
}
