//! How a certificate, a list or a CMS signer says that it is signed: an allow-list, checked against the key.

use der::asn1::{AnyRef, ObjectIdentifier};
use der::{Sequence, Tag};
use spki::AlgorithmIdentifierRef;

use crate::keys::method::{Method, verify_message};
use crate::keys::{Algorithm, PublicKey, Strength};
use crate::trust::{Hash, Options, PssSalt, RsaPadding};
use crate::x509::refusal::{Reason, Refusal};

const fn oid(text: &str) -> ObjectIdentifier {
    ObjectIdentifier::new_unwrap(text)
}

const RSA: ObjectIdentifier = oid("1.2.840.113549.1.1.1");
const RSA_PSS: ObjectIdentifier = oid("1.2.840.113549.1.1.10");
const MGF1: ObjectIdentifier = oid("1.2.840.113549.1.1.8");
const RSA_SHA256: ObjectIdentifier = oid("1.2.840.113549.1.1.11");
const RSA_SHA384: ObjectIdentifier = oid("1.2.840.113549.1.1.12");
const RSA_SHA512: ObjectIdentifier = oid("1.2.840.113549.1.1.13");
const EC: ObjectIdentifier = oid("1.2.840.10045.2.1");
const ECDSA_SHA256: ObjectIdentifier = oid("1.2.840.10045.4.3.2");
const ECDSA_SHA384: ObjectIdentifier = oid("1.2.840.10045.4.3.3");
const ECDSA_SHA512: ObjectIdentifier = oid("1.2.840.10045.4.3.4");
const ED25519: ObjectIdentifier = oid("1.3.101.112");
const MLDSA44: ObjectIdentifier = oid("2.16.840.1.101.3.4.3.17");
const MLDSA65: ObjectIdentifier = oid("2.16.840.1.101.3.4.3.18");
const MLDSA87: ObjectIdentifier = oid("2.16.840.1.101.3.4.3.19");
const SHA256: ObjectIdentifier = oid("2.16.840.1.101.3.4.2.1");
const SHA384: ObjectIdentifier = oid("2.16.840.1.101.3.4.2.2");
const SHA512: ObjectIdentifier = oid("2.16.840.1.101.3.4.2.3");

/// Algorithms that prove nothing any more, by name.
const BROKEN: [(ObjectIdentifier, &str); 9] = [
    (oid("1.3.14.3.2.26"), "SHA-1"),
    (oid("1.2.840.113549.2.5"), "MD5"),
    (oid("1.2.840.113549.1.1.2"), "RSA with MD2"),
    (oid("1.2.840.113549.1.1.4"), "RSA with MD5"),
    (oid("1.2.840.113549.1.1.5"), "RSA with SHA-1"),
    (oid("1.3.14.3.2.29"), "RSA with SHA-1"),
    (oid("1.2.840.10045.4.1"), "ECDSA with SHA-1"),
    (oid("1.2.840.10040.4.3"), "DSA with SHA-1"),
    (oid("1.2.840.10040.4.1"), "DSA"),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    RsaPkcs1(Hash),
    RsaPss { hash: Hash, salt: u32 },
    Ecdsa(Hash),
    Ed25519,
    MlDsa(Algorithm),
}

/// RSASSA-PSS-params, RFC 4055 §3.1. The defaults are SHA-1, so what we accept never leaves anything out.
#[derive(Sequence)]
struct PssParameters<'a> {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    hash: Option<AlgorithmIdentifierRef<'a>>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    mask: Option<AlgorithmIdentifierRef<'a>>,
    #[asn1(context_specific = "2", tag_mode = "EXPLICIT", optional = "true")]
    salt: Option<u32>,
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT", optional = "true")]
    trailer: Option<u32>,
}

fn broken(found: &ObjectIdentifier) -> Option<&'static str> {
    BROKEN
        .iter()
        .find(|(known, _)| known == found)
        .map(|(_, name)| *name)
}

fn refuse(words: impl Into<String>) -> Refusal {
    Refusal::new(Reason::Algorithm, words)
}

