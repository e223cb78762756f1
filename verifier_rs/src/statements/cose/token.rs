//! CBOR Web Tokens (RFC 8392): the claims of a payload, or of the header (RFC 9597).

use serde_json::{Map, json};

use crate::cbor::{self, Value};
use crate::source::hex;
use crate::statements::shown;
use crate::statements::times::Times;

/// What is read of a token.
#[derive(Default)]
pub struct Token {
    issuer: Option<String>,
    subject: Option<String>,
    audience: Option<String>,
    id: Option<String>,
    others: usize,
    pub times: Times,
}

/// Whether this could be the claims of a token: a map with a registered claim.
pub fn looks_like(payload: &[u8]) -> bool {
    match cbor::read(payload) {
        Ok(Value::Map(claims)) => claims.iter().any(|(key, _)| matches!(key, Value::Int(1..=7))),
        _ => false,
    }
}

impl Token {
    /// Read a payload that is one map.
    pub fn read(payload: &[u8]) -> Result<Self, String> {
        Self::of(&cbor::read(payload)?)
    }

    /// From the claims themselves.
    pub fn of(claims: &Value<'_>) -> Result<Self, String> {
        let Value::Map(claims) = claims else {
            return Err("expected a map of claims, found another value".to_owned());
        };
        let mut token = Token::default();
        for (key, value) in claims {
            let wrong = |name: &str| format!("{name}: found a value of another type");
            let text = |name: &str| match value {
                Value::Text(text) => Ok(Some(shown(text))),
                _ => Err(wrong(name)),
            };
            let time = |name: &str| match value {
                // Seconds of any year that has four digits fit a double exactly.
                Value::Int(seconds) => i32::try_from(*seconds / 1_000_000)
                    .ok()
                    .zip(i32::try_from(*seconds % 1_000_000).ok())
                    .map(|(millions, rest)| Some(f64::from(millions) * 1e6 + f64::from(rest)))
                    .ok_or_else(|| wrong(name)),
                Value::Float(seconds) => Ok(Some(*seconds)),
                _ => Err(wrong(name)),
            };
            match key {
                Value::Int(1) => token.issuer = text("iss (1)")?,
                Value::Int(2) => token.subject = text("sub (2)")?,
                Value::Int(3) => match value {
                    Value::Array(audiences) => {
                        token.audience = Some(format!("{} audiences", audiences.len()))
                    }
                    _ => token.audience = text("aud (3)")?,
                },
                Value::Int(4) => token.times.expires = time("exp (4)")?,
                Value::Int(5) => token.times.not_before = time("nbf (5)")?,
                Value::Int(6) => token.times.issued = time("iat (6)")?,
                Value::Int(7) => match value {
                    Value::Bytes(id) => token.id = Some(shown(&hex(id))),
                    _ => return Err(wrong("cti (7)")),
                },
                _ => token.others = token.others.saturating_add(1),
            }
        }
        Ok(token)
    }

    /// For people.
    pub fn claims(&self, claims: &mut Map<String, serde_json::Value>) {
        for (name, text) in [
            ("issuer", &self.issuer),
            ("subject", &self.subject),
            ("audience", &self.audience),
            ("token_id", &self.id),
        ] {
            if let Some(text) = text {
                claims.insert(name.to_owned(), json!(text));
            }
        }
        if self.others > 0 {
            claims.insert("other_claims".to_owned(), json!(self.others));
        }
        self.times.claims(claims);
    }
}
