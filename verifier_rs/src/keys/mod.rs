//! Public keys, checked when they are read, by one fingerprint whatever encoding they came in.

use ::spki::SubjectPublicKeyInfoRef;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ML_DSA_44, ML_DSA_65, ML_DSA_87, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256,
};
use der::asn1::{ObjectIdentifier, UintRef};
use der::{Decode, Sequence};
use sha2::{Digest, Sha256, Sha384};

use crate::openpgp::certificate::Certificate;
use crate::source::hex;

pub mod ed25519;
pub mod hss;
pub mod method;
pub mod minisign;
pub mod mldsa;
pub mod pss;
mod read;
pub mod spki;
pub mod ssh;

pub(crate) use read::PRIVATE;
pub use read::{Enrolled, Hint, read};

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const RSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
/// RFC 9881 §3.
const MLDSA44: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.17");
const MLDSA65: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.18");
const MLDSA87: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.19");

/// RFC 9708 §4.
const HSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.3.17");

/// What kind of key it is; the algorithm of a verification follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    Rsa {
        bits: u32,
    },
    EcdsaP256,
    EcdsaP384,
    Ed25519,
    MlDsa44,
    MlDsa65,
    MlDsa87,
    /// HSS/LMS, with the length of its hash.
    Hss {
        bits: u32,
    },
    /// A certificate; the keys in it are others.
    OpenPgp,
}

impl Algorithm {
    pub fn name(self) -> String {
        match self {
            Algorithm::Rsa { bits } => format!("RSA-{bits}"),
            Algorithm::EcdsaP256 => "ECDSA P-256".to_owned(),
            Algorithm::EcdsaP384 => "ECDSA P-384".to_owned(),
            Algorithm::Ed25519 => "Ed25519".to_owned(),
            Algorithm::MlDsa44 => "ML-DSA-44".to_owned(),
            Algorithm::MlDsa65 => "ML-DSA-65".to_owned(),
            Algorithm::MlDsa87 => "ML-DSA-87".to_owned(),
            Algorithm::Hss { .. } => "HSS/LMS".to_owned(),
            Algorithm::OpenPgp => "OpenPGP".to_owned(),
        }
    }

    /// The size of the key as it is usually told; of ML-DSA the length of the encoded key, of HSS that of its hash.
    pub fn bits(self) -> u32 {
        match self {
            Algorithm::Rsa { bits } | Algorithm::Hss { bits } => bits,
            Algorithm::EcdsaP256 | Algorithm::Ed25519 => 256,
            Algorithm::EcdsaP384 => 384,
            Algorithm::MlDsa44 => 1312 * 8,
            Algorithm::MlDsa65 => 1952 * 8,
            Algorithm::MlDsa87 => 2592 * 8,
            Algorithm::OpenPgp => 0,
        }
    }

    pub fn strength(self) -> Strength {
        match self {
            Algorithm::Rsa { bits } if bits < 2048 => Strength::Broken,
            Algorithm::Rsa { bits } if bits < 3072 => Strength::Weak,
            _ => Strength::Strong,
        }
    }

