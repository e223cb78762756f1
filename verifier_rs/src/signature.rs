//! One signature over one message: the method comes from the enrolment of the key, nothing from the signature.

use aws_lc_rs::digest::{self, Digest as AwsDigest};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA384_ASN1, ECDSA_P256_SHA512_ASN1,
    ECDSA_P384_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA384_FIXED, ECDSA_P384_SHA512_ASN1,
    ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
    RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, VerificationAlgorithm,
};
use sha2::{Digest, Sha256, Sha384, Sha512};

use crate::key::{Algorithm, PublicKey, Strength};
use crate::trust::{EcdsaEncoding, Hash, Options, RsaPadding};

/// How signatures by one key are checked.
pub enum Method {
    /// Ed25519 signs the message itself.
    Ed25519,
    /// RSA and ECDSA sign a digest of it.
    Digest { hash: Hash, key: ParsedPublicKey },
    /// A key that is too short to prove anything is not even tried.
    TooWeak,
}

impl Method {
    /// The method that the options of an enrolment name; options that do not fit the key are refused.
    pub fn of(key: &PublicKey, options: &Options) -> Result<Self, String> {
        let name = key.algorithm.name();
        let misfit = |option: &str| Err(format!("{option} does not apply to {name}"));
        let (rsa, ecdsa) = match key.algorithm {
            Algorithm::Rsa { .. } => (true, false),
            Algorithm::EcdsaP256 | Algorithm::EcdsaP384 => (false, true),
            Algorithm::Ed25519 => (false, false),
        };
        let padding = options.rsa_padding.unwrap_or(RsaPadding::Pkcs1v15);
        if options.rsa_padding.is_some() && !rsa {
            return misfit("rsa_padding");
        }
        if options.pss_salt.is_some() && !(rsa && padding == RsaPadding::Pss) {
            return Err("pss_salt applies only to RSA keys with rsa_padding \"pss\"".to_owned());
        }
        if options.ecdsa_encoding.is_some() && !ecdsa {
            return misfit("ecdsa_encoding");
        }
        if options.hash.is_some() && !rsa && !ecdsa {
            return misfit("hash");
        }
        if key.algorithm == Algorithm::Ed25519 {
            return Ok(Method::Ed25519);
        }
        if key.algorithm.strength() == Strength::Broken {
            return Ok(Method::TooWeak);
        }
        let usual = if key.algorithm == Algorithm::EcdsaP384 {
            Hash::Sha384
        } else {
            Hash::Sha256
        };
        let hash = options.hash.unwrap_or(usual);
        let encoding = options.ecdsa_encoding.unwrap_or(EcdsaEncoding::Der);
        let verifier: &'static dyn VerificationAlgorithm = match (key.algorithm, hash) {
            (Algorithm::Rsa { .. }, _) => rsa_verifier(padding, hash),
            (Algorithm::EcdsaP256, Hash::Sha256) if encoding == EcdsaEncoding::P1363 => {
                &ECDSA_P256_SHA256_FIXED
            }
            (Algorithm::EcdsaP384, Hash::Sha384) if encoding == EcdsaEncoding::P1363 => {
                &ECDSA_P384_SHA384_FIXED
            }
            _ if encoding == EcdsaEncoding::P1363 => {
                return Err(format!(
                    "ecdsa_encoding \"p1363\" with {name} needs hash {}",
                    usual.name()
                ));
            }
            (Algorithm::EcdsaP384, Hash::Sha256) => &ECDSA_P384_SHA256_ASN1,
            (Algorithm::EcdsaP384, Hash::Sha384) => &ECDSA_P384_SHA384_ASN1,
            (Algorithm::EcdsaP384, Hash::Sha512) => &ECDSA_P384_SHA512_ASN1,
            (_, Hash::Sha256) => &ECDSA_P256_SHA256_ASN1,
            (_, Hash::Sha384) => &ECDSA_P256_SHA384_ASN1,
            (_, Hash::Sha512) => &ECDSA_P256_SHA512_ASN1,
        };
        let key = ParsedPublicKey::new(verifier, &key.raw).map_err(|_| format!("not a valid {name} key"))?;
        Ok(Method::Digest { hash, key })
    }

    /// How MCUboot signs with a key of this kind: RSA-PSS, ECDSA in DER, or Ed25519, whatever the enrolment says
    /// about detached signatures.
    pub fn mcuboot(key: &PublicKey) -> Result<Self, String> {
        let options = match key.algorithm {
            Algorithm::Rsa { .. } => Options {
                rsa_padding: Some(RsaPadding::Pss),
                ..Options::default()
            },
            _ => Options::default(),
        };
        Self::of(key, &options)
    }

    /// Check a signature over a digest made earlier with this method's hash.
    pub fn verify_digest(&self, message_digest: &[u8], signature: &[u8]) -> bool {
        match self {
            Method::Digest { hash, key } => AwsDigest::import_less_safe(message_digest, aws(*hash))
                .and_then(|digest| key.verify_digest_sig(&digest, signature))
                .is_ok(),
            Method::Ed25519 | Method::TooWeak => false,
        }
    }
}

/// Check a signature over a message that is at hand, given as its parts.
pub fn verify_message(key: &PublicKey, method: &Method, message: &[&[u8]], signature: &[u8]) -> bool {
    match method {
        Method::Ed25519 => key.ed25519.as_ref().is_some_and(|key| {
            key.claim(message, signature)
                .is_some_and(|claim| key.holds(&claim))
        }),
        Method::Digest { hash, .. } => method.verify_digest(&digest_of(*hash, message), signature),
        Method::TooWeak => false,
    }
}

fn digest_of(hash: Hash, message: &[&[u8]]) -> Vec<u8> {
    fn run<D: Digest>(message: &[&[u8]]) -> Vec<u8> {
        let mut state = D::new();
        for part in message {
            state.update(part);
        }
        state.finalize().to_vec()
    }
    match hash {
        Hash::Sha256 => run::<Sha256>(message),
        Hash::Sha384 => run::<Sha384>(message),
        Hash::Sha512 => run::<Sha512>(message),
    }
}

fn rsa_verifier(padding: RsaPadding, hash: Hash) -> &'static dyn VerificationAlgorithm {
    match (padding, hash) {
        (RsaPadding::Pkcs1v15, Hash::Sha256) => &RSA_PKCS1_2048_8192_SHA256,
        (RsaPadding::Pkcs1v15, Hash::Sha384) => &RSA_PKCS1_2048_8192_SHA384,
        (RsaPadding::Pkcs1v15, Hash::Sha512) => &RSA_PKCS1_2048_8192_SHA512,
        (RsaPadding::Pss, Hash::Sha256) => &RSA_PSS_2048_8192_SHA256,
        (RsaPadding::Pss, Hash::Sha384) => &RSA_PSS_2048_8192_SHA384,
        (RsaPadding::Pss, Hash::Sha512) => &RSA_PSS_2048_8192_SHA512,
    }
}

fn aws(hash: Hash) -> &'static digest::Algorithm {
    match hash {
        Hash::Sha256 => &digest::SHA256,
        Hash::Sha384 => &digest::SHA384,
        Hash::Sha512 => &digest::SHA512,
    }
}
