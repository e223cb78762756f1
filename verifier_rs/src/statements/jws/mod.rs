//! JSON Web Signatures (RFC 7515): compact, flattened and general, with their payload or as the signature of a file.

mod header;

use base64::Engine;
use serde_json::{Map, Value, json};

use crate::encoding::BARE;
use crate::error;
use crate::file::Request;
use crate::formats::{Container, Parsed, Reading};
use crate::json;
use crate::outcome::{Finding, Outcome};
use crate::pass::Pass;
use crate::signatures::Detached;
use crate::source::Source;
use crate::statements::awaited::{Awaited, Form};
use crate::statements::jws::header::Header;
use crate::statements::signers::{self, Tried};
use crate::statements::times::Times;
use crate::statements::{MAX_ROWS, outline, registered, shown, whole};
use crate::trust::{Trust, TrustKey};
use crate::verdict::Verdict;

const WHOLE: &str = "the JWS";
const MAX_SIGNATURES: usize = 16;

struct Signature {
    header: Header,
    value: Vec<u8>,
}

/// What is signed; `text` as it stands in what is signed.
struct Payload {
    text: String,
    bytes: Vec<u8>,
}

/// A JWS whose form is sound.
pub struct Jws {
    serialization: &'static str,
    payload: Option<Payload>,
    signatures: Vec<Signature>,
    awaited: Vec<Option<Awaited>>,
}

/// A JSON object in base64url begins with "e".
pub fn may_be_compact(start: &[u8]) -> bool {
    start.starts_with(b"ey") || start.starts_with(b"ew")
}

/// Whether the first part is the header of a JWS or JWE.
pub fn is_compact(content: &[u8]) -> bool {
    let head = content.split(|byte| *byte == b'.').next().unwrap_or_default();
    may_be_compact(content)
        && head.len() < content.len()
        && BARE
            .decode(head)
            .is_ok_and(|header| json::first_keys(&header).iter().any(|key| key == "alg"))
}

fn strict(text: &str, what: &str) -> Result<Vec<u8>, String> {
    BARE.decode(text)
        .map_err(|_| format!("{what} is not strict base64url without padding"))
}

impl Jws {
    pub fn read(content: &[u8]) -> Result<Self, String> {
        if content.trim_ascii_start().starts_with(b"{") {
            Self::json(content)
        } else {
            Self::compact(content)
        }
    }

