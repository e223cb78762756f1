//! Keys in DER, recognised by their whole structure: random bytes that begin like a key are none.

use aws_lc_rs::agreement;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use der::asn1::{AnyRef, BitString, BitStringRef, ObjectIdentifier, OctetStringRef, UintRef};
use der::{Decode, Encode, Reader, SliceReader, Tag, Tagged};
use sha2::{Digest, Sha256};
use spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfo};

use crate::source::hex;

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const X25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.110");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");
const PKCS5: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.5");
const PKCS12: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.1");
/// An RSA private key has nine elements, or ten with further primes; nothing here has more.
const MAX_ELEMENTS: usize = 10;

/// What is said about a private key; its secret part is never kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Private {
    pub form: &'static str,
    pub algorithm: String,
    pub encrypted: bool,
    /// `sha256:…` of the SubjectPublicKeyInfo of its public half, where that can be told.
    pub fingerprint: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Public {
    pub algorithm: String,
    pub fingerprint: String,
}

/// The length of the element that begins here, header and content, if it is a SEQUENCE; and that of its header.
pub fn sequence(head: &[u8]) -> Option<(usize, usize)> {
    let (header, content) = match head {
        [0x30, short, ..] if *short < 0x80 => (2_usize, usize::from(*short)),
        [0x30, 0x81, length, ..] if *length >= 0x80 => (3, usize::from(*length)),
        [0x30, 0x82, high, low, ..] if *high > 0 => (4, usize::from(u16::from_be_bytes([*high, *low]))),
        _ => return None,
    };
    Some((header.checked_add(content)?, header))
}

fn elements(der: &[u8]) -> Option<Vec<AnyRef<'_>>> {
    let whole = AnyRef::from_der(der).ok()?;
    if whole.tag() != Tag::Sequence {
        return None;
    }
    let mut reader = SliceReader::new(whole.value()).ok()?;
    let mut all = Vec::new();
    while !reader.is_finished() {
        if all.len() == MAX_ELEMENTS {
            return None;
        }
        all.push(AnyRef::decode(&mut reader).ok()?);
    }
    Some(all)
}

pub fn fingerprint(spki: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(spki)))
}

/// Any private key: PKCS#8 (encrypted or not), PKCS#1, SEC1.
pub fn private(der: &[u8]) -> Option<Private> {
    let parts = elements(der)?;
    match parts.as_slice() {
        [algorithm, key] if algorithm.tag() == Tag::Sequence && key.tag() == Tag::OctetString => {
            encrypted(*algorithm)
        }
        [version, algorithm, key, rest @ ..] if algorithm.tag() == Tag::Sequence => {
            let version = version.decode_as::<u8>().ok()?;
            let extra = rest.len() <= 2 && rest.iter().all(|part| part.tag().is_context_specific());
            if version > 1 || !extra {
                return None;
            }
            let algorithm = algorithm.decode_as::<AlgorithmIdentifierRef<'_>>().ok()?;
            pkcs8(&algorithm, key.decode_as::<&OctetStringRef>().ok()?.as_bytes())
        }
        [version, ..] if parts.len() == 9 => {
            (version.decode_as::<u8>().ok()? == 0).then_some(())?;
            rsa(&parts, "PKCS#1")
        }
        [version, key, rest @ ..] if key.tag() == Tag::OctetString => {
            (version.decode_as::<u8>().ok()? == 1 && !rest.is_empty()).then_some(())?;
            ec(der, None, "SEC1")
        }
        _ => None,
    }
}

fn encrypted(algorithm: AnyRef<'_>) -> Option<Private> {
    let algorithm = algorithm.decode_as::<AlgorithmIdentifierRef<'_>>().ok()?;
    let parent = algorithm.oid.parent()?;
    (parent == PKCS5 || parent == PKCS12).then(|| Private {
        form: "PKCS#8",
        algorithm: "unknown algorithm".to_owned(),
        encrypted: true,
        fingerprint: None,
    })
}

fn pkcs8(algorithm: &AlgorithmIdentifierRef<'_>, key: &[u8]) -> Option<Private> {
    let plain = |algorithm: String, fingerprint: Option<String>| Private {
        form: "PKCS#8",
        algorithm,
        encrypted: false,
        fingerprint,
    };
    match algorithm.oid {
        RSA => rsa(&elements(key)?, "PKCS#8"),
        EC => ec(key, algorithm.parameters, "PKCS#8"),
        ED25519 | X25519 => {
            let seed = <&OctetStringRef>::from_der(key).ok()?.as_bytes();
            let raw = if algorithm.oid == ED25519 {
                let pair = Ed25519KeyPair::from_seed_unchecked(seed).ok()?;
                pair.public_key().as_ref().to_vec()
            } else {
                derived(&agreement::X25519, seed)?
            };
            let spki = spki(algorithm, &raw)?;
            Some(plain(name(algorithm), Some(fingerprint(&spki))))
        }
        _ if key.len() >= 16 && known_algorithm(algorithm.oid) => Some(plain(name(algorithm), None)),
        _ => None,
    }
}

