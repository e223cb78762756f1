//! COSE_Sign1 and COSE_Sign (RFC 9052 §4), CBOR Web Tokens and hash envelopes, with their payload or as the signature
//! of a file.

mod header;
mod token;

use serde_json::{Map, Value as Json, json};

use crate::cbor::{self, Value};
use crate::error;
use crate::file::Request;
use crate::formats::{Container, Parsed, Reading};
use crate::outcome::{Finding, Outcome};
use crate::pass::{Pass, Ticket};
use crate::signatures::Detached;
use crate::source::{Source, hex};
use crate::statements::awaited::{Awaited, Form};
use crate::statements::cose::header::{CWT_CLAIMS, Header};
use crate::statements::cose::token::Token;
use crate::statements::signers::{self, Tried};
use crate::statements::{registered, whole};
use crate::trust::{Trust, TrustKey};
use crate::verdict::Verdict;

const WHOLE: &str = "the COSE message";
const MAX_SIGNATURES: usize = 16;
const SIGN1: u64 = 18;
const SIGN: u64 = 98;
const CWT: u64 = 61;

/// A message that could be read, as it came: the parts borrow from it.
pub struct Cose {
    content: Vec<u8>,
    awaited: Vec<Option<Awaited>>,
    digest: Option<Ticket>,
}

/// The parts of a message.
struct Message<'a> {
    name: &'static str,
    body: Header<'a>,
    payload: Option<&'a [u8]>,
    signatures: Vec<Signature<'a>>,
    /// Whether the tag says that the payload is a token.
    token: bool,
}

struct Signature<'a> {
    /// `None` in COSE_Sign1, whose signature has the body's header.
    header: Option<Header<'a>>,
    value: &'a [u8],
}

/// Whether a file begins like a COSE message: a tag or nothing, an array, a byte string.
pub fn may_be(start: &[u8]) -> bool {
    let untagged = match start {
        [0xd0..=0xd2, rest @ ..] | [0xd8, 0x60..=0x62, rest @ ..] => rest,
        [0xd8, 0x3d, 0xd0..=0xd2, rest @ ..] | [0xd8, 0x3d, 0xd8, 0x60..=0x62, rest @ ..] => rest,
        other => other,
    };
    matches!(untagged, [0x83..=0x85, 0x40..=0x5b, ..])
}

/// Whether its tag says what it is; without one only reading it can tell.
pub fn is_tagged(start: &[u8]) -> bool {
    may_be(start) && matches!(start, [0xd0..=0xd8, ..])
}

/// Whether the bytes are a whole message.
pub fn is_whole(content: &[u8]) -> bool {
    Message::read(content).is_ok()
}

impl<'a> Message<'a> {
    fn read(content: &'a [u8]) -> Result<Self, String> {
        let mut value = cbor::read(content)?;
        let mut token = false;
        if let Value::Tag(CWT, inner) = value {
            if !matches!(*inner, Value::Tag(..)) {
                return Err("the tag of a CWT (61) needs one of COSE behind it (RFC 8392 §6)".to_owned());
            }
            (token, value) = (true, *inner);
        }
        let tag = match value {
            Value::Tag(tag, inner) => {
                value = *inner;
                Some(tag)
            }
            _ => None,
        };
        match tag {
            None | Some(SIGN1 | SIGN) => {}
            Some(16 | 96) => {
                return Err("it is encrypted; encryption proves nothing about who made it".to_owned());
            }
            Some(17 | 97) => {
                return Err(
                    "it has a code made with a shared secret: whoever can check it can make one, so it proves nothing"
                        .to_owned(),
                );
            }
            Some(other) => return Err(format!("tag {other} is none of COSE's signatures (18, 98)")),
        }
        let Value::Array(parts) = value else {
            return Err("expected an array of four".to_owned());
        };
        let Ok([protected, unprotected, payload, last]) = <[Value<'a>; 4]>::try_from(parts) else {
            return Err("expected an array of four: headers, payload, signature".to_owned());
        };
        let payload = match payload {
            Value::Bytes(payload) => Some(payload),
            Value::Null => None,
            _ => return Err("the payload is neither a byte string nor nil".to_owned()),
        };
        let (name, body, signatures) = match (tag, last) {
            (None | Some(SIGN1), Value::Bytes(value)) => {
                let body = Header::read(protected, unprotected, true)?;
                ("COSE_Sign1", body, vec![Signature { header: None, value }])
            }
            (None | Some(SIGN), Value::Array(signatures)) => {
                if signatures.is_empty() || signatures.len() > MAX_SIGNATURES {
                    return Err(format!(
                        "signatures: expected 1 to {MAX_SIGNATURES}, found {}",
                        signatures.len()
                    ));
                }
                let signatures: Result<_, String> = signatures.into_iter().map(signature).collect();
                ("COSE_Sign", Header::read(protected, unprotected, false)?, signatures?)
            }
            _ => return Err("tag and content do not agree: COSE_Sign1 (18) ends with a signature, COSE_Sign (98) with a list of them".to_owned()),
        };
        Ok(Message {
            name,
            token: token || body.says_token(),
            body,
            payload,
            signatures,
        })
    }

