//! DSSE 1.0.2 envelopes around in-toto Statements v1.

use serde::de::Error;

use crate::encoding::either;
use crate::json::Text;
use crate::object;
use crate::outcome::{Finding, Outcome};

pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
const MAX_SIGNATURES: usize = 16;
const MAX_SUBJECTS: usize = 4096;
/// The length of the hexadecimal digest of each algorithm that is accepted as binding.
const BINDING: [(&str, usize); 3] = [("sha256", 64), ("sha384", 96), ("sha512", 128)];

/// One signature of an envelope. `keyid` is a hint that nobody authenticated.
pub struct Signature {
    pub keyid: String,
    pub value: Vec<u8>,
}

object!(Signature, "an object with sig", |members| {
    let (mut keyid, mut value) = (String::new(), None);
    while let Some(key) = members.key()? {
        match &*key {
            "keyid" => {
                keyid = members
                    .value::<Option<Text<'de>>>()?
                    .map(|t| t.0.into_owned())
                    .unwrap_or_default()
            }
            "sig" => {
                let Text(text) = members.value()?;
                value = Some(either(&text).ok_or_else(|| A::Error::custom("sig is not strict base64"))?);
            }
            _ => members.skip()?,
        }
    }
    let value = value.ok_or_else(|| A::Error::missing_field("sig"))?;
    Ok(Signature { keyid, value })
});

/// An envelope whose payload is decoded once: the bytes that are verified are the bytes that are parsed.
pub struct Envelope {
    pub payload: Vec<u8>,
    pub signatures: Vec<Signature>,
}

object!(Envelope, "a DSSE envelope (an object)", |members| {
    let (mut payload, mut kind, mut signatures) = (None, None, None);
    while let Some(key) = members.key()? {
        match &*key {
            "payload" => {
                let Text(text) = members.value()?;
                payload =
                    Some(either(&text).ok_or_else(|| A::Error::custom("payload is not strict base64"))?);
            }
            "payloadType" => kind = Some(members.value::<Text<'de>>()?),
            "signatures" => signatures = Some(members.value::<Vec<Signature>>()?),
            _ => members.skip()?,
        }
    }
    let Text(kind) = kind.ok_or_else(|| A::Error::missing_field("payloadType"))?;
    if kind != PAYLOAD_TYPE {
        return Err(A::Error::custom(format_args!(
            "payloadType: expected {PAYLOAD_TYPE:?}, found {kind:?}"
        )));
    }
    let signatures = signatures.ok_or_else(|| A::Error::missing_field("signatures"))?;
    if signatures.is_empty() || signatures.len() > MAX_SIGNATURES {
        return Err(A::Error::custom(format_args!(
            "signatures: expected 1 to {MAX_SIGNATURES}, found {}",
            signatures.len()
        )));
    }
    Ok(Envelope {
        payload: payload.ok_or_else(|| A::Error::missing_field("payload"))?,
        signatures,
    })
});

impl Envelope {
    pub fn parse(line: &[u8]) -> Result<Self, Finding> {
        serde_json::from_slice(line).map_err(|error| unreadable("the envelope", &error))
    }

    /// The head of the pre-authentication encoding; what is signed is this and then the payload.
    pub fn encoding_head(&self) -> String {
        format!(
            "DSSEv1 {} {PAYLOAD_TYPE} {} ",
            PAYLOAD_TYPE.len(),
            self.payload.len()
        )
    }
}

/// What a statement is about. `sha256` is empty where only SHA-384 or SHA-512 binds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    pub name: String,
    pub sha256: String,
}

struct RawSubject {
    subject: Subject,
    bound: bool,
}

object!(RawSubject, "a subject (an object)", |members| {
    let (mut name, mut digests) = (String::new(), None);
    while let Some(key) = members.key()? {
        match &*key {
            "name" => {
                name = members.value::<Text<'de>>()?.0.into_owned();
                if name.chars().any(char::is_control) {
                    return Err(A::Error::custom("a subject's name has a control character"));
                }
            }
            "digest" => digests = Some(members.value::<DigestSet>()?),
            _ => members.skip()?,
        }
    }
    let digests = digests.ok_or_else(|| A::Error::missing_field("digest"))?;
    Ok(RawSubject {
        subject: Subject {
            name,
            sha256: digests.sha256,
        },
        bound: digests.bound,
    })
});

struct DigestSet {
    sha256: String,
    bound: bool,
}

object!(DigestSet, "a digest set (an object)", |members| {
    let (mut sha256, mut bound) = (String::new(), false);
    while let Some(key) = members.key()? {
        let Text(digest) = members.value()?;
        let Some((name, length)) = BINDING.iter().find(|(name, _)| *name == key) else {
            continue;
        };
        let hexadecimal = digest.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if digest.len() != *length || !hexadecimal {
            return Err(A::Error::custom(format_args!(
                "a {name} digest is not {length} lower-case hexadecimal digits"
            )));
        }
        bound = true;
        if *name == "sha256" {
            sha256 = digest.into_owned();
        }
    }
    Ok(DigestSet { sha256, bound })
});

/// A statement about subjects; only worth something once the envelope's signatures are.
pub struct Statement {
    pub predicate_type: String,
    pub subjects: Vec<Subject>,
    /// Why it proves nothing although it can be read, if so.
    pub defect: Option<String>,
}

object!(Statement, "an in-toto statement (an object)", |members| {
    let (mut kind, mut predicate_type, mut subjects) = (None, None, None);
    while let Some(key) = members.key()? {
        match &*key {
            "_type" => kind = Some(members.value::<Text<'de>>()?),
            "predicateType" => predicate_type = Some(members.value::<Text<'de>>()?),
            "subject" => subjects = Some(members.value::<Vec<RawSubject>>()?),
            _ => members.skip()?,
        }
    }
    let Text(kind) = kind.ok_or_else(|| A::Error::missing_field("_type"))?;
    if kind != STATEMENT_TYPE {
        return Err(A::Error::custom(format_args!(
            "_type: expected {STATEMENT_TYPE:?}, found {kind:?}"
        )));
    }
    let Text(predicate_type) = predicate_type.ok_or_else(|| A::Error::missing_field("predicateType"))?;
    let subjects = subjects.ok_or_else(|| A::Error::missing_field("subject"))?;
    if subjects.len() > MAX_SUBJECTS {
        return Err(A::Error::custom(format_args!(
            "more than {MAX_SUBJECTS} subjects"
        )));
    }
    let unbound = subjects.iter().find(|subject| !subject.bound);
    let defect = if subjects.is_empty() {
        Some("the statement has no subject, so it is about nothing".to_owned())
    } else {
        unbound.map(|raw| {
            format!(
                "subject {:?} has no SHA-256, SHA-384 or SHA-512 digest, so nothing binds it",
                raw.subject.name
            )
        })
    };
    Ok(Statement {
        predicate_type: predicate_type.into_owned(),
        subjects: subjects.into_iter().map(|raw| raw.subject).collect(),
        defect,
    })
});

impl Statement {
    pub fn parse(payload: &[u8]) -> Result<Self, Finding> {
        serde_json::from_slice(payload).map_err(|error| unreadable("the statement in the payload", &error))
    }
}

fn unreadable(what: &str, error: &serde_json::Error) -> Finding {
    Finding::new(Outcome::Unreadable, format!("Cannot read {what}: {error}."))
}
