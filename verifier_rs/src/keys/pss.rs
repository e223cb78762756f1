//! RSASSA-PSS with the longest salt that fits, as `openssl dgst` makes it by default and SWUpdate's documents tell
//! vendors to. aws-lc takes only a salt as long as the digest; this is the one method that another library checks.

use der::Decode;
use rsa::pss::{Signature, VerifyingKey};
use rsa::signature::hazmat::PrehashVerifier;
use rsa::{BigUint, RsaPublicKey};

use crate::keys::RsaPublicKey as Encoded;
use crate::trust::Hash;

const MAX_BITS: usize = 8192;

/// A key with the hash and the salt length that its signatures have.
pub enum Key {
    Sha256(VerifyingKey<rsa::sha2::Sha256>),
    Sha384(VerifyingKey<rsa::sha2::Sha384>),
    Sha512(VerifyingKey<rsa::sha2::Sha512>),
}

impl Key {
    /// Read a key in PKCS#1 DER that was checked before (`keys::PublicKey`).
    pub fn parse(pkcs1: &[u8], hash: Hash) -> Result<Self, String> {
        let wrong = || "not a valid RSA key".to_owned();
        let encoded = Encoded::from_der(pkcs1).map_err(|_| wrong())?;
        let modulus = BigUint::from_bytes_be(encoded.modulus.as_bytes());
        let bits = modulus.bits();
        let key = RsaPublicKey::new_with_max_size(
            modulus,
            BigUint::from_bytes_be(encoded.exponent.as_bytes()),
            MAX_BITS,
        )
        .map_err(|_| wrong())?;
        // RFC 8017 §9.1.1: emLen = ⌈(modBits - 1) / 8⌉ bytes hold the digest, two more bytes and the salt.
        let room = bits.saturating_sub(1).div_ceil(8);
        let salt = |digest: usize| {
            room.checked_sub(digest.saturating_add(2))
                .ok_or_else(|| format!("RSA-{bits} is too short for PSS with {}", hash.name()))
        };
        Ok(match hash {
            Hash::Sha256 => Key::Sha256(VerifyingKey::new_with_salt_len(key, salt(32)?)),
            Hash::Sha384 => Key::Sha384(VerifyingKey::new_with_salt_len(key, salt(48)?)),
            Hash::Sha512 => Key::Sha512(VerifyingKey::new_with_salt_len(key, salt(64)?)),
        })
    }

    pub fn hash(&self) -> Hash {
        match self {
            Key::Sha256(_) => Hash::Sha256,
            Key::Sha384(_) => Hash::Sha384,
            Key::Sha512(_) => Hash::Sha512,
        }
    }

    /// Check a signature over a digest that was made earlier.
    pub fn verify_digest(&self, digest: &[u8], signature: &[u8]) -> bool {
        fn holds(key: &impl PrehashVerifier<Signature>, digest: &[u8], signature: &[u8]) -> bool {
            Signature::try_from(signature)
                .is_ok_and(|signature| key.verify_prehash(digest, &signature).is_ok())
        }
        match self {
            Key::Sha256(key) => holds(key, digest, signature),
            Key::Sha384(key) => holds(key, digest, signature),
            Key::Sha512(key) => holds(key, digest, signature),
        }
    }
}
