//! SignedData (RFC 5652 §5) in full, before anything of it is believed.

use std::borrow::Cow;

use der::asn1::ObjectIdentifier;
use der::oid::db::rfc5911;
use der::{Decode, Encode, Tag};
use spki::AlgorithmIdentifierRef;

use crate::cms::attributes::{self, SignedAttributes};
use crate::cms::ber;
use crate::trust::Hash;
use crate::x509::certificate::MAX_CERTIFICATE;
use crate::x509::refusal::Refusal;
use crate::x509::scheme::{self, Scheme};
use crate::x509::tlv::{Item, only, primitive, tagged};
use crate::x509::{Certificate, Reason};

/// Everything besides attached content: 64 certificates fit many times.
pub const MAX_ENVELOPE: usize = 4 * 1024 * 1024;
pub const MAX_CONTENT: usize = 64 * 1024 * 1024;
pub const MAX_CERTIFICATES: usize = 64;
pub const MAX_SIGNERS: usize = 16;
const MAX_DIGESTS: usize = 16;
const MAX_KEY_ID: usize = 64;

pub const DATA: ObjectIdentifier = rfc5911::ID_DATA;

/// How a signer names its certificate. A hint: it chooses among certificates and decides nothing.
#[derive(Debug, PartialEq, Eq)]
pub enum SignerId {
    /// Issuer in DER, and serial number.
    Issued(Vec<u8>, Vec<u8>),
    KeyId(Vec<u8>),
}

impl SignerId {
    pub fn names(&self, certificate: &Certificate) -> bool {
        match self {
            SignerId::Issued(issuer, serial) => {
                *issuer == certificate.issuer_der && *serial == certificate.serial
            }
            SignerId::KeyId(id) => certificate.extensions.subject_key.as_ref() == Some(id),
        }
    }
}

/// One signer's part.
pub struct SignerInfo {
    pub id: SignerId,
    pub digest: Result<Hash, Refusal>,
    digest_name: ObjectIdentifier,
    pub scheme: Result<Scheme, Refusal>,
    /// Why the attributes cannot be read, or that there are none.
    pub attributes: Result<Option<SignedAttributes>, String>,
    pub signature: Vec<u8>,
    /// RFC 3161 tokens over the signature.
    pub tokens: Vec<Vec<u8>>,
}

/// Content, candidates for certificates, and signers.
pub struct SignedData {
    pub content_type: ObjectIdentifier,
    /// `None` where the signature is detached.
    pub content: Option<Vec<u8>>,
    pub certificates: Vec<Certificate>,
    /// Why some certificates in it cannot be read.
    pub unreadable: Vec<String>,
    pub signers: Vec<SignerInfo>,
}

/// Whether a file begins like CMS signed data, in DER, BER or PEM.
pub fn looks_like(start: &[u8]) -> bool {
    if start.starts_with(b"-----BEGIN CMS-----") || start.starts_with(b"-----BEGIN PKCS7-----") {
        return true;
    }
    let Some((0x30, rest)) = start.split_first().map(|(first, rest)| (*first, rest)) else {
        return false;
    };
    let length = match rest.first() {
        Some(first @ 0x81..=0x88) => usize::from(first & 0x7f).saturating_add(1),
        Some(_) => 1,
        None => return false,
    };
    let signed = rfc5911::ID_SIGNED_DATA.to_der().unwrap_or_default();
    rest.get(length..).is_some_and(|rest| rest.starts_with(&signed))
}

