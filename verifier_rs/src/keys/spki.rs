//! SubjectPublicKeyInfo around a key that came in a tool's own encoding, so that one key has one fingerprint.

use ::spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};
use der::asn1::{AnyRef, BitStringRef, ObjectIdentifier, UintRef};
use der::{Encode, Tag};

use super::{EC, ED25519, P256, P384, PublicKey, RSA, RsaPublicKey};

fn wrap(oid: ObjectIdentifier, parameters: Option<AnyRef<'_>>, raw: &[u8]) -> Result<PublicKey, String> {
    let encode = || -> der::Result<Vec<u8>> {
        SubjectPublicKeyInfoRef {
            algorithm: AlgorithmIdentifierRef { oid, parameters },
            subject_public_key: BitStringRef::from_bytes(raw)?,
        }
        .to_der()
    };
    PublicKey::from_spki(&encode().map_err(|error| format!("the key cannot be encoded ({error})"))?)
}

/// RFC 8410 §4.
pub fn ed25519(raw: &[u8]) -> Result<PublicKey, String> {
    wrap(ED25519, None, raw)
}

/// RFC 8017 A.1.1: both numbers big-endian.
pub fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<PublicKey, String> {
    let encode = || -> der::Result<Vec<u8>> {
        RsaPublicKey {
            modulus: UintRef::new(modulus)?,
            exponent: UintRef::new(exponent)?,
        }
        .to_der()
    };
    let raw = encode().map_err(|error| format!("the RSA key cannot be encoded ({error})"))?;
    wrap(RSA, Some(AnyRef::NULL), &raw)
}

/// RFC 5480 §2.1.1, for one of the two curves: the point, uncompressed.
pub fn p256(point: &[u8]) -> Result<PublicKey, String> {
    ec(P256, point)
}

pub fn p384(point: &[u8]) -> Result<PublicKey, String> {
    ec(P384, point)
}

fn ec(curve: ObjectIdentifier, point: &[u8]) -> Result<PublicKey, String> {
    if point.first() != Some(&4) {
        return Err(
            "the point of the EC key is not written out in full (SEC 1 §2.3.3, first byte 04)".to_owned(),
        );
    }
    let parameters = AnyRef::new(Tag::ObjectIdentifier, curve.as_bytes())
        .map_err(|error| format!("the curve cannot be encoded ({error})"))?;
    wrap(EC, Some(parameters), point)
}
