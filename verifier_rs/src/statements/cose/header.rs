//! Protected and unprotected header (RFC 9052 §3): what is understood, what is refused, what is only a hint.

use serde_json::{Map, json};

use crate::cbor::{self, Value};
use crate::source::hex;
use crate::statements::shown;
use crate::trust::Hash;

const MAX_HEADER: usize = 64 * 1024;
pub const ALG: i64 = 1;
const CRIT: i64 = 2;
const CONTENT_TYPE: i64 = 3;
const KID: i64 = 4;
pub const CWT_CLAIMS: i64 = 15;
const TYP: i64 = 16;
/// RFC 9995: what is signed is a digest, of what, and where that may be found.
const PAYLOAD_HASH_ALG: i64 = 258;
const PREIMAGE_TYPE: i64 = 259;
const PAYLOAD_LOCATION: i64 = 260;
/// Ways to bring one's own certificate (RFC 9360). What a message says of its key never is a reason to trust it.
const OWN_KEYS: [(i64, &str); 3] = [(32, "x5bag"), (33, "x5chain"), (35, "x5u")];
/// What may be critical.
const UNDERSTOOD: [i64; 9] = [
    ALG,
    CRIT,
    CONTENT_TYPE,
    KID,
    CWT_CLAIMS,
    TYP,
    PAYLOAD_HASH_ALG,
    PREIMAGE_TYPE,
    PAYLOAD_LOCATION,
];

#[derive(Clone, PartialEq)]
enum Label<'a> {
    Int(i64),
    Text(&'a str),
}

/// Both headers of a message or of one signature.
pub struct Header<'a> {
    /// The protected one as it is signed; empty where it has nothing.
    pub protected: &'a [u8],
    sealed: Vec<(Label<'a>, Value<'a>)>,
    open: Vec<(Label<'a>, Value<'a>)>,
    pub key_id: String,
    /// The registered number; names are not registered for any algorithm that is verified here.
    pub algorithm: Option<i64>,
    /// Why no signature with this header counts, as half a sentence.
    pub refusal: Option<String>,
}

fn labels<'a>(map: Vec<(Value<'a>, Value<'a>)>) -> Result<Vec<(Label<'a>, Value<'a>)>, String> {
    let label = |key: &Value<'a>| match key {
        Value::Int(number) => i64::try_from(*number)
            .map(Label::Int)
            .map_err(|_| format!("the label {number} is outside of 64 bits")),
        Value::Text(text) => Ok(Label::Text(text)),
        _ => Err("a label is neither a number nor a text".to_owned()),
    };
    map.into_iter()
        .map(|(key, value)| Ok((label(&key)?, value)))
        .collect()
}

fn find<'v, 'a>(labels: &'v [(Label<'a>, Value<'a>)], wanted: i64) -> Option<&'v Value<'a>> {
    let (_, value) = labels.iter().find(|(label, _)| *label == Label::Int(wanted))?;
    Some(value)
}

impl<'a> Header<'a> {
    /// Read `protected` (a byte string) and `unprotected` (a map). A signature needs an algorithm, a body does not.
    pub fn read(protected: Value<'a>, unprotected: Value<'a>, needs_alg: bool) -> Result<Self, String> {
        let (Value::Bytes(bytes), Value::Map(open)) = (protected, unprotected) else {
            return Err("expected a byte string and a map as headers".to_owned());
        };
        if bytes.len() > MAX_HEADER {
            return Err(format!(
                "the protected header has {} bytes, expected at most {MAX_HEADER}",
                bytes.len()
            ));
        }
        let sealed = match bytes {
            [] => Vec::new(),
            bytes => match cbor::read(bytes).map_err(|why| format!("the protected header: {why}"))? {
                Value::Map(map) => map,
                _ => return Err("the protected header is no map".to_owned()),
            },
        };
        let (sealed, open) = (labels(sealed)?, labels(open)?);
        if sealed
            .iter()
            .any(|(label, _)| open.iter().any(|(other, _)| other == label))
        {
            return Err("a label stands in the protected and in the unprotected header".to_owned());
        }
        for (label, name) in [
            (PAYLOAD_HASH_ALG, "the payload's hash algorithm"),
            (PREIMAGE_TYPE, "the type of what was hashed"),
            (PAYLOAD_LOCATION, "the location of what was hashed"),
        ] {
            if find(&open, label).is_some() {
                return Err(format!("{name} stands in the unprotected header (RFC 9995 §3)"));
            }
        }
        if find(&sealed, PAYLOAD_HASH_ALG).is_some() && find(&sealed, CONTENT_TYPE).is_some() {
            return Err(
                "content type and the payload's hash algorithm exclude each other (RFC 9995 §4)".to_owned(),
            );
        }
        let key_id = match find(&sealed, KID).or_else(|| find(&open, KID)) {
            None => String::new(),
            Some(Value::Bytes(bytes)) => str::from_utf8(bytes).map_or_else(|_| hex(bytes), ToOwned::to_owned),
            Some(_) => return Err("kid: expected a byte string".to_owned()),
        };
        let algorithm = match find(&sealed, ALG) {
            Some(Value::Int(number)) => i64::try_from(*number).ok(),
            _ => None,
        };
        let mut refusal = critical(&sealed, &open);
        if needs_alg && find(&sealed, ALG).is_none() {
            refusal = Some("has no alg in its protected header, where nobody could change it".to_owned());
        }
        Ok(Header {
            // RFC 9052 §4.4: no protected parameters are signed as an empty byte string, however they were sent.
            protected: if sealed.is_empty() { &[] } else { bytes },
            sealed,
            open,
            key_id,
            algorithm,
            refusal,
        })
    }