fn known_algorithm(oid: ObjectIdentifier) -> bool {
    !algorithm_name(oid).is_empty()
}

fn algorithm_name(oid: ObjectIdentifier) -> &'static str {
    match oid.to_string().as_str() {
        "1.2.840.113549.1.1.1" => "RSA",
        "1.2.840.113549.1.1.10" => "RSASSA-PSS",
        "1.2.840.10045.2.1" => "EC",
        "1.2.840.10040.4.1" => "DSA",
        "1.3.101.110" => "X25519",
        "1.3.101.111" => "X448",
        "1.3.101.112" => "Ed25519",
        "1.3.101.113" => "Ed448",
        "2.16.840.1.101.3.4.3.17" => "ML-DSA-44",
        "2.16.840.1.101.3.4.3.18" => "ML-DSA-65",
        "2.16.840.1.101.3.4.3.19" => "ML-DSA-87",
        _ => "",
    }
}

/// Name and length of the scalar, in bytes.
fn curve(oid: ObjectIdentifier) -> Option<(&'static str, usize)> {
    Some(match oid.to_string().as_str() {
        "1.2.840.10045.3.1.1" => ("EC P-192", 24),
        "1.3.132.0.33" => ("EC P-224", 28),
        "1.2.840.10045.3.1.7" => ("EC P-256", 32),
        "1.3.132.0.34" => ("EC P-384", 48),
        "1.3.132.0.35" => ("EC P-521", 66),
        "1.3.132.0.10" => ("EC secp256k1", 32),
        "1.3.36.3.3.2.8.1.1.7" => ("EC brainpoolP256r1", 32),
        "1.3.36.3.3.2.8.1.1.11" => ("EC brainpoolP384r1", 48),
        "1.3.36.3.3.2.8.1.1.13" => ("EC brainpoolP512r1", 64),
        _ => return None,
    })
}

fn name(algorithm: &AlgorithmIdentifierRef<'_>) -> String {
    let oid = algorithm
        .parameters
        .and_then(|any| any.decode_as::<ObjectIdentifier>().ok());
    match (algorithm.oid, oid.and_then(curve)) {
        (EC, Some((name, _))) => name.to_owned(),
        (EC, None) => "EC, unknown curve".to_owned(),
        (oid, _) => match algorithm_name(oid) {
            "" => oid.to_string(),
            name => name.to_owned(),
        },
    }
}

fn spki(algorithm: &AlgorithmIdentifierRef<'_>, key: &[u8]) -> Option<Vec<u8>> {
    let info = SubjectPublicKeyInfo {
        algorithm: *algorithm,
        subject_public_key: BitString::from_bytes(key).ok()?,
    };
    info.to_der().ok()
}

fn derived(algorithm: &'static agreement::Algorithm, key: &[u8]) -> Option<Vec<u8>> {
    let key = agreement::PrivateKey::from_private_key(algorithm, key).ok()?;
    Some(key.compute_public_key().ok()?.as_ref().to_vec())
}

fn low_bits(number: &UintRef<'_>) -> u64 {
    number
        .as_bytes()
        .iter()
        .rev()
        .take(8)
        .enumerate()
        .fold(0, |sum, (place, byte)| {
            let shift = u32::try_from(place.saturating_mul(8)).unwrap_or(0);
            sum | u64::from(*byte).checked_shl(shift).unwrap_or(0)
        })
}

fn bits(number: &UintRef<'_>) -> usize {
    let bytes = number.as_bytes();
    let zeros = bytes.first().map_or(0, |byte| byte.leading_zeros());
    bytes
        .len()
        .saturating_mul(8)
        .saturating_sub(usize::try_from(zeros).unwrap_or(0))
}

/// RSAPrivateKey of RFC 8017 A.1.2. The primes must multiply to the modulus, as far as 64 bits tell.
fn rsa(parts: &[AnyRef<'_>], form: &'static str) -> Option<Private> {
    let [_, modulus, exponent, _, p, q, ..] = parts else {
        return None;
    };
    let number = |any: &AnyRef<'_>| {
        any.decode_as::<UintRef<'_>>()
            .ok()
            .map(|number| number.as_bytes().to_vec())
    };
    if parts.len() < 9 || !parts.iter().all(|part| part.tag() == Tag::Integer) {
        return None;
    }
    let (n, e, p, q) = (number(modulus)?, number(exponent)?, number(p)?, number(q)?);
    let (n, e, p, q) = (
        UintRef::new(&n).ok()?,
        UintRef::new(&e).ok()?,
        UintRef::new(&p).ok()?,
        UintRef::new(&q).ok()?,
    );
    let product = low_bits(&p).wrapping_mul(low_bits(&q));
    if bits(&n) < 512 || product != low_bits(&n) || low_bits(&e) & 1 == 0 {
        return None;
    }
    Some(Private {
        form,
        algorithm: format!("RSA-{}", bits(&n)),
        encrypted: false,
        fingerprint: rsa_spki(&n, &e).map(|spki| fingerprint(&spki)),
    })
}

