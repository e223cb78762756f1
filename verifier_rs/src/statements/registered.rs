//! The algorithm that a key was enrolled for, by its registered names: a message's `alg` only has to be that one.

use crate::keys::method::{Method, verify_message};
use crate::keys::{Algorithm, Strength};
use crate::trust::{EcdsaEncoding, Hash, Options, PssSalt, RsaPadding, TrustKey};

/// What JOSE and COSE call it; newer names that mean the same stand behind.
pub struct Registered {
    pub jose: &'static [&'static str],
    pub cose: &'static [i64],
}

const fn names(jose: &'static [&'static str], cose: &'static [i64]) -> Option<Registered> {
    Some(Registered { jose, cose })
}

/// RFC 7518 §3.1, 8037 §3.1, 9864 §2, 9964 §3 for JOSE; RFC 9053 §2, 8812 §2, 9864 §2, 9964 §3 for COSE. `None` where
/// the enrolment has no name there: another salt, or a hash that does not belong to the curve.
pub fn of(key: &TrustKey) -> Option<Registered> {
    let Options {
        rsa_padding,
        pss_salt,
        hash,
        ..
    } = key.options;
    match key.key.algorithm {
        algorithm if algorithm.strength() == Strength::Broken => None,
        Algorithm::Rsa { .. } => match (rsa_padding, hash.unwrap_or(Hash::Sha256)) {
            (Some(RsaPadding::Pss), _) if pss_salt == Some(PssSalt::Max) => None,
            (Some(RsaPadding::Pss), Hash::Sha256) => names(&["PS256"], &[-37]),
            (Some(RsaPadding::Pss), Hash::Sha384) => names(&["PS384"], &[-38]),
            (Some(RsaPadding::Pss), Hash::Sha512) => names(&["PS512"], &[-39]),
            (_, Hash::Sha256) => names(&["RS256"], &[-257]),
            (_, Hash::Sha384) => names(&["RS384"], &[-258]),
            (_, Hash::Sha512) => names(&["RS512"], &[-259]),
        },
        Algorithm::EcdsaP256 if matches!(hash, None | Some(Hash::Sha256)) => names(&["ES256"], &[-7, -9]),
        Algorithm::EcdsaP384 if matches!(hash, None | Some(Hash::Sha384)) => names(&["ES384"], &[-35, -51]),
        Algorithm::EcdsaP256 | Algorithm::EcdsaP384 | Algorithm::Hss { .. } | Algorithm::OpenPgp => None,
        Algorithm::Ed25519 => names(&["EdDSA", "Ed25519"], &[-8, -19]),
        Algorithm::MlDsa44 => names(&["ML-DSA-44"], &[-48]),
        Algorithm::MlDsa65 => names(&["ML-DSA-65"], &[-49]),
        Algorithm::MlDsa87 => names(&["ML-DSA-87"], &[-50]),
    }
}

/// Do something with the key's method. ECDSA signatures are r‖s there, whatever the enrolment says of files.
pub fn with_method<T>(key: &TrustKey, then: impl FnOnce(&Method) -> T) -> Option<T> {
    if !matches!(key.key.algorithm, Algorithm::EcdsaP256 | Algorithm::EcdsaP384) {
        return Some(then(&key.method));
    }
    let options = Options {
        ecdsa_encoding: Some(EcdsaEncoding::P1363),
        hash: key.options.hash,
        ..Options::default()
    };
    Method::of(&key.key, &options).ok().map(|method| then(&method))
}

/// The rule by which the signature holds over the message, if it does.
pub fn verify(key: &TrustKey, message: &[&[u8]], signature: &[u8]) -> Option<String> {
    with_method(key, |method| {
        verify_message(&key.key, method, message, signature).then(|| method.rule().to_owned())
    })?
}