    /// The algorithm for people.
    pub fn algorithm_text(&self) -> String {
        match find(&self.sealed, ALG) {
            Some(Value::Int(number)) => number.to_string(),
            Some(Value::Text(text)) => shown(text),
            _ => String::new(),
        }
    }

    /// A parameter that nobody could change.
    pub fn sealed(&self, label: i64) -> Option<&Value<'a>> {
        find(&self.sealed, label)
    }

    /// Whether the message says that its payload is a CBOR Web Token.
    pub fn says_token(&self) -> bool {
        let typed = [TYP, CONTENT_TYPE]
            .into_iter()
            .filter_map(|label| self.sealed(label));
        typed
            .into_iter()
            .any(|value| matches!(value, Value::Int(61) | Value::Text("application/cwt")))
    }

    /// The hash by which the payload stands for something else (RFC 9995); an error where it is not accepted.
    pub fn payload_hash(&self) -> Option<Result<Hash, String>> {
        Some(match self.sealed(PAYLOAD_HASH_ALG)? {
            Value::Int(-16) => Ok(Hash::Sha256),
            Value::Int(-43) => Ok(Hash::Sha384),
            Value::Int(-44) => Ok(Hash::Sha512),
            Value::Int(other) => Err(format!(
                "the payload is a digest by algorithm {other}; expected SHA-256 (-16), SHA-384 (-43) or SHA-512 (-44)"
            )),
            _ => Err("the payload's hash algorithm is no number".to_owned()),
        })
    }

    /// The members by which it brings its own key; they are passed over.
    pub fn own_keys(&self) -> Vec<&'static str> {
        let there = |label: i64| {
            find(&self.sealed, label)
                .or_else(|| find(&self.open, label))
                .is_some()
        };
        let named = OWN_KEYS.iter().filter(|(label, _)| there(*label));
        named.map(|(_, name)| *name).collect()
    }

    /// What it says, for people.
    pub fn claims(&self) -> serde_json::Value {
        let mut out = Map::new();
        out.insert("algorithm".to_owned(), json!(self.algorithm_text()));
        if !self.key_id.is_empty() {
            out.insert("key_id".to_owned(), json!(shown(&self.key_id)));
        }
        for (label, name) in [
            (CONTENT_TYPE, "content_type"),
            (TYP, "type"),
            (PREIMAGE_TYPE, "preimage_type"),
            (PAYLOAD_LOCATION, "payload_location"),
        ] {
            match find(&self.sealed, label).or_else(|| find(&self.open, label)) {
                Some(Value::Text(text)) => out.insert(name.to_owned(), json!(shown(text))),
                Some(Value::Int(number)) => out.insert(name.to_owned(), json!(number.to_string())),
                _ => None,
            };
        }
        serde_json::Value::Object(out)
    }
}

/// What the parameter crit makes worthless.
fn critical<'a>(sealed: &[(Label<'a>, Value<'a>)], open: &[(Label<'a>, Value<'a>)]) -> Option<String> {
    if find(open, CRIT).is_some() {
        return Some("names critical parameters in its unprotected header".to_owned());
    }
    let names = match find(sealed, CRIT)? {
        Value::Array(names) if !names.is_empty() => names,
        _ => return Some("has a crit that is not a list of labels".to_owned()),
    };
    let unknown = names.iter().find(|name| match name {
        Value::Int(number) => !i64::try_from(*number)
            .is_ok_and(|label| UNDERSTOOD.contains(&label) && find(sealed, label).is_some()),
        _ => true,
    })?;
    let name = match unknown {
        Value::Int(number) => number.to_string(),
        Value::Text(text) => format!("{:?}", shown(text)),
        _ => "something that is no label".to_owned(),
    };
    Some(format!(
        "needs {name} to be understood (crit), which is not known here or not there"
    ))
}