impl SignedData {
    /// Read DER, BER or PEM (`CMS` or `PKCS7`); the message says why not.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let most = MAX_ENVELOPE.saturating_add(MAX_CONTENT);
        // Base64 takes a third more.
        if bytes.len() > most.saturating_add(most >> 1) {
            return Err(format!(
                "expected at most {most} bytes of CMS, found {}",
                bytes.len()
            ));
        }
        let der = unwrapped(bytes)?;
        let der = ber::to_der(&der)?;
        let signed = content_info(&der, rfc5911::ID_SIGNED_DATA, "signed data")?;
        let read = Self::read(&signed)?;
        let content = read.content.as_ref().map_or(0, Vec::len);
        if content > MAX_CONTENT {
            return Err(format!(
                "the attached content has {content} bytes, at most {MAX_CONTENT} are accepted"
            ));
        }
        if der.len().saturating_sub(content) > MAX_ENVELOPE {
            return Err(format!(
                "signatures and certificates take more than {MAX_ENVELOPE} bytes"
            ));
        }
        Ok(read)
    }

    fn read(sequence: &Item<'_>) -> Result<Self, String> {
        let mut parts = sequence.open()?;
        let version: u8 = parts.expect(Tag::Integer, "the version")?.read("the version")?;
        if !(1..=5).contains(&version) {
            return Err(format!("expected version 1 to 5 of signed data, found {version}"));
        }
        let digests = digests(&parts.expect(Tag::Set, "the digest algorithms")?)?;
        let mut inner = parts.expect(Tag::Sequence, "the content")?.open()?;
        let content_type = inner
            .expect(Tag::ObjectIdentifier, "the content type")?
            .read("the content type")?;
        let content = match inner.optional(tagged(0), "the content")? {
            None => None,
            Some(wrapped) => Some(attached(&wrapped)?),
        };
        inner.end("the content")?;
        let (certificates, unreadable) = match parts.optional(tagged(0), "the certificates")? {
            Some(set) => certificates(&set)?,
            None => (Vec::new(), Vec::new()),
        };
        // Revocation lists count only from the trust file.
        parts.optional(tagged(1), "the revocation lists")?;
        let set = parts.expect(Tag::Set, "the signers")?;
        parts.end("signed data")?;
        count(&set, MAX_SIGNERS, "signers")?;
        let mut signers = Vec::new();
        let mut list = set.open()?;
        while !list.is_empty() {
            let item = list.expect(Tag::Sequence, "a signer")?;
            let place = signers.len().saturating_add(1);
            let signer = SignerInfo::read(&item).map_err(|why| format!("signer {place}: {why}"))?;
            if !digests.contains(&signer.digest_name) {
                return Err(format!(
                    "signer {place}: digest algorithm {} is not among those of the signed data",
                    signer.digest_name
                ));
            }
            signers.push(signer);
        }
        if signers.is_empty() {
            return Err("nobody signed it: it holds certificates only".to_owned());
        }
        Ok(SignedData {
            content_type,
            content,
            certificates,
            unreadable,
            signers,
        })
    }

    /// The digests of the content that the signers ask for.
    pub fn hashes(&self) -> Vec<Hash> {
        let mut hashes: Vec<Hash> = self
            .signers
            .iter()
            .filter_map(|signer| signer.digest.clone().ok())
            .collect();
        hashes.sort_unstable();
        hashes.dedup();
        hashes
    }

    /// Whether some signer signed the bare content, without attributes.
    pub fn bare(&self) -> bool {
        self.signers
            .iter()
            .any(|signer| matches!(signer.attributes, Ok(None)))
    }
}

/// What is inside PEM, or the bytes as they are.
fn unwrapped(bytes: &[u8]) -> Result<Cow<'_, [u8]>, String> {
    if !bytes.starts_with(b"-----BEGIN ") {
        return Ok(Cow::Borrowed(bytes));
    }
    let text = bytes.trim_ascii();
    let (label, der) =
        der::pem::decode_vec(text).map_err(|error| format!("the PEM block cannot be decoded ({error})"))?;
    if matches!(label, "CMS" | "PKCS7") {
        Ok(Cow::Owned(der))
    } else {
        Err(format!("expected a PEM block CMS or PKCS7, found {label}"))
    }
}

/// ContentInfo (RFC 5652 §3) of this type.
fn content_info<'a>(der: &'a [u8], wanted: ObjectIdentifier, what: &str) -> Result<Item<'a>, String> {
    let mut parts = only(der, Tag::Sequence, "CMS")?.open()?;
    let found: ObjectIdentifier = parts
        .expect(Tag::ObjectIdentifier, "the kind of CMS")?
        .read("the kind of CMS")?;
    if found != wanted {
        let name = match found {
            rfc5911::ID_ENVELOPED_DATA => "encrypted (enveloped data)",
            rfc5911::ID_ENCRYPTED_DATA => "encrypted",
            rfc5911::ID_CT_AUTH_ENVELOPED_DATA => "encrypted (authenticated enveloped data)",
            rfc5911::ID_DIGESTED_DATA => "a digest without a signature",
            _ => "of another kind",
        };
        return Err(format!("expected CMS {what}, found one that is {name} ({found})"));
    }
    let mut wrapped = parts.expect(tagged(0), what)?.open()?;
    parts.end("CMS")?;
    let inner = wrapped.expect(Tag::Sequence, what)?;
    wrapped.end(what)?;
    Ok(inner)
}

fn attached(wrapped: &Item<'_>) -> Result<Vec<u8>, String> {
    let mut inside = wrapped.open()?;
    let content = inside.any("the attached content")?;
    inside.end("the attached content")?;
    match content.tag {
        Tag::OctetString => Ok(content.value.to_owned()),
        other => Err(format!(
            "expected the attached content as an OCTET STRING, found {other} (PKCS#7 of old, such as Authenticode)"
        )),
    }
}

