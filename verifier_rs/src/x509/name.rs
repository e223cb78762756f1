//! Distinguished names, compared as RFC 5280 §7.1 wants it: capitals and the amount of white space do not count.

use der::asn1::{AnyRef, Ia5StringRef, PrintableStringRef, Utf8StringRef};
use der::{Encode, Tag, Tagged};
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::name::Name as RawName;

/// A name in the form in which names are compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// For people (RFC 4514).
    pub text: String,
    /// Relative distinguished names from the country down, each a sorted list of type and folded value.
    parts: Vec<Vec<(String, Vec<u8>)>>,
}

impl Name {
    pub fn of(raw: &RawName) -> Self {
        let part = |attribute: &AttributeTypeAndValue| (attribute.oid.to_string(), folded(attribute));
        let parts = raw
            .iter_rdn()
            .map(|relative| {
                let mut pairs: Vec<_> = relative.iter().map(part).collect();
                pairs.sort();
                pairs
            })
            .collect();
        Name {
            text: raw.to_string(),
            parts,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    pub fn same(&self, other: &Name) -> bool {
        self.parts == other.parts
    }

    /// Whether the name lies in the subtree below `base`.
    pub fn within(&self, base: &Name) -> bool {
        self.parts.starts_with(&base.parts)
    }
}

/// The value for comparison: text in small letters with single spaces, anything else as it is encoded.
fn folded(attribute: &AttributeTypeAndValue) -> Vec<u8> {
    let value = AnyRef::from(&attribute.value);
    let text = match value.tag() {
        Tag::Utf8String => value
            .decode_as::<Utf8StringRef<'_>>()
            .ok()
            .map(|text| text.as_str().to_owned()),
        Tag::PrintableString => value
            .decode_as::<PrintableStringRef<'_>>()
            .ok()
            .map(|text| text.as_str().to_owned()),
        Tag::Ia5String => value
            .decode_as::<Ia5StringRef<'_>>()
            .ok()
            .map(|text| text.as_str().to_owned()),
        Tag::TeletexString => std::str::from_utf8(value.value())
            .ok()
            .filter(|text| text.is_ascii())
            .map(str::to_owned),
        Tag::BmpString => wide(value.value()),
        _ => None,
    };
    match text {
        // The mark keeps text apart from what is compared as it is encoded.
        Some(text) => {
            let mut out = vec![b'='];
            out.extend(
                text.split_whitespace()
                    .collect::<Vec<_>>()
                    .join(" ")
                    .to_lowercase()
                    .bytes(),
            );
            out
        }
        None => value.to_der().unwrap_or_default(),
    }
}

fn wide(bytes: &[u8]) -> Option<String> {
    if !bytes.len().is_multiple_of(2) {
        return None;
    }
    let units: Vec<u16> = bytes
        .chunks_exact(2)
        .map(|pair| pair.iter().fold(0, |sum, byte| sum << 8 | u16::from(*byte)))
        .collect();
    String::from_utf16(&units).ok()
}
