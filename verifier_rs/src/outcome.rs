//! What a check can find. Only `Pass` proves anything.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    Pass,
    Fail,
    Warn,
    Unreadable,
    NotApplicable,
    NotRun,
}

impl Outcome {
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Pass => "pass",
            Outcome::Fail => "fail",
            Outcome::Warn => "warn",
            Outcome::Unreadable => "unreadable",
            Outcome::NotApplicable => "not_applicable",
            Outcome::NotRun => "not_run",
        }
    }
}

/// An outcome and why, in words for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub outcome: Outcome,
    pub reason: String,
}

impl Finding {
    pub fn new(outcome: Outcome, reason: impl Into<String>) -> Self {
        Finding {
            outcome,
            reason: reason.into(),
        }
    }

    /// The worst of several with the reasons of those that are as bad; `None` of none.
    pub fn worst(findings: impl IntoIterator<Item = Finding>) -> Option<Finding> {
        let findings: Vec<_> = findings.into_iter().collect();
        let outcome = worst(findings.iter().map(|finding| finding.outcome))?;
        let mut reasons: Vec<String> = Vec::new();
        for finding in findings {
            if finding.outcome == outcome && !reasons.contains(&finding.reason) {
                reasons.push(finding.reason);
            }
        }
        Some(Finding::new(outcome, reasons.join(" ")))
    }
}

/// fail > unreadable > not_run > warn > pass; not_applicable says nothing.
pub fn worst(outcomes: impl IntoIterator<Item = Outcome>) -> Option<Outcome> {
    let seen: Vec<_> = outcomes.into_iter().collect();
    [
        Outcome::Fail,
        Outcome::Unreadable,
        Outcome::NotRun,
        Outcome::Warn,
        Outcome::Pass,
    ]
    .into_iter()
    .find(|outcome| seen.contains(outcome))
}
