//! in-toto Statements v1 one at a time: what they are about, and the predicates whose meaning is checked.

use serde_json::{Map, Value, json};

use crate::json;
use crate::outcome::{Finding, Outcome};
use crate::statements::dsse::Statement;
use crate::statements::{MAX_ROWS, outline, shown};
use crate::trust::{Hash, TrustKey};

pub const SLSA_PROVENANCE: &str = "https://slsa.dev/provenance/v1";
pub const SLSA_SUMMARY: &str = "https://slsa.dev/verification_summary/v1";
/// Predicates that are known by name and whose content is left to people.
const KNOWN: [&str; 8] = [
    "https://cyclonedx.org/bom",
    "https://in-toto.io/attestation/link/v0.3",
    "https://in-toto.io/attestation/release/v0.1",
    "https://in-toto.io/attestation/scai/v0.3",
    "https://in-toto.io/attestation/test-result/v0.1",
    "https://in-toto.io/attestation/vulns/v0.1",
    "https://in-toto.io/attestation/vulns/v0.2",
    "https://spdx.dev/Document",
];

/// Who signed, as the trust file names it, and the builders that it is bound to.
#[derive(Clone, Copy)]
pub struct Author<'a> {
    pub id: &'a str,
    pub builders: &'a [String],
}

impl<'a> From<&'a TrustKey> for Author<'a> {
    fn from(key: &'a TrustKey) -> Self {
        Author {
            id: &key.id,
            builders: &key.builders,
        }
    }
}

/// A statement and its predicate.
pub struct Facts {
    pub statement: Statement,
    subjects: Vec<Value>,
    predicate: Value,
}

/// The digests that bind a subject.
const BINDING: [(&str, Hash); 3] = [
    ("sha256", Hash::Sha256),
    ("sha384", Hash::Sha384),
    ("sha512", Hash::Sha512),
];

/// The member of an object, and of the object in it, and so on.
fn at<'a>(value: &'a Value, path: &[&str]) -> &'a Value {
    path.iter()
        .try_fold(value, |value, name| value.get(name))
        .unwrap_or(&Value::Null)
}

fn text(value: &Value) -> Value {
    match value.as_str() {
        Some(text) => Value::String(shown(text)),
        None => Value::Null,
    }
}

impl Facts {
    pub fn read(payload: &[u8]) -> Result<Self, String> {
        let statement = Statement::parse(payload).map_err(|finding| finding.reason)?;
        let mut members = json::object(payload)?;
        let subjects = match members.remove("subject") {
            Some(Value::Array(subjects)) => subjects,
            _ => Vec::new(),
        };
        Ok(Facts {
            statement,
            subjects,
            predicate: members.remove("predicate").unwrap_or(Value::Null),
        })
    }

    /// The digests that are needed to tell whether a file is a subject.
    pub fn hashes(&self) -> Vec<Hash> {
        let used = |name: &str| {
            let subjects = self.subjects.iter();
            subjects
                .into_iter()
                .any(|subject| at(subject, &["digest", name]).is_string())
        };
        let binding = BINDING.iter().filter(|(name, _)| used(name));
        binding.map(|(_, hash)| *hash).collect()
    }

    /// The name of the subject with these digests: at least one binds it, and none that binds contradicts.
    pub fn about(&self, digest: impl Fn(Hash) -> String) -> Option<String> {
        let is = |subject: &&Value| {
            let mut equal = 0_usize;
            for (name, hash) in BINDING {
                match at(subject, &["digest", name]).as_str() {
                    Some(text) if text == digest(hash) => equal = equal.saturating_add(1),
                    Some(_) => return false,
                    None => {}
                }
            }
            equal > 0
        };
        let subject = self.subjects.iter().find(is)?;
        Some(shown(at(subject, &["name"]).as_str().unwrap_or_default()))
    }

    /// What the statement says of itself.
    pub fn claims(&self) -> Map<String, Value> {
        let mut claims = Map::new();
        let subjects: Vec<_> = self.statement.subjects.iter().zip(&self.subjects).collect();
        let row = |subject: &Value| {
            let mut row = Map::from_iter([("name".to_owned(), text(at(subject, &["name"])))]);
            for (name, _) in BINDING {
                if let Some(digest) = at(subject, &["digest", name]).as_str() {
                    row.insert(name.to_owned(), Value::from(digest));
                }
            }
            Value::Object(row)
        };
        let rows = subjects.iter().take(MAX_ROWS).map(|(_, subject)| row(subject));
        claims.insert(
            "predicate_type".to_owned(),
            json!(shown(&self.statement.predicate_type)),
        );
        claims.insert("subject_count".to_owned(), json!(subjects.len()));
        claims.insert("subjects".to_owned(), rows.collect());
        let predicate = match self.statement.predicate_type.as_str() {
            SLSA_PROVENANCE => self.provenance(),
            SLSA_SUMMARY => self.summary(),
            _ => outline(&self.predicate),
        };
        claims.insert("predicate".to_owned(), predicate);
        claims
    }