    /// The header that names algorithm and key of a signature.
    fn header<'m>(&'m self, signature: &'m Signature<'a>) -> &'m Header<'a> {
        signature.header.as_ref().unwrap_or(&self.body)
    }

    fn refusal<'m>(&'m self, signature: &'m Signature<'a>) -> Option<&'m str> {
        let own = self.header(signature).refusal.as_deref();
        own.or(self.body.refusal.as_deref())
    }

    /// Sig_structure (RFC 9052 §4.4) up to the payload of this length; nothing was agreed beside the message.
    fn prefix(&self, signature: &Signature<'a>, length: u64) -> Vec<u8> {
        let string = |bytes: &[u8]| {
            let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            [cbor::head(2, length).as_slice(), bytes].concat()
        };
        let (context, own) = match &signature.header {
            None => ("Signature1", Vec::new()),
            Some(header) => ("Signature", string(header.protected)),
        };
        let parts = if signature.header.is_some() { 5 } else { 4 };
        let name = u64::try_from(context.len()).unwrap_or_default();
        [
            cbor::head(4, parts),
            cbor::head(3, name),
            context.as_bytes().to_owned(),
            string(self.body.protected),
            own,
            string(&[]),
            cbor::head(2, length),
        ]
        .concat()
    }

    /// Who signed, where the payload is at hand.
    fn tried(&self, payload: &[u8], trust: &Trust) -> Vec<Tried> {
        let length = u64::try_from(payload.len()).unwrap_or(u64::MAX);
        let one = |signature: &Signature<'a>| {
            let header = self.header(signature);
            if let Some(why) = self.refusal(signature) {
                return refused(header, why);
            }
            let prefix = self.prefix(signature, length);
            let message: [&[u8]; 2] = [&prefix, payload];
            let algorithm = header.algorithm_text();
            signers::search(
                trust,
                &header.key_id,
                Some(&algorithm),
                enrolled(header),
                |_, key| registered::verify(key, &message, signature.value),
            )
        };
        self.signatures.iter().map(one).collect()
    }

    /// The tokens in it: payload and header.
    fn tokens(&self) -> Vec<Result<Token, String>> {
        let mut tokens = Vec::new();
        if let Some(payload) = self
            .payload
            .filter(|payload| self.token || token::looks_like(payload))
        {
            tokens.push(Token::read(payload));
        }
        if let Some(claims) = self.body.sealed(CWT_CLAIMS) {
            tokens.push(Token::of(claims));
        }
        tokens
    }

    fn checks(&self, at: f64) -> Vec<(&'static str, Finding)> {
        let findings = self.tokens().into_iter().filter_map(|token| match token {
            Ok(token) => token.times.finding(at),
            Err(why) => Some(Finding::new(
                Outcome::Unreadable,
                format!("The claims cannot be read: {why}."),
            )),
        });
        let finding = Finding::worst(findings);
        finding.map(|finding| ("validity", finding)).into_iter().collect()
    }

    fn claims(&self) -> Map<String, Json> {
        let mut claims = Map::new();
        claims.insert("message".to_owned(), json!(self.name));
        let headers = self
            .signatures
            .iter()
            .map(|signature| self.header(signature).claims());
        claims.insert("headers".to_owned(), headers.collect());
        if let Some(payload) = self.payload {
            claims.insert("payload_size".to_owned(), json!(payload.len()));
        }
        if let (Some(Ok(hash)), Some(payload)) = (self.body.payload_hash(), self.payload) {
            claims.insert(
                "payload_is".to_owned(),
                json!(format!("a {} digest", hash.name())),
            );
            claims.insert("digest".to_owned(), json!(hex(payload)));
        }
        for token in self.tokens().into_iter().flatten() {
            token.claims(&mut claims);
        }
        claims
    }

    /// What is to be said of keys that it brings along.
    fn note(&self) -> String {
        let mut names = self.body.own_keys();
        names.extend(
            self.signatures
                .iter()
                .flat_map(|signature| self.header(signature).own_keys()),
        );
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

/// One signature of COSE_Sign.
fn signature(value: Value<'_>) -> Result<Signature<'_>, String> {
    let Value::Array(parts) = value else {
        return Err("a signature of COSE_Sign is no array".to_owned());
    };
    let Ok([protected, unprotected, Value::Bytes(value)]) = <[Value<'_>; 3]>::try_from(parts) else {
        return Err("a signature of COSE_Sign is not two headers and a byte string".to_owned());
    };
    Ok(Signature {
        header: Some(Header::read(protected, unprotected, true)?),
        value,
    })
}

fn refused(header: &Header<'_>, why: &str) -> Tried {
    Tried {
        hint: header.key_id.clone(),
        algorithm: Some(header.algorithm_text()),
        found: Err(why.to_owned()),
    }
}

/// The keys that were enrolled for the algorithm that the header names.
fn enrolled(header: &Header<'_>) -> impl Fn(usize, &TrustKey) -> bool {
    let algorithm = header.algorithm;
    move |_, key| {
        registered::of(key)
            .zip(algorithm)
            .is_some_and(|(names, algorithm)| names.cose.contains(&algorithm))
    }
}

impl Cose {
    pub fn read(content: Vec<u8>) -> Result<Self, String> {
        Message::read(&content)?;
        Ok(Cose {
            content,
            awaited: Vec::new(),
            digest: None,
        })
    }

    fn message(&self) -> Option<Message<'_>> {
        Message::read(&self.content).ok()
    }
}

/// Read a file that is a message with its payload.
pub fn parse(source: &Source) -> error::Result<Parsed> {
    let read = |content: Vec<u8>| -> Result<Box<dyn Container>, String> {
        let cose = Cose::read(content)?;
        if cose.message().is_some_and(|message| message.payload.is_none()) {
            return Err(
                "its payload is not in it; give it as the signature of the file that it is over".to_owned(),
            );
        }
        Ok(Box::new(cose))
    };
    Ok(whole(source)?.and_then(read))
}

/// Read a message that is the signature of another file: over its bytes, or over their digest (RFC 9995).
pub fn detached(content: &[u8], trust: &Trust) -> Result<Box<dyn Detached>, String> {
    let mut cose = Cose::read(content.to_owned())?;
    let message = Message::read(content)?;
    match (message.payload, message.body.payload_hash()) {
        (_, Some(Err(why))) => return Err(why),
        (None, Some(Ok(_))) => return Err("it says that its payload is a digest, and has none".to_owned()),
        (Some(_), None) => {
            return Err(
                "the COSE message carries a payload of its own that is no digest (RFC 9995), so it says nothing about \
                 this file; detach the payload"
                    .to_owned(),
            );
        }
        (Some(_), Some(Ok(_))) => {}
        (None, None) => {
            let begin = |signature: &Signature<'_>| {
                let header = message.header(signature);
                let sound = message.refusal(signature).is_none();
                sound.then(|| {
                    let algorithm = header.algorithm_text();
                    Awaited::begin(
                        trust,
                        &header.key_id,
                        &algorithm,
                        signature.value,
                        enrolled(header),
                    )
                })
            };
            cose.awaited = message.signatures.iter().map(begin).collect();
        }
    }
    Ok(Box::new(cose))
}

