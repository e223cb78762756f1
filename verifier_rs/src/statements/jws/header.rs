//! The header of one signature (RFC 7515 §4): what is understood, what is refused, what is only a hint.

use base64::Engine;
use serde_json::{Map, Value};

use crate::encoding::BARE;
use crate::json;
use crate::statements::shown;

const MAX_HEADER: usize = 64 * 1024;
/// Ways to bring one's own key. What a message says of its key never is a reason to trust it.
const OWN_KEYS: [&str; 4] = ["jwk", "jku", "x5u", "x5c"];

/// The header of one signature.
pub struct Header {
    /// The protected header as it stands in what is signed.
    pub text: String,
    /// Both headers; no name is in both.
    pub members: Map<String, Value>,
    pub algorithm: String,
    pub key_id: String,
    /// Whether the payload is signed in base64url (RFC 7797).
    pub encoded: bool,
    /// Why no signature with this header counts, as half a sentence.
    pub refusal: Option<String>,
}

impl Header {
    /// Read the protected header, in base64url, and the unprotected one.
    pub fn read(protected: &str, unprotected: Map<String, Value>) -> Result<Self, String> {
        if protected.len() > MAX_HEADER {
            return Err(format!(
                "the protected header has {} characters, expected at most {MAX_HEADER}",
                protected.len()
            ));
        }
        let mut members = match protected {
            "" => Map::new(),
            text => {
                let decoded = BARE
                    .decode(text)
                    .map_err(|_| "the protected header is not strict base64url without padding")?;
                json::object(&decoded).map_err(|why| format!("the protected header: {why}"))?
            }
        };
        let refusal = refusal(&members).or_else(|| {
            unprotected
                .contains_key("crit")
                .then(|| "names critical parameters in its unprotected header".to_owned())
        });
        let encoded = match members.get("b64") {
            None => true,
            Some(Value::Bool(encoded)) => *encoded,
            Some(_) => return Err("b64: expected true or false".to_owned()),
        };
        if !encoded && !critical(&members).iter().any(|name| name == "b64") {
            return Err("b64 is false and not named in crit (RFC 7797 §6)".to_owned());
        }
        if unprotected.contains_key("b64") {
            return Err("b64 stands in the unprotected header".to_owned());
        }
        for (name, value) in unprotected {
            if members.contains_key(&name) {
                let name = shown(&name);
                return Err(format!(
                    "{name:?} stands in the protected and in the unprotected header (RFC 7515 §7.2.1)"
                ));
            }
            members.insert(name, value);
        }
        let word = |name: &str| match members.get(name) {
            None => Ok(String::new()),
            Some(Value::String(text)) => Ok(text.clone()),
            Some(_) => Err(format!("{name}: expected text, found another value")),
        };
        Ok(Header {
            text: protected.to_owned(),
            algorithm: word("alg")?,
            key_id: word("kid")?,
            encoded,
            refusal,
            members,
        })
    }

    /// The members by which it brings its own key; they are passed over.
    pub fn own_keys(&self) -> Vec<&'static str> {
        let there = |name: &&str| self.members.contains_key(*name);
        OWN_KEYS.into_iter().filter(there).collect()
    }
}

fn critical(protected: &Map<String, Value>) -> &[Value] {
    protected
        .get("crit")
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// What in the protected header makes every signature with it worthless.
fn refusal(protected: &Map<String, Value>) -> Option<String> {
    if let Some(crit) = protected.get("crit") {
        let names = critical(protected);
        let double = (1..names.len()).any(|place| match names.split_at_checked(place) {
            Some((before, [name, ..])) => before.contains(name),
            _ => false,
        });
        if names.is_empty() || double {
            return Some("has a crit that is not a list of different names".to_owned());
        }
        let unknown = names
            .iter()
            .find(|name| name.as_str() != Some("b64") || !protected.contains_key("b64"));
        if let Some(name) = unknown {
            let name = shown(&name.to_string());
            return Some(format!(
                "needs {name} to be understood (crit), which is not known here or not there"
            ));
        }
        debug_assert!(crit.is_array());
    }
    let Some(algorithm) = protected.get("alg").and_then(Value::as_str) else {
        return Some("has no alg in its protected header, where nobody could change it".to_owned());
    };
    if algorithm.eq_ignore_ascii_case("none") {
        return Some(format!("says alg {algorithm:?}: it is no signature"));
    }
    if algorithm
        .get(..2)
        .is_some_and(|begin| begin.eq_ignore_ascii_case("hs"))
    {
        let algorithm = shown(algorithm);
        return Some(format!(
            "says alg {algorithm:?}: whoever can check a code with a shared secret can make one, so it proves nothing"
        ));
    }
    None
}