    /// Why the key is not strong; empty where it is.
    pub fn weakness(self) -> String {
        match self.strength() {
            Strength::Strong => String::new(),
            Strength::Weak => format!(
                "{} gives about 112 bits of security; new products should sign with RSA-3072, ECDSA P-256 or Ed25519",
                self.name()
            ),
            Strength::Broken => format!(
                "{} can be broken; nothing signed with it proves anything, at least RSA-2048 is needed",
                self.name()
            ),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strength {
    Strong,
    Weak,
    Broken,
}

/// A public key, checked when it was read.
pub struct PublicKey {
    pub algorithm: Algorithm,
    /// SubjectPublicKeyInfo, DER; of an OpenPGP certificate its packets.
    pub spki: Vec<u8>,
    /// What the verifying library takes: PKCS#1 DER for RSA, the point for EC, 32 bytes for Ed25519.
    pub raw: Vec<u8>,
    pub ed25519: Option<ed25519::Key>,
    pub openpgp: Option<Box<Certificate>>,
}

impl PublicKey {
    /// `sha256:` and the hexadecimal SHA-256 of the SubjectPublicKeyInfo: the name of the key itself.
    pub fn fingerprint(&self) -> String {
        format!("sha256:{}", hex(&Sha256::digest(&self.spki)))
    }

    /// The algorithm by whose strength the key is judged: of an OpenPGP certificate that of its weakest signing key.
    pub fn weakest(&self) -> Algorithm {
        let inside = self.openpgp.as_deref().and_then(Certificate::weakest);
        inside.unwrap_or(self.algorithm)
    }

    /// The encoding that MCUboot hashes for its KEYHASH entry: PKCS#1 for RSA, SubjectPublicKeyInfo otherwise.
    pub fn mcuboot_encoding(&self) -> &[u8] {
        match self.algorithm {
            Algorithm::Rsa { .. } => &self.raw,
            _ => &self.spki,
        }
    }

    /// The hash by which images name this key: SHA-384 for P-384, SHA-256 otherwise, as imgtool does by default.
    pub fn mcuboot_key_hash(&self) -> String {
        match self.algorithm {
            Algorithm::EcdsaP384 => hex(&Sha384::digest(self.mcuboot_encoding())),
            _ => hex(&Sha256::digest(self.mcuboot_encoding())),
        }
    }

    /// Read a SubjectPublicKeyInfo in DER.
    pub fn from_spki(der: &[u8]) -> Result<Self, String> {
        let spki = SubjectPublicKeyInfoRef::from_der(der)
            .map_err(|error| format!("not a SubjectPublicKeyInfo in DER ({error})"))?;
        let raw = spki
            .subject_public_key
            .as_bytes()
            .ok_or("the public key is not a whole number of bytes")?;
        let parameters = spki.algorithm.parameters;
        let mut point = None;
        let algorithm = match spki.algorithm.oid {
            RSA => {
                if !parameters.is_some_and(|any| any.is_null()) {
                    return Err("the RSA key's parameters are not NULL".to_owned());
                }
                rsa(raw)?
            }
            EC => {
                let curve = parameters
                    .and_then(|any| any.decode_as::<ObjectIdentifier>().ok())
                    .ok_or("the EC key does not name its curve (explicit parameters are not accepted)")?;
                match curve {
                    P256 => Algorithm::EcdsaP256,
                    P384 => Algorithm::EcdsaP384,
                    other => return Err(format!("curve {other} is not supported; use P-256 or P-384")),
                }
            }
            ED25519 => {
                if parameters.is_some() {
                    return Err("the Ed25519 key has parameters, which RFC 8410 forbids".to_owned());
                }
                point = Some(ed25519::Key::parse(raw)?);
                Algorithm::Ed25519
            }
            MLDSA44 | MLDSA65 | MLDSA87 if parameters.is_some() => {
                return Err("the ML-DSA key has parameters, which RFC 9881 forbids".to_owned());
            }
            MLDSA44 => Algorithm::MlDsa44,
            MLDSA65 => Algorithm::MlDsa65,
            MLDSA87 => Algorithm::MlDsa87,
            HSS => {
                if parameters.is_some() {
                    return Err("the HSS key has parameters, which RFC 9708 forbids".to_owned());
                }
                Algorithm::Hss {
                    bits: hss::Key::parse(raw)?.bits(),
                }
            }
            RSA_PSS => {
                return Err(
                    "the key is restricted to RSASSA-PSS; enrol it as a plain RSA key with the option \
                     rsa_padding \"pss\""
                        .to_owned(),
                );
            }
            other => {
                return Err(format!(
                    "keys of type {other} are not supported; use RSA, ECDSA P-256 or P-384, Ed25519, \
                     ML-DSA or HSS/LMS"
                ));
            }
        };
        // The library checks what it must be able to rely on: the point is on its curve, the modulus is odd.
        let usable = match algorithm {
            Algorithm::EcdsaP256 => ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, raw).is_ok(),
            Algorithm::EcdsaP384 => ParsedPublicKey::new(&ECDSA_P384_SHA384_ASN1, raw).is_ok(),
            Algorithm::Rsa { bits } if bits >= 2048 => {
                ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, raw).is_ok()
            }
            Algorithm::MlDsa44 => ParsedPublicKey::new(&ML_DSA_44, raw).is_ok(),
            Algorithm::MlDsa65 => ParsedPublicKey::new(&ML_DSA_65, raw).is_ok(),
            Algorithm::MlDsa87 => ParsedPublicKey::new(&ML_DSA_87, raw).is_ok(),
            Algorithm::Rsa { .. } | Algorithm::Ed25519 | Algorithm::Hss { .. } | Algorithm::OpenPgp => true,
        };
        if !usable {
            return Err(format!("not a valid {} key", algorithm.name()));
        }
        Ok(PublicKey {
            algorithm,
            spki: der.to_owned(),
            raw: raw.to_owned(),
            ed25519: point,
            openpgp: None,
        })
    }
}

/// RSAPublicKey of RFC 8017 A.1.1.
#[derive(Sequence)]
pub(crate) struct RsaPublicKey<'a> {
    pub modulus: UintRef<'a>,
    pub exponent: UintRef<'a>,
}

fn rsa(der: &[u8]) -> Result<Algorithm, String> {
    let key = RsaPublicKey::from_der(der).map_err(|error| format!("not an RSA key in DER ({error})"))?;
    let (Some(first), Some(last)) = (key.modulus.as_bytes().first(), key.modulus.as_bytes().last()) else {
        return Err("the RSA modulus is empty".to_owned());
    };
    if last & 1 == 0 {
        return Err("the RSA modulus is even".to_owned());
    }
    let bytes = u32::try_from(key.modulus.as_bytes().len()).unwrap_or(u32::MAX);
    let bits = bytes.saturating_mul(8).saturating_sub(first.leading_zeros());
    if !(1024..=8192).contains(&bits) {
        return Err(format!("RSA-{bits} is not supported; expected 2048 to 8192 bits"));
    }
    let exponent = key.exponent.as_bytes();
    let odd = exponent.last().is_some_and(|b| b & 1 == 1);
    // 65,537 is 01 00 01: anything of three bytes is at least 65,536, and odd.
    if !odd || !(3..=4).contains(&exponent.len()) {
        return Err(format!(
            "the RSA exponent 0x{} is not accepted; expected an odd one of 65,537 or more (up to 32 bits)",
            hex(exponent)
        ));
    }
    Ok(Algorithm::Rsa { bits })
}

/// Who and when, for a key that came in a certificate.
#[derive(Clone, Debug)]
pub struct CertificateFacts {
    pub subject: String,
    pub issuer: String,
    /// Seconds since 1970.
    pub not_before: f64,
    pub not_after: f64,
}
