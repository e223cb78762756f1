//! What was found inside an image: where, what, how grave.

use serde_json::{Map, Value, json};

use crate::outcome::{Finding, Outcome};

/// The checks of this room, in the order of the report.
pub const PRIVATE_KEYS: &str = "content.private_keys";
pub const CERTIFICATES: &str = "content.certificates";
pub const TEST_KEYS: &str = "content.test_keys";
pub const CREDENTIALS: &str = "content.credentials";
pub const KNOWN_BAD: &str = "content.known_bad";
pub const RULES: &str = "content.rules";
pub const SBOM: &str = "content.sbom";
pub const PROFILE: &str = "content.profile";

/// Findings of one check that are listed; how many there were is said in any case.
pub const MAX_LISTED: usize = 200;

/// How grave a finding is. A note is a fact without a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Note,
    Warn,
    Fail,
}

impl Level {
    pub fn name(self) -> &'static str {
        match self {
            Level::Note => "note",
            Level::Warn => "warn",
            Level::Fail => "fail",
        }
    }

    fn outcome(self) -> Outcome {
        match self {
            Level::Note => Outcome::Pass,
            Level::Warn => Outcome::Warn,
            Level::Fail => Outcome::Fail,
        }
    }
}

#[derive(Clone, Debug)]
pub struct Found {
    pub level: Level,
    pub offset: u64,
    pub length: u64,
    /// One sentence for people.
    pub what: String,
    pub facts: Map<String, Value>,
}

impl Found {
    pub fn new(level: Level, offset: u64, length: u64, what: impl Into<String>) -> Self {
        Found {
            level,
            offset,
            length,
            what: what.into(),
            facts: Map::new(),
        }
    }

    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.facts.insert(name.to_owned(), value.into());
        self
    }
}

/// One check and what it rests on.
pub struct Check {
    pub id: &'static str,
    pub finding: Finding,
    pub found: Vec<Found>,
}

impl Check {
    /// From what was found: the gravest finding decides and the first three are named; nothing found is `clean`.
    pub fn of(id: &'static str, mut found: Vec<Found>, clean: Finding) -> Self {
        found.sort_by_key(|item| (std::cmp::Reverse(item.level), item.offset));
        let Some(worst) = found.first().map(|item| item.level) else {
            return Check {
                id,
                finding: clean,
                found,
            };
        };
        if worst == Level::Note {
            return Check {
                id,
                finding: clean,
                found,
            };
        }
        let grave: Vec<&Found> = found.iter().filter(|item| item.level == worst).collect();
        let mut words: Vec<String> = grave
            .iter()
            .take(3)
            .map(|item| format!("{} at offset 0x{:x}", item.what, item.offset))
            .collect();
        let more = grave.len().saturating_sub(words.len());
        if more > 0 {
            words.push(format!("and {more} more"));
        }
        let finding = Finding::new(worst.outcome(), format!("{}.", words.join("; ")));
        Check { id, finding, found }
    }

    pub fn json(&self) -> Value {
        json!({
            "id": self.id,
            "outcome": self.finding.outcome.name(),
            "reason": self.finding.reason,
        })
    }

    pub fn findings(&self) -> impl Iterator<Item = Value> + '_ {
        self.found.iter().take(MAX_LISTED).map(|item| {
            json!({
                "check": self.id,
                "level": item.level.name(),
                "offset": item.offset,
                "length": item.length,
                "what": item.what,
                "facts": item.facts,
            })
        })
    }
}

/// A check that was not made because there is nothing for it.
pub fn not_applicable(id: &'static str, reason: impl Into<String>) -> Check {
    Check {
        id,
        finding: Finding::new(Outcome::NotApplicable, reason),
        found: Vec::new(),
    }
}