/// A hash algorithm of the SHA-2 family; its parameters are absent or NULL (RFC 5754 §2).
pub fn hash(algorithm: &AlgorithmIdentifierRef<'_>) -> Result<Hash, Refusal> {
    if let Some(name) = broken(&algorithm.oid) {
        return Err(refuse(format!(
            "{name} is broken and proves nothing; SHA-256 or longer is needed"
        )));
    }
    if !bare(algorithm.parameters) {
        return Err(refuse(format!("hash algorithm {} has parameters", algorithm.oid)));
    }
    match algorithm.oid {
        SHA256 => Ok(Hash::Sha256),
        SHA384 => Ok(Hash::Sha384),
        SHA512 => Ok(Hash::Sha512),
        other => Err(refuse(format!(
            "hash algorithm {other} is not supported; expected SHA-256, SHA-384 or SHA-512"
        ))),
    }
}

fn bare(parameters: Option<AnyRef<'_>>) -> bool {
    parameters.is_none_or(|any| any.is_null())
}

impl Scheme {
    /// The scheme that a signature algorithm names (RFC 4055, 5758, 8410, 9881).
    pub fn of(algorithm: &AlgorithmIdentifierRef<'_>) -> Result<Self, Refusal> {
        if let Some(name) = broken(&algorithm.oid) {
            return Err(refuse(format!(
                "it is signed with {name}, which can be forged; SHA-256 or longer is needed"
            )));
        }
        let (scheme, fits) = match algorithm.oid {
            RSA_SHA256 => (Scheme::RsaPkcs1(Hash::Sha256), bare(algorithm.parameters)),
            RSA_SHA384 => (Scheme::RsaPkcs1(Hash::Sha384), bare(algorithm.parameters)),
            RSA_SHA512 => (Scheme::RsaPkcs1(Hash::Sha512), bare(algorithm.parameters)),
            RSA_PSS => (pss(algorithm.parameters)?, true),
            ECDSA_SHA256 => (Scheme::Ecdsa(Hash::Sha256), algorithm.parameters.is_none()),
            ECDSA_SHA384 => (Scheme::Ecdsa(Hash::Sha384), algorithm.parameters.is_none()),
            ECDSA_SHA512 => (Scheme::Ecdsa(Hash::Sha512), algorithm.parameters.is_none()),
            ED25519 => (Scheme::Ed25519, algorithm.parameters.is_none()),
            MLDSA44 => (Scheme::MlDsa(Algorithm::MlDsa44), algorithm.parameters.is_none()),
            MLDSA65 => (Scheme::MlDsa(Algorithm::MlDsa65), algorithm.parameters.is_none()),
            MLDSA87 => (Scheme::MlDsa(Algorithm::MlDsa87), algorithm.parameters.is_none()),
            other => {
                return Err(refuse(format!("signature algorithm {other} is not supported")));
            }
        };
        if fits {
            Ok(scheme)
        } else {
            Err(refuse(format!(
                "signature algorithm {} has parameters that it must not have",
                algorithm.oid
            )))
        }
    }

    /// The scheme of a CMS signer, who may name only the kind of key beside his digest algorithm (RFC 5754 §3);
    /// where the signature algorithm names a hash as well, both must agree.
    pub fn of_signer(algorithm: &AlgorithmIdentifierRef<'_>, digest: Hash) -> Result<Self, Refusal> {
        let scheme = match algorithm.oid {
            RSA if bare(algorithm.parameters) => Scheme::RsaPkcs1(digest),
            EC if algorithm.parameters.is_none() => Scheme::Ecdsa(digest),
            _ => Scheme::of(algorithm)?,
        };
        match scheme.hash() {
            Some(named) if named != digest => Err(refuse(format!(
                "the signature algorithm uses {}, the digest algorithm is {}; they must agree",
                named.name(),
                digest.name()
            ))),
            _ => Ok(scheme),
        }
    }

    /// The hash that is part of the scheme; `None` where the message itself is signed.
    pub fn hash(self) -> Option<Hash> {
        match self {
            Scheme::RsaPkcs1(hash) | Scheme::RsaPss { hash, .. } | Scheme::Ecdsa(hash) => Some(hash),
            Scheme::Ed25519 | Scheme::MlDsa(_) => None,
        }
    }