    fn compact(content: &[u8]) -> Result<Self, String> {
        let text = str::from_utf8(content).map_err(|_| "a compact JWS is ASCII, found other bytes")?;
        // Editors and shells end a file with a line end; inside, none is allowed.
        let text = text.strip_suffix('\n').unwrap_or(text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        let parts: Vec<_> = text.split('.').collect();
        let [protected, payload, signature] = parts.as_slice() else {
            return Err(match parts.len() {
                5 => "it is encrypted (JWE, five parts); encryption proves nothing about who made it"
                    .to_owned(),
                parts => format!("expected three parts between dots, found {parts}"),
            });
        };
        let signature = Signature {
            header: Header::read(protected, Map::new())?,
            value: strict(signature, "the signature")?,
        };
        let payload = (!payload.is_empty()).then_some(*payload);
        Self::of("compact", payload, vec![signature])
    }

    fn json(content: &[u8]) -> Result<Self, String> {
        let mut members = json::object(content)?;
        let payload = member(&mut members, "payload")?;
        let (serialization, signatures) = match members.remove("signatures") {
            Some(Value::Array(signatures)) => {
                for name in ["signature", "protected", "header"] {
                    if members.contains_key(name) {
                        return Err(format!("it has signatures and beside them {name}"));
                    }
                }
                ("general", signatures)
            }
            Some(_) => return Err("signatures: expected a list".to_owned()),
            None => ("flattened", vec![Value::Object(members)]),
        };
        if signatures.is_empty() || signatures.len() > MAX_SIGNATURES {
            return Err(format!(
                "signatures: expected 1 to {MAX_SIGNATURES}, found {}",
                signatures.len()
            ));
        }
        let signatures: Result<_, String> = signatures.into_iter().map(signature).collect();
        Self::of(serialization, payload.as_deref(), signatures?)
    }

    fn of(
        serialization: &'static str,
        payload: Option<&str>,
        signatures: Vec<Signature>,
    ) -> Result<Self, String> {
        let encoded = signatures.iter().all(|signature| signature.header.encoded);
        if !encoded && signatures.iter().any(|signature| signature.header.encoded) {
            return Err("its signatures differ in b64 (RFC 7797 §3)".to_owned());
        }
        let payload = match payload {
            None => None,
            Some(text) => Some(Payload {
                text: text.to_owned(),
                bytes: if encoded {
                    strict(text, "the payload")?
                } else {
                    text.as_bytes().to_owned()
                },
            }),
        };
        Ok(Jws {
            serialization,
            payload,
            signatures,
            awaited: Vec::new(),
        })
    }

    /// Who signed, where the payload is at hand.
    fn tried(&self, payload: &Payload, trust: &Trust) -> Vec<Tried> {
        let one = |Signature { header, value }: &Signature| {
            let message: [&[u8]; 3] = [header.text.as_bytes(), b".", payload.text.as_bytes()];
            match &header.refusal {
                Some(why) => refused(header, why),
                None => signers::search(
                    trust,
                    &header.key_id,
                    Some(&header.algorithm),
                    enrolled(header),
                    |_, key| registered::verify(key, &message, value),
                ),
            }
        };
        self.signatures.iter().map(one).collect()
    }

    /// The payload as a JSON object, if it begins like one.
    fn object(&self) -> Option<Result<Map<String, Value>, String>> {
        let bytes = &self.payload.as_ref()?.bytes;
        bytes
            .trim_ascii_start()
            .starts_with(b"{")
            .then(|| json::object(bytes))
    }

    fn own_claims(&self) -> Map<String, Value> {
        let headers = self.signatures.iter().take(MAX_ROWS);
        let headers: Vec<_> = headers
            .map(|signature| outline(&Value::Object(signature.header.members.clone())))
            .collect();
        let mut claims = Map::new();
        claims.insert("serialization".to_owned(), json!(self.serialization));
        claims.insert("headers".to_owned(), Value::Array(headers));
        if let Some(payload) = &self.payload {
            claims.insert("payload_size".to_owned(), json!(payload.bytes.len()));
        }
        if let Some(Ok(payload)) = self.object() {
            for (name, claim) in [("issuer", "iss"), ("subject", "sub")] {
                if let Some(text) = payload.get(claim).and_then(Value::as_str) {
                    claims.insert(name.to_owned(), Value::String(shown(text)));
                }
            }
            if let Ok(times) = Times::of_json(&payload) {
                times.claims(&mut claims);
            }
            claims.insert("payload".to_owned(), outline(&Value::Object(payload)));
        }
        claims
    }

    /// What the payload says beside its subject: when it counts.
    fn own_checks(&self, at: f64) -> Vec<(&'static str, Finding)> {
        let unreadable =
            |why: String| Finding::new(Outcome::Unreadable, format!("The payload cannot be read: {why}."));
        let finding = match self.object() {
            None => None,
            Some(Err(why)) => Some(unreadable(why)),
            Some(Ok(payload)) => match Times::of_json(&payload) {
                Ok(times) => times.finding(at),
                Err(why) => Some(unreadable(why)),
            },
        };
        finding.map(|finding| ("validity", finding)).into_iter().collect()
    }

    /// What is to be said of keys that it brings along.
    fn note(&self) -> String {
        let mut names: Vec<_> = self
            .signatures
            .iter()
            .flat_map(|one| one.header.own_keys())
            .collect();
        names.sort_unstable();
        names.dedup();
        if names.is_empty() {
            String::new()
        } else {
            format!(
                " It brings its own key ({}), which was passed over.",
                names.join(", ")
            )
        }
    }
}

fn member(members: &mut Map<String, Value>, name: &str) -> Result<Option<String>, String> {
    match members.remove(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("{name}: expected text, found another value")),
    }
}

/// One signature of a JSON serialisation.
fn signature(value: Value) -> Result<Signature, String> {
    let Value::Object(mut members) = value else {
        return Err("signatures: expected objects".to_owned());
    };
    let protected = member(&mut members, "protected")?.unwrap_or_default();
    let unprotected = match members.remove("header") {
        None => Map::new(),
        Some(Value::Object(header)) => header,
        Some(_) => return Err("header: expected an object".to_owned()),
    };
    let value = member(&mut members, "signature")?.ok_or("there is no signature")?;
    Ok(Signature {
        header: Header::read(&protected, unprotected)?,
        value: strict(&value, "the signature")?,
    })
}

