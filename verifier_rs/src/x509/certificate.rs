//! One certificate: read strictly as DER, with what path checking needs to know of it.

use der::asn1::{BitStringRef, ObjectIdentifier};
use der::oid::db::rfc5280;
use der::{Decode, Encode, Tag};
use sha2::{Digest, Sha256};
use spki::AlgorithmIdentifierRef;
use x509_cert::TbsCertificate;
use x509_cert::certificate::Version;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::constraints::name::NameConstraints;
use x509_cert::ext::pkix::name::GeneralNames;
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, PolicyConstraints,
    SubjectKeyIdentifier,
};

use crate::keys::{CertificateFacts, PublicKey};
use crate::source::hex;
use crate::x509::name::Name;
use crate::x509::refusal::{Reason, Refusal};
use crate::x509::scheme::Scheme;
use crate::x509::tlv::{Cursor, only};

/// Far more than the longest certificate that makes sense (ML-DSA-87 takes about 8 KiB).
pub const MAX_CERTIFICATE: usize = 64 * 1024;
const MAX_EXTENSIONS: usize = 64;

/// What is signed, how, and the signature: of a certificate or of a revocation list.
pub struct Signed {
    pub message: Vec<u8>,
    pub scheme: Result<Scheme, Refusal>,
    pub signature: Vec<u8>,
}

impl Signed {
    /// Split SIGNED{…} (RFC 5280 §4.1): body, signature algorithm, signature.
    pub fn read(der: &[u8], what: &str) -> Result<Self, String> {
        let mut parts = only(der, Tag::Sequence, what)?.open()?;
        let body = parts.expect(Tag::Sequence, "the signed part")?;
        let algorithm = parts.expect(Tag::Sequence, "the signature algorithm")?;
        let bits = parts.expect(Tag::BitString, "the signature")?;
        parts.end(what)?;
        let algorithm: AlgorithmIdentifierRef<'_> = algorithm.read("the signature algorithm")?;
        let signature: BitStringRef<'_> = bits.read("the signature")?;
        let signature = signature
            .as_bytes()
            .ok_or("the signature is not a whole number of bytes")?;
        Ok(Signed {
            message: body.whole.to_owned(),
            scheme: Scheme::of(&algorithm),
            signature: signature.to_owned(),
        })
    }

    /// Whether this key made the signature. Words begin with what is wrong, for `…: {words}`.
    pub fn by(&self, key: &PublicKey) -> Result<bool, Refusal> {
        let scheme = self.scheme.as_ref().map_err(Refusal::clone)?;
        scheme.verify(key, &self.message, &self.signature)
    }
}

/// The extensions that path checking looks at.
#[derive(Default)]
pub struct Extensions {
    pub basic: Option<BasicConstraints>,
    pub key_usage: Option<KeyUsage>,
    /// Extended key usages, and whether they are marked critical.
    pub usages: Option<(Vec<ObjectIdentifier>, bool)>,
    pub subject_key: Option<Vec<u8>>,
    pub authority_key: Option<Vec<u8>>,
    /// Alternative names; an error where they cannot be read.
    pub names: Option<Result<GeneralNames, String>>,
    pub constraints: Option<NameConstraints>,
    pub explicit_policy: bool,
    /// The first critical extension that we do not know.
    pub unknown: Option<ObjectIdentifier>,
}

pub struct Certificate {
    pub der: Vec<u8>,
    pub facts: CertificateFacts,
    pub subject: Name,
    pub issuer: Name,
    /// The subject as it stands in the certificate: for addresses in it.
    pub raw_subject: x509_cert::name::Name,
    /// The issuer as CMS signers name it, in DER.
    pub issuer_der: Vec<u8>,
    pub serial: Vec<u8>,
    /// `sha256:` and the digest of the SubjectPublicKeyInfo.
    pub fingerprint: String,
    pub key: Result<PublicKey, String>,
    pub signed: Signed,
    pub extensions: Extensions,
}

