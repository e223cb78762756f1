//! The times in a token (RFC 7519 §4.1, RFC 8392 §3.1): from when until when its issuer stands by it.

use serde_json::{Map, Value};

use crate::outcome::{Finding, Outcome};
use crate::time;

/// Clocks differ.
const LEEWAY: f64 = 60.0;

/// Seconds since 1970, where the token gives them.
#[derive(Default)]
pub struct Times {
    pub expires: Option<f64>,
    pub not_before: Option<f64>,
    pub issued: Option<f64>,
}

impl Times {
    /// From the claims of a JSON Web Token.
    pub fn of_json(claims: &Map<String, Value>) -> Result<Self, String> {
        let time = |name: &str| match claims.get(name) {
            None => Ok(None),
            Some(value) => value
                .as_f64()
                .map(Some)
                .ok_or_else(|| format!("{name}: expected a number of seconds, found another value")),
        };
        Ok(Times {
            expires: time("exp")?,
            not_before: time("nbf")?,
            issued: time("iat")?,
        })
    }

    /// Whether the token counts at `at`; `None` where it gives no time.
    pub fn finding(&self, at: f64) -> Option<Finding> {
        let now = time::format(at);
        let later = |time: Option<f64>| time.filter(|time| *time > at + LEEWAY);
        if let Some(expires) = self.expires.filter(|expires| at >= *expires + LEEWAY) {
            let expires = time::format(expires);
            return Some(Finding::new(
                Outcome::Fail,
                format!("The statement expired at {expires}; the evidence is dated {now}."),
            ));
        }
        if let Some(begin) = later(self.not_before) {
            let begin = time::format(begin);
            return Some(Finding::new(
                Outcome::Fail,
                format!("The statement counts from {begin} on; the evidence is dated {now}."),
            ));
        }
        if let Some(issued) = later(self.issued) {
            let issued = time::format(issued);
            return Some(Finding::new(
                Outcome::Fail,
                format!("The statement says that it was issued at {issued}; the evidence is dated {now}."),
            ));
        }
        (self.expires.is_some() || self.not_before.is_some()).then(|| {
            Finding::new(
                Outcome::Pass,
                format!("The statement counts at the time of receipt, {now}."),
            )
        })
    }

    /// For people.
    pub fn claims(&self, claims: &mut Map<String, Value>) {
        for (name, time) in [
            ("issued", self.issued),
            ("not_before", self.not_before),
            ("expires", self.expires),
        ] {
            if let Some(time) = time {
                claims.insert(name.to_owned(), Value::String(time::format(time)));
            }
        }
    }
}