impl Container for Cose {
    fn plan(&mut self, _: &mut Pass, _: &Trust) {}

    fn judge(&self, _: &Pass, _: &Source, request: &Request<'_>) -> error::Result<Reading> {
        let Some(message) = self.message() else {
            return Err(error::Error::Unreadable(
                "the message was read once and not again".to_owned(),
            ));
        };
        let payload = message.payload.unwrap_or_default();
        let signed = signers::judge(request, WHOLE, &message.tried(payload, request.trust));
        let mut claims = message.claims();
        claims.insert("signatures".to_owned(), Json::Array(signed.rows));
        Ok(Reading {
            format: Finding::new(
                Outcome::Pass,
                format!(
                    "A well-formed {} message with a payload of {} bytes.{}{}",
                    message.name,
                    payload.len(),
                    message.note(),
                    signed.note
                ),
            ),
            verdicts: signed.verdicts,
            unsigned: Finding::new(Outcome::Fail, "The message carries no signature."),
            checks: message.checks(request.at),
            claims,
        })
    }
}

impl Detached for Cose {
    fn form(&self) -> &'static str {
        "cose"
    }

    fn plan(&mut self, pass: &mut Pass, size: u64) {
        let Ok(message) = Message::read(&self.content) else {
            return;
        };
        if let Some(Ok(hash)) = message.body.payload_hash() {
            self.digest = Some(pass.digest(0, size, hash));
        }
        for (signature, awaited) in message.signatures.iter().zip(&mut self.awaited) {
            if let Some(awaited) = awaited {
                awaited.plan(pass, size, &message.prefix(signature, size), Form::Plain);
            }
        }
    }

    fn judge(&self, pass: &Pass, request: &Request<'_>) -> Vec<Verdict> {
        let Some(message) = self.message() else {
            return Vec::new();
        };
        let Some(payload) = message.payload else {
            let signatures = message.signatures.iter().zip(&self.awaited);
            let tried: Vec<_> = signatures
                .map(
                    |(signature, awaited)| match (awaited, message.refusal(signature)) {
                        (Some(awaited), None) => awaited.tried(pass, request.trust),
                        (_, why) => refused(message.header(signature), why.unwrap_or("is not valid")),
                    },
                )
                .collect();
            return signers::judge(request, WHOLE, &tried).verdicts;
        };
        let verdicts = signers::judge(request, WHOLE, &message.tried(payload, request.trust)).verdicts;
        if self.digest.is_some_and(|ticket| pass.bytes(ticket) == payload) {
            return verdicts;
        }
        let other = |verdict: Verdict| {
            let key = Finding::new(
                Outcome::NotRun,
                "Not checked: the message is not about this file.",
            );
            let finding = Finding::new(
                Outcome::Fail,
                "The COSE message is about other bytes: its payload is not this file's digest.",
            );
            Verdict::unproven(&verdict.what, finding, key, request.moment())
        };
        verdicts.into_iter().map(other).collect()
    }

    fn checks(&self, _: &Pass, request: &Request<'_>) -> Vec<(&'static str, Finding)> {
        self.message()
            .map(|message| message.checks(request.at))
            .unwrap_or_default()
    }

    fn claims(&self) -> Map<String, Json> {
        self.message().map(|message| message.claims()).unwrap_or_default()
    }
}