    /// The method by which this key makes such signatures; refused where key and scheme do not fit.
    pub fn method(self, key: &PublicKey) -> Result<Method, Refusal> {
        if key.algorithm.strength() == Strength::Broken {
            return Err(refuse(key.algorithm.weakness()));
        }
        let options = match (self, key.algorithm) {
            (Scheme::RsaPkcs1(hash), Algorithm::Rsa { .. }) => Options {
                hash: Some(hash),
                ..Options::default()
            },
            (Scheme::RsaPss { hash, salt }, Algorithm::Rsa { bits }) => Options {
                hash: Some(hash),
                rsa_padding: Some(RsaPadding::Pss),
                pss_salt: Some(salt_of(hash, salt, bits)?),
                ..Options::default()
            },
            (Scheme::Ecdsa(hash), Algorithm::EcdsaP256 | Algorithm::EcdsaP384) => Options {
                hash: Some(hash),
                ..Options::default()
            },
            (Scheme::Ed25519, Algorithm::Ed25519) => Options::default(),
            (Scheme::MlDsa(named), found) if named == found => Options::default(),
            (_, found) => {
                return Err(refuse(format!(
                    "the signature algorithm does not fit the key, which is {}",
                    found.name()
                )));
            }
        };
        Method::of(key, &options).map_err(refuse)
    }

    /// Whether `signature` over `message` was made with this key in this way.
    pub fn verify(self, key: &PublicKey, message: &[u8], signature: &[u8]) -> Result<bool, Refusal> {
        let method = self.method(key)?;
        Ok(verify_message(key, &method, &[message], signature))
    }
}

fn length(hash: Hash) -> u32 {
    match hash {
        Hash::Sha256 => 32,
        Hash::Sha384 => 48,
        Hash::Sha512 => 64,
    }
}

/// The salt is as long as the digest, or as long as fits (as OpenSSL makes it where nobody tells it otherwise).
fn salt_of(hash: Hash, salt: u32, bits: u32) -> Result<PssSalt, Refusal> {
    let longest = bits
        .saturating_add(6)
        .checked_div(8)
        .unwrap_or_default()
        .saturating_sub(length(hash))
        .saturating_sub(2);
    if salt == length(hash) {
        Ok(PssSalt::Digest)
    } else if salt == longest {
        Ok(PssSalt::Max)
    } else {
        Err(refuse(format!(
            "RSA-PSS with a salt of {salt} bytes is not supported; expected {} or {longest}",
            length(hash)
        )))
    }
}

fn pss(parameters: Option<AnyRef<'_>>) -> Result<Scheme, Refusal> {
    let wrong = |why: &str| refuse(format!("RSA-PSS parameters: {why}"));
    let any = parameters.ok_or_else(|| wrong("absent, which means SHA-1; SHA-256 or longer is needed"))?;
    if der::Tagged::tag(&any) != Tag::Sequence {
        return Err(wrong("not a SEQUENCE"));
    }
    let parameters: PssParameters<'_> = any
        .decode_as()
        .map_err(|error| wrong(&format!("not in DER ({error})")))?;
    let (Some(named), Some(mask), Some(salt)) = (parameters.hash, parameters.mask, parameters.salt) else {
        return Err(wrong(
            "hash, mask or salt length is left out, which means SHA-1; name SHA-256 or longer",
        ));
    };
    let hash_algorithm = hash(&named)?;
    let masked = mask
        .parameters
        .and_then(|any| any.decode_as::<AlgorithmIdentifierRef<'_>>().ok());
    let same = match &masked {
        Some(inner) if mask.oid == MGF1 => hash(inner)? == hash_algorithm,
        _ => return Err(wrong("the mask is not MGF1 with a hash")),
    };
    if !same {
        return Err(wrong("the mask uses another hash than the signature"));
    }
    if parameters.trailer.is_some_and(|trailer| trailer != 1) {
        return Err(wrong("the trailer field is not 1"));
    }
    Ok(Scheme::RsaPss {
        hash: hash_algorithm,
        salt,
    })
}