impl Certificate {
    /// Read one certificate; the message says what is wrong with it.
    pub fn from_der(der: &[u8]) -> Result<Self, String> {
        if der.len() > MAX_CERTIFICATE {
            return Err(format!(
                "expected a certificate of at most {MAX_CERTIFICATE} bytes, found {}",
                der.len()
            ));
        }
        let signed = Signed::read(der, "the certificate")?;
        let body = TbsCertificate::from_der(&signed.message)
            .map_err(|error| format!("not an X.509 certificate in DER ({error})"))?;
        let inner = body.signature().to_der().map_err(|error| error.to_string())?;
        let outer = Cursor::new(der)?
            .any("the certificate")?
            .open()
            .and_then(|mut parts| {
                parts.any("the signed part")?;
                parts.any("the signature algorithm")
            })?;
        if inner != outer.whole {
            return Err(
                "it names two different signature algorithms, inside and outside of its signed part"
                    .to_owned(),
            );
        }
        let serial = body.serial_number().as_bytes().to_owned();
        if serial.first().is_some_and(|first| first & 0x80 != 0) {
            return Err("its serial number is negative (RFC 5280 §4.1.2.2 wants a positive one)".to_owned());
        }
        let validity = body.validity();
        let not_before = validity.not_before.to_unix_duration().as_secs_f64();
        let not_after = validity.not_after.to_unix_duration().as_secs_f64();
        if not_after < not_before {
            return Err("its validity ends before it begins".to_owned());
        }
        let extensions = match (body.extensions(), body.version()) {
            (None, _) => Extensions::default(),
            (Some(list), Version::V3) => Extensions::read(list)?,
            (Some(_), _) => return Err("it has extensions, but is not of version 3".to_owned()),
        };
        let spki = body
            .subject_public_key_info()
            .to_der()
            .map_err(|error| format!("its key cannot be read ({error})"))?;
        let issuer_der = body.issuer().to_der().map_err(|error| error.to_string())?;
        Ok(Certificate {
            der: der.to_owned(),
            facts: CertificateFacts {
                subject: body.subject().to_string(),
                issuer: body.issuer().to_string(),
                not_before,
                not_after,
            },
            subject: Name::of(body.subject()),
            issuer: Name::of(body.issuer()),
            raw_subject: body.subject().clone(),
            issuer_der,
            serial,
            fingerprint: format!("sha256:{}", hex(&Sha256::digest(&spki))),
            key: PublicKey::from_spki(&spki),
            signed,
            extensions,
        })
    }

    /// For people: the subject, or what else there is to call it by.
    pub fn title(&self) -> String {
        if self.facts.subject.is_empty() {
            format!("number {} by {}", hex(&self.serial), self.facts.issuer)
        } else {
            self.facts.subject.clone()
        }
    }

    pub fn self_issued(&self) -> bool {
        self.subject.same(&self.issuer)
    }

    pub fn authority(&self) -> bool {
        self.extensions.basic.as_ref().is_some_and(|basic| basic.ca)
    }

    /// The key, if it is one that can be used.
    pub fn usable_key(&self) -> Result<&PublicKey, Refusal> {
        self.key
            .as_ref()
            .map_err(|why| Refusal::new(Reason::Algorithm, format!("the key of {}: {why}", self.title())))
    }
}

impl Extensions {
    fn read(list: &[Extension]) -> Result<Self, String> {
        if list.len() > MAX_EXTENSIONS {
            return Err(format!(
                "expected at most {MAX_EXTENSIONS} extensions, found {}",
                list.len()
            ));
        }
        let mut read = Extensions::default();
        for (place, extension) in list.iter().enumerate() {
            let twice = |earlier: &Extension| earlier.extn_id == extension.extn_id;
            if list.iter().take(place).any(twice) {
                return Err(format!("extension {} stands in it twice", extension.extn_id));
            }
            read.take(extension)?;
        }
        Ok(read)
    }

    fn take(&mut self, extension: &Extension) -> Result<(), String> {
        let value = extension.extn_value.as_bytes();
        match extension.extn_id {
            rfc5280::ID_CE_BASIC_CONSTRAINTS => self.basic = Some(decode(value, "basicConstraints")?),
            rfc5280::ID_CE_KEY_USAGE => self.key_usage = Some(decode(value, "keyUsage")?),
            rfc5280::ID_CE_EXT_KEY_USAGE => {
                let ExtendedKeyUsage(usages) = decode(value, "extKeyUsage")?;
                self.usages = Some((usages, extension.critical));
            }
            rfc5280::ID_CE_SUBJECT_KEY_IDENTIFIER => {
                let SubjectKeyIdentifier(id) = decode(value, "subjectKeyIdentifier")?;
                self.subject_key = Some(id.as_bytes().to_owned());
            }
            rfc5280::ID_CE_AUTHORITY_KEY_IDENTIFIER => {
                let id: AuthorityKeyIdentifier = decode(value, "authorityKeyIdentifier")?;
                self.authority_key = id.key_identifier.map(|id| id.as_bytes().to_owned());
            }
            rfc5280::ID_CE_SUBJECT_ALT_NAME => {
                let names: Result<GeneralNames, String> = decode(value, "subjectAltName");
                if extension.critical && names.is_err() {
                    self.unknown.get_or_insert(extension.extn_id);
                }
                self.names = Some(names);
            }
            rfc5280::ID_CE_NAME_CONSTRAINTS => self.constraints = Some(decode(value, "nameConstraints")?),
            rfc5280::ID_CE_POLICY_CONSTRAINTS => {
                let policy: PolicyConstraints = decode(value, "policyConstraints")?;
                self.explicit_policy = policy.require_explicit_policy.is_some();
            }
            // Any policy will do, so the tree of policies (RFC 5280 §6.1.2) decides nothing.
            rfc5280::ID_CE_CERTIFICATE_POLICIES
            | rfc5280::ID_CE_POLICY_MAPPINGS
            | rfc5280::ID_CE_INHIBIT_ANY_POLICY => {}
            other if extension.critical => {
                self.unknown.get_or_insert(other);
            }
            _ => {}
        }
        Ok(())
    }
}

fn decode<'a, T>(value: &'a [u8], name: &str) -> Result<T, String>
where
    T: Decode<'a>,
    T::Error: std::fmt::Display,
{
    T::from_der(value).map_err(|error| format!("its extension {name} cannot be read ({error})"))
}