fn count(set: &Item<'_>, most: usize, what: &str) -> Result<(), String> {
    let mut list = set.open()?;
    let mut found: usize = 0;
    while !list.is_empty() {
        found = found.saturating_add(1);
        if found > most {
            return Err(format!("more than {most} {what}"));
        }
        list.any(what)?;
    }
    Ok(())
}

/// What the signed data says that its signers use (RFC 5652 §5.1).
fn digests(set: &Item<'_>) -> Result<Vec<ObjectIdentifier>, String> {
    count(set, MAX_DIGESTS, "digest algorithms")?;
    let mut list = set.open()?;
    let mut names = Vec::new();
    while !list.is_empty() {
        let item = list.expect(Tag::Sequence, "a digest algorithm")?;
        names.push(item.read::<AlgorithmIdentifierRef<'_>>("a digest algorithm")?.oid);
    }
    Ok(names)
}

type Candidates = (Vec<Certificate>, Vec<String>);

/// Certificates are candidates: one that cannot be read hides no other, but is told.
fn certificates(set: &Item<'_>) -> Result<Candidates, String> {
    count(set, MAX_CERTIFICATES, "certificates")?;
    let (mut read, mut unreadable) = (Vec::new(), Vec::new());
    let mut list = set.open()?;
    while !list.is_empty() {
        let item = list.any("a certificate")?;
        if item.tag != Tag::Sequence {
            continue; // an attribute certificate or another kind that nobody signs with
        }
        if item.whole.len() > MAX_CERTIFICATE {
            return Err(format!("a certificate of more than {MAX_CERTIFICATE} bytes"));
        }
        match Certificate::from_der(item.whole) {
            Ok(certificate) => read.push(certificate),
            Err(why) => unreadable.push(why),
        }
    }
    Ok((read, unreadable))
}

impl SignerInfo {
    fn read(item: &Item<'_>) -> Result<Self, String> {
        let mut parts = item.open()?;
        let version: u8 = parts.expect(Tag::Integer, "the version")?.read("the version")?;
        let id = match parts.optional(primitive(0), "the key identifier")? {
            Some(id) if id.value.len() <= MAX_KEY_ID => SignerId::KeyId(id.value.to_owned()),
            Some(_) => return Err(format!("a key identifier of more than {MAX_KEY_ID} bytes")),
            None => issued(&parts.expect(Tag::Sequence, "issuer and serial number")?)?,
        };
        let expected = if matches!(id, SignerId::KeyId(_)) { 3 } else { 1 };
        if version != expected {
            return Err(format!(
                "expected version {expected} of the signer's information, found {version}"
            ));
        }
        let digest_item = parts.expect(Tag::Sequence, "the digest algorithm")?;
        let digest: AlgorithmIdentifierRef<'_> = digest_item.read("the digest algorithm")?;
        let (digest_name, digest) = (digest.oid, scheme::hash(&digest));
        let attributes = parts.optional(tagged(0), "the signed attributes")?;
        let scheme_item = parts.expect(Tag::Sequence, "the signature algorithm")?;
        let signature = parts.expect(Tag::OctetString, "the signature")?.value.to_owned();
        let tokens = match parts.optional(tagged(1), "the unsigned attributes")? {
            Some(set) => attributes::tokens(&set)?,
            None => Vec::new(),
        };
        parts.end("the signer's information")?;
        let algorithm: AlgorithmIdentifierRef<'_> = scheme_item.read("the signature algorithm")?;
        let mut scheme = digest
            .clone()
            .and_then(|digest| Scheme::of_signer(&algorithm, digest));
        let attributes = attributes.as_ref().map(SignedAttributes::read).transpose();
        if let Ok(Some(SignedAttributes {
            protected: Some((digest, signature)),
            ..
        })) = &attributes
            && (digest != digest_item.value || signature != scheme_item.value)
        {
            scheme = Err(Refusal::new(
                Reason::Algorithm,
                "its algorithms are not those that the signer signed (RFC 6211)",
            ));
        }
        Ok(SignerInfo {
            id,
            digest,
            digest_name,
            scheme,
            attributes,
            signature,
            tokens,
        })
    }
}

fn issued(item: &Item<'_>) -> Result<SignerId, String> {
    let mut parts = item.open()?;
    let issuer = parts.expect(Tag::Sequence, "the issuer")?;
    let serial = parts.expect(Tag::Integer, "the serial number")?;
    parts.end("issuer and serial number")?;
    let serial = der::asn1::IntRef::from_der(serial.whole).map_err(|error| error.to_string())?;
    Ok(SignerId::Issued(
        issuer.whole.to_owned(),
        serial.as_bytes().to_owned(),
    ))
}
