//! Extensions that path checking does not look at, and the signed part without one of them (RFC 6962 §3.2).

use der::asn1::ObjectIdentifier;
use der::{Encode, Length, Tag};

use crate::x509::tlv::{Item, only, tagged};

const SEQUENCE: u8 = 0x30;
/// `[3]`, constructed: where a TBSCertificate has its extensions.
const EXTENSIONS: u8 = 0xa3;

/// The elements of a TBSCertificate before its extensions, and the extensions.
struct Parts<'a> {
    before: Vec<Item<'a>>,
    extensions: Vec<Item<'a>>,
}

impl<'a> Parts<'a> {
    fn of(body: &'a [u8]) -> Result<Self, String> {
        let mut elements = only(body, Tag::Sequence, "the signed part")?.open()?;
        let mut parts = Parts {
            before: Vec::new(),
            extensions: Vec::new(),
        };
        while !elements.is_empty() {
            let element = elements.any("an element")?;
            if element.tag != tagged(3) {
                parts.before.push(element);
                continue;
            }
            elements.end("the signed part")?;
            let mut list = only(element.value, Tag::Sequence, "the extensions")?.open()?;
            while !list.is_empty() {
                parts.extensions.push(list.expect(Tag::Sequence, "an extension")?);
            }
        }
        Ok(parts)
    }
}

fn kind(extension: &Item<'_>) -> Result<ObjectIdentifier, String> {
    let mut parts = extension.open()?;
    let kind = parts.expect(Tag::ObjectIdentifier, "an extension's type")?;
    kind.read("an extension's type")
}

/// The value of one extension, given the signed part of a certificate.
pub fn value(body: &[u8], wanted: ObjectIdentifier) -> Result<Option<Vec<u8>>, String> {
    for extension in Parts::of(body)?.extensions {
        if kind(&extension)? != wanted {
            continue;
        }
        let mut parts = extension.open()?;
        parts.any("an extension's type")?;
        parts.optional(Tag::Boolean, "critical")?;
        let value = parts.expect(Tag::OctetString, "an extension's value")?;
        parts.end("an extension")?;
        return Ok(Some(value.value.to_owned()));
    }
    Ok(None)
}

/// The signed part of a certificate as if it had never had this extension.
pub fn without(body: &[u8], unwanted: ObjectIdentifier) -> Result<Vec<u8>, String> {
    let parts = Parts::of(body)?;
    let mut kept = Vec::new();
    for extension in &parts.extensions {
        if kind(extension)? != unwanted {
            kept.extend_from_slice(extension.whole);
        }
    }
    let mut content: Vec<u8> = parts
        .before
        .iter()
        .flat_map(|element| element.whole)
        .copied()
        .collect();
    if !kept.is_empty() {
        content.extend(wrapped(EXTENSIONS, &wrapped(SEQUENCE, &kept)?)?);
    }
    wrapped(SEQUENCE, &content)
}

fn wrapped(tag: u8, content: &[u8]) -> Result<Vec<u8>, String> {
    let length = Length::try_from(content.len()).and_then(|length| length.to_der());
    let mut out = vec![tag];
    out.extend(length.map_err(|error| error.to_string())?);
    out.extend_from_slice(content);
    Ok(out)
}
