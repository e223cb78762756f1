//! The report on one file: one versioned JSON document, the same for everyone who asks.
//!
//! Version 1 grows by new members only; docs/formats.md describes it.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::confined::Confinement;
use crate::file::FileReport;
use crate::keys::CertificateFacts;
use crate::outcome::{Finding, Outcome};
use crate::source::hex;
use crate::time;
use crate::verdict::{Moment, TimeSource, Verdict};

const VERSION: u32 = 1;
/// Changes with every change of what is checked or how; kept with each verdict.
pub const RULES: &str = concat!("lotgate-verifier ", env!("CARGO_PKG_VERSION"), " rules 2026-11");

#[derive(Serialize)]
struct Document<'a> {
    version: u32,
    rules: &'static str,
    purpose: &'static str,
    size: u64,
    digests: DigestMembers,
    format: &'static str,
    outcome: &'static str,
    time: TimeMembers,
    checks: Vec<CheckMembers<'a>>,
    signatures: Vec<SignatureMembers<'a>>,
    claims: &'a Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signature_file: Option<SignatureFile<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    confinement: Option<&'a Confinement>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<FaultMembers>,
}

#[derive(Serialize)]
struct FaultMembers {
    kind: &'static str,
    reason: String,
}

#[derive(Serialize)]
struct DigestMembers {
    sha256: String,
    blake3: String,
}

#[derive(Serialize)]
struct TimeMembers {
    at: String,
    source: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    authority: Option<String>,
}

#[derive(Serialize)]
struct CheckMembers<'a> {
    id: &'a str,
    outcome: &'static str,
    reason: &'a str,
}

#[derive(Serialize)]
struct FindingMembers<'a> {
    outcome: &'static str,
    reason: &'a str,
}

#[derive(Serialize)]
struct SignatureMembers<'a> {
    what: &'a str,
    outcome: &'static str,
    signature: FindingMembers<'a>,
    key: FindingMembers<'a>,
    algorithm: FindingMembers<'a>,
    rule: Option<&'a str>,
    signer: Option<SignerMembers<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time_stamp: Option<FindingMembers<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    one_time_keys: Vec<OneTimeKeyMembers<'a>>,
    time: TimeMembers,
}

/// RFC 8554: I, q and Q of one level.
#[derive(Serialize)]
struct OneTimeKeyMembers<'a> {
    level: u32,
    identifier: &'a str,
    index: u32,
    signed: &'a str,
}

#[derive(Serialize)]
struct SignerMembers<'a> {
    id: &'a str,
    fingerprint: &'a str,
    algorithm: &'a str,
    chain: Vec<CertificateMembers<'a>>,
}

#[derive(Serialize)]
struct CertificateMembers<'a> {
    subject: &'a str,
    issuer: &'a str,
    not_before: String,
    not_after: String,
}

#[derive(Serialize)]
struct SignatureFile<'a> {
    form: &'static str,
    claims: &'a Map<String, Value>,
}

impl<'a> From<&'a Finding> for FindingMembers<'a> {
    fn from(finding: &'a Finding) -> Self {
        FindingMembers {
            outcome: finding.outcome.name(),
            reason: &finding.reason,
        }
    }
}

fn moment(moment: &Moment) -> TimeMembers {
    let (source, authority) = match &moment.source {
        TimeSource::Receipt => ("receipt", None),
        TimeSource::Timestamp { authority } => ("timestamp", Some(authority.clone())),
    };
    TimeMembers {
        at: time::format(moment.at),
        source,
        authority,
    }
}

fn certificate(facts: &CertificateFacts) -> CertificateMembers<'_> {
    CertificateMembers {
        subject: &facts.subject,
        issuer: &facts.issuer,
        not_before: time::format(facts.not_before),
        not_after: time::format(facts.not_after),
    }
}

fn signature(verdict: &Verdict) -> SignatureMembers<'_> {
    let findings = [&verdict.signature, &verdict.key, &verdict.algorithm];
    let outcome = crate::outcome::worst(findings.iter().map(|finding| finding.outcome));
    SignatureMembers {
        what: &verdict.what,
        outcome: outcome.unwrap_or(Outcome::NotRun).name(),
        signature: (&verdict.signature).into(),
        key: (&verdict.key).into(),
        algorithm: (&verdict.algorithm).into(),
        rule: verdict.rule.as_deref(),
        signer: verdict.signer.as_ref().map(|signer| SignerMembers {
            id: &signer.id,
            fingerprint: &signer.fingerprint,
            algorithm: &signer.algorithm,
            chain: signer.chain.iter().map(certificate).collect(),
        }),
        time_stamp: verdict.timestamp.as_ref().map(Into::into),
        one_time_keys: verdict
            .one_time_keys
            .iter()
            .map(|key| OneTimeKeyMembers {
                level: key.level,
                identifier: &key.identifier,
                index: key.index,
                signed: &key.signed,
            })
            .collect(),
        time: moment(&verdict.moment),
    }
}

/// The report as a JSON document.
pub fn document(report: &FileReport) -> serde_json::Result<String> {
    serde_json::to_string(&Document {
        version: VERSION,
        rules: RULES,
        purpose: report.purpose.name(),
        size: report.digests.size,
        digests: DigestMembers {
            sha256: hex(&report.digests.sha256),
            blake3: hex(&report.digests.blake3),
        },
        format: report.format.name(),
        outcome: report.outcome.name(),
        time: moment(&report.moment),
        checks: report
            .checks
            .iter()
            .map(|check| CheckMembers {
                id: &check.id,
                outcome: check.finding.outcome.name(),
                reason: &check.finding.reason,
            })
            .collect(),
        signatures: report.verdicts.iter().map(signature).collect(),
        claims: &report.claims,
        signature_file: report.signature_form.map(|form| SignatureFile {
            form,
            claims: &report.signature_claims,
        }),
        confinement: report.confinement.as_ref(),
        fault: report.fault.as_ref().map(|fault| FaultMembers {
            kind: fault.kind(),
            reason: fault.reason(),
        }),
    })
}
