//! Signed and unsigned attributes of a CMS signer (RFC 5652 §5.3, §11).

use der::asn1::ObjectIdentifier;
use der::oid::db::rfc5911;
use der::{Decode, Tag};

use crate::x509::tlv::{Cursor, Item};

const MAX_ATTRIBUTES: usize = 64;
/// Time-stamp tokens over one signature.
const MAX_TOKENS: usize = 4;

pub const TIME_STAMP_TOKEN: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.2.14");
const SIGNING_CERTIFICATE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.2.12");
const SIGNING_CERTIFICATE_V2: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.2.47");
/// RFC 6211.
const ALGORITHM_PROTECTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.52");

/// What a signer signs along with the content, or in its stead.
pub struct SignedAttributes {
    /// The bytes that are signed: a SET OF in DER (RFC 5652 §5.4).
    pub message: Vec<u8>,
    pub content_type: ObjectIdentifier,
    pub message_digest: Vec<u8>,
    /// What the signer says the time was: a claim, seconds since 1970.
    pub signing_time: Option<f64>,
    /// ESSCertID and ESSCertIDv2 (RFC 5035), in DER: which certificate is the signer's.
    pub signing_certificate: Option<Vec<u8>>,
    pub signing_certificate_v2: Option<Vec<u8>>,
    /// Digest and signature algorithm as the signer signed them (RFC 6211), in DER without their tags.
    pub protected: Option<(Vec<u8>, Vec<u8>)>,
}

/// One attribute and its values.
struct Attribute<'a> {
    kind: ObjectIdentifier,
    values: Vec<Item<'a>>,
}

/// `strict`: in the order of DER, no type twice.
fn list<'a>(set: &Item<'a>, what: &str, strict: bool) -> Result<Vec<Attribute<'a>>, String> {
    let mut items = set.open()?;
    let mut found: Vec<Attribute<'a>> = Vec::new();
    let mut last: &[u8] = &[];
    while !items.is_empty() {
        if found.len() == MAX_ATTRIBUTES {
            return Err(format!("more than {MAX_ATTRIBUTES} {what}"));
        }
        let item = items.expect(Tag::Sequence, "an attribute")?;
        if strict && item.whole <= last {
            return Err(format!(
                "the {what} are not in the order of DER, which RFC 5652 §5.3 wants"
            ));
        }
        last = item.whole;
        let mut parts = item.open()?;
        let kind = parts.expect(Tag::ObjectIdentifier, "the attribute's type")?;
        let kind: ObjectIdentifier = kind.read("the attribute's type")?;
        let set = parts.expect(Tag::Set, "the attribute's values")?;
        parts.end("the attribute")?;
        if strict && found.iter().any(|earlier| earlier.kind == kind) {
            return Err(format!("attribute {kind} stands twice among the {what}"));
        }
        let mut values = Vec::new();
        let mut inside = set.open()?;
        while !inside.is_empty() {
            if values.len() == MAX_ATTRIBUTES {
                return Err(format!("attribute {kind} has more than {MAX_ATTRIBUTES} values"));
            }
            values.push(inside.any("an attribute's value")?);
        }
        found.push(Attribute { kind, values });
    }
    Ok(found)
}

impl<'a> Attribute<'a> {
    /// The only value, which must have this tag.
    fn one(&self, tag: Tag, name: &str) -> Result<Item<'a>, String> {
        match self.values.as_slice() {
            [only] if only.tag == tag => Ok(*only),
            [_] => Err(format!("signed attribute {name} is not of the right kind")),
            more => Err(format!(
                "signed attribute {name} has {} values, it must have exactly one",
                more.len()
            )),
        }
    }
}

impl SignedAttributes {
    /// From the `[0]` in which a signer's information holds them.
    pub fn read(tagged: &Item<'_>) -> Result<Self, String> {
        let list = list(tagged, "signed attributes", true)?;
        let find = |kind: ObjectIdentifier| list.iter().find(|attribute| attribute.kind == kind);
        let content_type = find(rfc5911::ID_CONTENT_TYPE)
            .ok_or("signed attribute contentType is missing")?
            .one(Tag::ObjectIdentifier, "contentType")?
            .read("signed attribute contentType")?;
        let message_digest = find(rfc5911::ID_MESSAGE_DIGEST)
            .ok_or("signed attribute messageDigest is missing")?
            .one(Tag::OctetString, "messageDigest")?
            .value
            .to_owned();
        let signing_time = match find(rfc5911::ID_SIGNING_TIME).map(|attribute| attribute.values.as_slice()) {
            None => None,
            Some([only]) => Some(
                x509_cert::time::Time::from_der(only.whole)
                    .map_err(|error| format!("signed attribute signingTime cannot be read ({error})"))?
                    .to_unix_duration()
                    .as_secs_f64(),
            ),
            Some(_) => return Err("signed attribute signingTime must have exactly one value".to_owned()),
        };
        let whole = |kind, name| {
            find(kind)
                .map(|attribute| attribute.one(Tag::Sequence, name))
                .transpose()
                .map(|found| found.map(|item| item.whole.to_owned()))
        };
        let protected = match find(ALGORITHM_PROTECTION) {
            None => None,
            Some(attribute) => Some(protected(
                &attribute.one(Tag::Sequence, "CMSAlgorithmProtection")?,
            )?),
        };
        // Signed is the SET OF itself, so with its own tag in place of [0].
        let mut message = tagged.whole.to_owned();
        if let Some(tag) = message.first_mut() {
            *tag = 0x31;
        }
        Ok(SignedAttributes {
            message,
            content_type,
            message_digest,
            signing_time,
            signing_certificate: whole(SIGNING_CERTIFICATE, "signingCertificate")?,
            signing_certificate_v2: whole(SIGNING_CERTIFICATE_V2, "signingCertificateV2")?,
            protected,
        })
    }
}

fn protected(item: &Item<'_>) -> Result<(Vec<u8>, Vec<u8>), String> {
    let mut parts = item.open()?;
    let digest = parts.expect(Tag::Sequence, "the protected digest algorithm")?;
    let signature = parts.expect(crate::x509::tlv::tagged(1), "the protected signature algorithm")?;
    parts.end("CMSAlgorithmProtection")?;
    Ok((digest.value.to_owned(), signature.value.to_owned()))
}

/// The time-stamp tokens among the unsigned attributes; the rest of them says nothing that we rely on.
pub fn tokens(tagged: &Item<'_>) -> Result<Vec<Vec<u8>>, String> {
    let list = list(tagged, "unsigned attributes", false)?;
    let stamps = list.iter().filter(|attribute| attribute.kind == TIME_STAMP_TOKEN);
    let tokens: Vec<_> = stamps
        .flat_map(|attribute| attribute.values.iter().map(|value| value.whole.to_owned()))
        .collect();
    if tokens.len() > MAX_TOKENS {
        return Err(format!("more than {MAX_TOKENS} time stamps over one signature"));
    }
    Ok(tokens)
}

/// Whether these bytes are a well-formed SET OF Attribute: what a signer signs where there are signed attributes. As
/// content of a signature without any they are a trick (RFC 5652 §5.3 keeps both apart only by the content type).
pub fn looks_like_attributes(content: &[u8]) -> bool {
    let inside = |content| -> Result<bool, String> {
        let mut outer = Cursor::new(content)?;
        let set = outer.expect(Tag::Set, "attributes")?;
        outer.end("attributes")?;
        Ok(!list(&set, "attributes", false)?.is_empty())
    };
    inside(content).unwrap_or(false)
}