fn rsa_spki(modulus: &UintRef<'_>, exponent: &UintRef<'_>) -> Option<Vec<u8>> {
    let mut inner = modulus.to_der().ok()?;
    inner.extend(exponent.to_der().ok()?);
    let key = AnyRef::new(Tag::Sequence, &inner).ok()?.to_der().ok()?;
    let algorithm = AlgorithmIdentifierRef {
        oid: RSA,
        parameters: Some(AnyRef::NULL),
    };
    spki(&algorithm, &key)
}

/// ECPrivateKey of RFC 5915; the curve stands in it, or in the PKCS#8 wrapping.
fn ec(der: &[u8], outer: Option<AnyRef<'_>>, form: &'static str) -> Option<Private> {
    let parts = elements(der)?;
    let [version, key, rest @ ..] = parts.as_slice() else {
        return None;
    };
    if version.decode_as::<u8>().ok()? != 1 {
        return None;
    }
    let scalar = key.decode_as::<&OctetStringRef>().ok()?.as_bytes();
    let mut oid = outer.and_then(|any| any.decode_as::<ObjectIdentifier>().ok());
    let mut point = None;
    for part in rest {
        let Tag::ContextSpecific { number, .. } = part.tag() else {
            return None;
        };
        match number.value() {
            0 => oid = oid.or(ObjectIdentifier::from_der(part.value()).ok()),
            1 => {
                point = BitStringRef::from_der(part.value())
                    .ok()?
                    .as_bytes()
                    .map(<[u8]>::to_vec)
            }
            _ => return None,
        }
    }
    let Some((name, length)) = oid.and_then(curve) else {
        // Without a curve only a public half of the right length tells a key from other numbers.
        let fits = scalar.len().checked_mul(2).and_then(|twice| twice.checked_add(1));
        return (point.map(|point| point.len()) == fits).then(|| Private {
            form,
            algorithm: "EC, unknown curve".to_owned(),
            encrypted: false,
            fingerprint: None,
        });
    };
    if scalar.len() != length {
        return None;
    }
    let computed = match oid {
        Some(P256) => Some(derived(&agreement::ECDH_P256, scalar)?),
        Some(P384) => Some(derived(&agreement::ECDH_P384, scalar)?),
        Some(P521) => Some(derived(&agreement::ECDH_P521, scalar)?),
        _ => point,
    };
    let oid = oid?.to_der().ok()?;
    let algorithm = AlgorithmIdentifierRef {
        oid: EC,
        parameters: AnyRef::from_der(&oid).ok(),
    };
    Some(Private {
        form,
        algorithm: name.to_owned(),
        encrypted: false,
        fingerprint: computed
            .and_then(|point| spki(&algorithm, &point))
            .map(|spki| fingerprint(&spki)),
    })
}

/// A SubjectPublicKeyInfo of a known algorithm.
pub fn public(der: &[u8]) -> Option<Public> {
    let info = spki::SubjectPublicKeyInfoRef::from_der(der).ok()?;
    if !known_algorithm(info.algorithm.oid) {
        return None;
    }
    let key = info.subject_public_key.as_bytes()?;
    let algorithm = if info.algorithm.oid == RSA {
        let parts = elements(key)?;
        let [modulus, _] = parts.as_slice() else {
            return None;
        };
        let modulus = modulus.decode_as::<UintRef<'_>>().ok()?;
        format!("RSA-{}", bits(&modulus))
    } else {
        name(&info.algorithm)
    };
    (key.len() >= 32).then(|| Public {
        algorithm,
        fingerprint: fingerprint(der),
    })
}

/// A bare RSAPublicKey (PKCS#1), under the fingerprint of its SubjectPublicKeyInfo.
pub fn public_pkcs1(der: &[u8]) -> Option<Public> {
    let parts = elements(der)?;
    let [modulus, exponent] = parts.as_slice() else {
        return None;
    };
    let (n, e) = (
        modulus.decode_as::<UintRef<'_>>().ok()?,
        exponent.decode_as::<UintRef<'_>>().ok()?,
    );
    Some(Public {
        algorithm: format!("RSA-{}", bits(&n)),
        fingerprint: fingerprint(&rsa_spki(&n, &e)?),
    })
}