    fn provenance(&self) -> Value {
        let predicate = &self.predicate;
        let dependencies = at(predicate, &["buildDefinition", "resolvedDependencies"]);
        json!({
            "builder": text(at(predicate, &["runDetails", "builder", "id"])),
            "build_type": text(at(predicate, &["buildDefinition", "buildType"])),
            "external_parameters": outline(at(predicate, &["buildDefinition", "externalParameters"])),
            "resolved_dependencies": dependencies.as_array().map_or(0, Vec::len),
            "invocation": text(at(predicate, &["runDetails", "metadata", "invocationId"])),
            "started": text(at(predicate, &["runDetails", "metadata", "startedOn"])),
            "finished": text(at(predicate, &["runDetails", "metadata", "finishedOn"])),
        })
    }

    fn summary(&self) -> Value {
        let predicate = &self.predicate;
        let levels = at(predicate, &["verifiedLevels"]).as_array();
        let levels = levels.into_iter().flatten().take(MAX_ROWS);
        json!({
            "verifier": text(at(predicate, &["verifier", "id"])),
            "verified": text(at(predicate, &["timeVerified"])),
            "resource": text(at(predicate, &["resourceUri"])),
            "policy": text(at(predicate, &["policy", "uri"])),
            "result": text(at(predicate, &["verificationResult"])),
            "levels": levels.map(text).collect::<Vec<_>>(),
        })
    }

    /// Whether the statement is understood, and whether whom it names as builder may sign so; `signers` are those
    /// approved ones that signed.
    pub fn checks(&self, signers: &[Author<'_>]) -> Vec<(&'static str, Finding)> {
        let mut checks = vec![("statement", self.meaning())];
        let named = match self.statement.predicate_type.as_str() {
            SLSA_PROVENANCE => Some(("builder", ["runDetails", "builder", "id"].as_slice())),
            SLSA_SUMMARY => Some(("verifier", ["verifier", "id"].as_slice())),
            _ => None,
        };
        if let Some((role, path)) = named {
            let id = at(&self.predicate, path).as_str().unwrap_or_default();
            checks.push(("builder", bound(role, id, signers)));
        }
        checks
    }

    fn meaning(&self) -> Finding {
        if let Some(defect) = &self.statement.defect {
            return Finding::new(Outcome::Fail, format!("The statement proves nothing: {defect}."));
        }
        let kind = self.statement.predicate_type.as_str();
        let present = |path: &[&str]| {
            at(&self.predicate, path)
                .as_str()
                .is_some_and(|text| !text.is_empty())
        };
        let lacks = |what: &str| {
            Finding::new(
                Outcome::Unreadable,
                format!("The statement is {kind} and has no {what}."),
            )
        };
        match kind {
            SLSA_PROVENANCE if !present(&["runDetails", "builder", "id"]) => lacks("runDetails.builder.id"),
            SLSA_PROVENANCE if !present(&["buildDefinition", "buildType"]) => {
                lacks("buildDefinition.buildType")
            }
            SLSA_PROVENANCE
                if !at(&self.predicate, &["buildDefinition", "externalParameters"]).is_object() =>
            {
                lacks("buildDefinition.externalParameters")
            }
            SLSA_PROVENANCE => Finding::new(Outcome::Pass, "The statement is SLSA provenance, version 1."),
            SLSA_SUMMARY if !present(&["verifier", "id"]) => lacks("verifier.id"),
            SLSA_SUMMARY => match at(&self.predicate, &["verificationResult"]).as_str() {
                Some("PASSED") => Finding::new(
                    Outcome::Pass,
                    "The statement is an SLSA verification summary, version 1: passed.",
                ),
                Some("FAILED") => Finding::new(
                    Outcome::Fail,
                    "The statement is an SLSA verification summary, and it says that the verification failed.",
                ),
                _ => lacks("verificationResult PASSED or FAILED"),
            },
            known if KNOWN.contains(&known) => Finding::new(
                Outcome::Pass,
                format!("The statement is {known}; what its predicate says is left to people."),
            ),
            other => Finding::new(
                Outcome::Warn,
                format!(
                    "The statement's predicate type {:?} is not known here: nothing in its predicate was judged.",
                    shown(other)
                ),
            ),
        }
    }
}

/// Whether one of the keys that signed is bound to the builder (SLSA: "a builder is trusted by its key and id").
fn bound(role: &str, id: &str, signers: &[Author<'_>]) -> Finding {
    let shown_id = shown(id);
    if signers.is_empty() {
        return Finding::new(
            Outcome::NotRun,
            format!("Not checked: no approved key is known to have signed for {role} {shown_id:?}."),
        );
    }
    if let Some(key) = signers
        .iter()
        .find(|key| key.builders.iter().any(|uri| uri == id))
    {
        return Finding::new(
            Outcome::Pass,
            format!("Key {:?}, which signed, is bound to {role} {shown_id:?}.", key.id),
        );
    }
    let ids: Vec<_> = signers.iter().map(|key| format!("{:?}", key.id)).collect();
    Finding::new(
        Outcome::Fail,
        format!(
            "The statement names {role} {shown_id:?}, and no key that signed ({}) is bound to it. If it may sign for \
             it, add the URI to \"builders\" of its entry in the trust file.",
            ids.join(", ")
        ),
    )
}