fn refused(header: &Header, why: &str) -> Tried {
    Tried {
        hint: header.key_id.clone(),
        algorithm: Some(header.algorithm.clone()),
        found: Err(why.to_owned()),
    }
}

/// The keys that were enrolled for the algorithm that the header names.
fn enrolled(header: &Header) -> impl Fn(usize, &TrustKey) -> bool {
    |_, key| registered::of(key).is_some_and(|names| names.jose.contains(&header.algorithm.as_str()))
}

/// Read a file that is a JWS with its payload.
pub fn parse(source: &Source) -> error::Result<Parsed> {
    let read = |content: Vec<u8>| -> Result<Box<dyn Container>, String> {
        let jws = Jws::read(&content)?;
        match jws.payload {
            Some(_) => Ok(Box::new(jws)),
            None => Err(
                "its payload is not in it; give it as the signature of the file that it is over".to_owned(),
            ),
        }
    };
    Ok(whole(source)?.and_then(read))
}

/// Read a JWS that is the signature of another file (RFC 7515 appendix F).
pub fn detached(content: &[u8], trust: &Trust) -> Result<Box<dyn Detached>, String> {
    let mut jws = Jws::read(content)?;
    if jws.payload.is_some() {
        return Err(
            "the JWS carries a payload of its own, so it says nothing about this file; detach the payload (RFC 7515 \
             appendix F)"
                .to_owned(),
        );
    }
    let begin = |Signature { header, value }: &Signature| {
        let sound = header.refusal.is_none();
        sound.then(|| Awaited::begin(trust, &header.key_id, &header.algorithm, value, enrolled(header)))
    };
    jws.awaited = jws.signatures.iter().map(begin).collect();
    Ok(Box::new(jws))
}

impl Container for Jws {
    fn plan(&mut self, _: &mut Pass, _: &Trust) {}

    fn judge(&self, _: &Pass, _: &Source, request: &Request<'_>) -> error::Result<Reading> {
        let tried = self
            .payload
            .as_ref()
            .map(|payload| self.tried(payload, request.trust));
        let signed = signers::judge(request, WHOLE, &tried.unwrap_or_default());
        let size = self.payload.as_ref().map_or(0, |payload| payload.bytes.len());
        let mut claims = self.own_claims();
        claims.insert("signatures".to_owned(), Value::Array(signed.rows));
        Ok(Reading {
            format: Finding::new(
                Outcome::Pass,
                format!(
                    "A well-formed JWS ({}) with a payload of {size} bytes.{}{}",
                    self.serialization,
                    self.note(),
                    signed.note
                ),
            ),
            verdicts: signed.verdicts,
            unsigned: Finding::new(Outcome::Fail, "The JWS carries no signature."),
            checks: self.own_checks(request.at),
            claims,
        })
    }
}

impl Detached for Jws {
    fn form(&self) -> &'static str {
        "jws"
    }

    fn plan(&mut self, pass: &mut Pass, size: u64) {
        for (signature, awaited) in self.signatures.iter().zip(&mut self.awaited) {
            let prefix = format!("{}.", signature.header.text);
            let form = if signature.header.encoded {
                Form::Base64Url
            } else {
                Form::Plain
            };
            if let Some(awaited) = awaited {
                awaited.plan(pass, size, prefix.as_bytes(), form);
            }
        }
    }

    fn judge(&self, pass: &Pass, request: &Request<'_>) -> Vec<Verdict> {
        let signatures = self.signatures.iter().zip(&self.awaited);
        let tried: Vec<_> = signatures
            .map(
                |(signature, awaited)| match (awaited, &signature.header.refusal) {
                    (Some(awaited), None) => awaited.tried(pass, request.trust),
                    (_, why) => refused(&signature.header, why.as_deref().unwrap_or("is not valid")),
                },
            )
            .collect();
        signers::judge(request, WHOLE, &tried).verdicts
    }

    fn claims(&self) -> Map<String, Value> {
        self.own_claims()
    }
}
