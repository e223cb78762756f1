//! One signature over one message: the method comes from the enrolment of the key, nothing from the signature.

use aws_lc_rs::digest::{self, Digest as AwsDigest};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA384_ASN1, ECDSA_P256_SHA512_ASN1,
    ECDSA_P384_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA384_FIXED, ECDSA_P384_SHA512_ASN1,
    ML_DSA_44, ML_DSA_65, ML_DSA_87, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512,
    VerificationAlgorithm,
};
use sha2::{Digest, Sha256};

use crate::digest::{Sha384, Sha512};
use crate::keys::{Algorithm, PublicKey, Strength, ed25519, hss, mldsa, pss};
use crate::source::Sink;
use crate::trust::{EcdsaEncoding, Hash, Options, PssSalt, RsaPadding};

/// How signatures by one key are checked.
pub struct Method {
    how: How,
    /// The rule by name, as verdicts give it.
    rule: String,
}

enum How {
    /// Ed25519 signs the message itself.
    Ed25519,
    /// So does ML-DSA.
    MlDsa(ParsedPublicKey),
    /// And HSS.
    Hss(hss::Key),
    /// RSA and ECDSA sign a digest of it.
    Digest { hash: Hash, key: ParsedPublicKey },
    /// RSA-PSS with the longest salt that fits.
    PssMax(pss::Key),
    /// A key that is too short to prove anything is not even tried.
    TooWeak,
    /// Only signatures of another form are by such a key, and that form checks them.
    Elsewhere,
}

impl Method {
    /// The method that the options of an enrolment name; options that do not fit the key are refused.
    pub fn of(key: &PublicKey, options: &Options) -> Result<Self, String> {
        let name = key.algorithm.name();
        let misfit = |option: &str| Err(format!("{option} does not apply to {name}"));
        let (rsa, ecdsa) = match key.algorithm {
            Algorithm::Rsa { .. } => (true, false),
            Algorithm::EcdsaP256 | Algorithm::EcdsaP384 => (false, true),
            _ => (false, false),
        };
        let padding = options.rsa_padding.unwrap_or(RsaPadding::Pkcs1v15);
        let salt = options.pss_salt.unwrap_or(PssSalt::Digest);
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
        if key.algorithm.strength() == Strength::Broken {
            return Ok(Method {
                how: How::TooWeak,
                rule: format!("{name}: not tried"),
            });
        }
        let usual = if key.algorithm == Algorithm::EcdsaP384 {
            Hash::Sha384
        } else {
            Hash::Sha256
        };
        let hash = options.hash.unwrap_or(usual);
        let encoding = options.ecdsa_encoding.unwrap_or(EcdsaEncoding::Der);
        let with = |verifier: &'static dyn VerificationAlgorithm| {
            ParsedPublicKey::new(verifier, &key.raw).map_err(|_| format!("not a valid {name} key"))
        };
        let (how, rule) = match key.algorithm {
            Algorithm::Ed25519 => (How::Ed25519, ed25519::RULE.to_owned()),
            Algorithm::OpenPgp => (How::Elsewhere, "OpenPGP signatures only".to_owned()),
            Algorithm::MlDsa44 | Algorithm::MlDsa65 | Algorithm::MlDsa87 => {
                let verifier: &'static dyn VerificationAlgorithm = match key.algorithm {
                    Algorithm::MlDsa44 => &ML_DSA_44,
                    Algorithm::MlDsa65 => &ML_DSA_65,
                    _ => &ML_DSA_87,
                };
                let rule = format!("{name}, pure, empty context (FIPS 204 §5.3)");
                (How::MlDsa(with(verifier)?), rule)
            }
            Algorithm::Hss { .. } => {
                let key = hss::Key::parse(&key.raw)?;
                let rule = key.rule();
                (How::Hss(key), rule)
            }
            Algorithm::Rsa { .. } if padding == RsaPadding::Pss && salt == PssSalt::Max => {
                let rule = format!(
                    "RSASSA-PSS, {}, MGF1 with the same, the longest salt that fits (RFC 8017 §8.1.2)",
                    hash.name()
                );
                (How::PssMax(pss::Key::parse(&key.raw, hash)?), rule)
            }
            Algorithm::Rsa { .. } => {
                let rule = match padding {
                    RsaPadding::Pss => format!(
                        "RSASSA-PSS, {}, MGF1 with the same, salt as long as the digest (RFC 8017 §8.1.2)",
                        hash.name()
                    ),
                    RsaPadding::Pkcs1v15 => {
                        format!("RSASSA-PKCS1-v1_5, {} (RFC 8017 §8.2.2)", hash.name())
                    }
                };
                let key = with(rsa_verifier(padding, hash))?;
                (How::Digest { hash, key }, rule)
            }
            Algorithm::EcdsaP256 | Algorithm::EcdsaP384 => {
                if encoding == EcdsaEncoding::P1363 && hash != usual {
                    return Err(format!(
                        "ecdsa_encoding \"p1363\" with {name} needs hash {}",
                        usual.name()
                    ));
                }
                let form = match encoding {
                    EcdsaEncoding::Der => "DER",
                    EcdsaEncoding::P1363 => "r‖s",
                };
                let rule = format!("{name}, {}, {form} (FIPS 186-5 §6.4)", hash.name());
                let key = with(ecdsa_verifier(key.algorithm, encoding, hash))?;
                (How::Digest { hash, key }, rule)
            }
        };
        Ok(Method { how, rule })
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

    /// How mender-artifact signs: RSA PKCS#1 v1.5 or ECDSA P-256 as r‖s, both with SHA-256, whatever the enrolment
    /// says about detached signatures; `None` for a key that it cannot use.
    pub fn mender(key: &PublicKey) -> Option<Self> {
        let options = match key.algorithm {
            Algorithm::Rsa { .. } => Options::default(),
            Algorithm::EcdsaP256 => Options {
                ecdsa_encoding: Some(EcdsaEncoding::P1363),
                ..Options::default()
            },
            _ => return None,
        };
        Self::of(key, &options).ok()
    }

    /// What is checked, by the clause of its standard.
    pub fn rule(&self) -> &str {
        &self.rule
    }

    /// The digest that is signed; `None` where the message itself is.
    pub fn hash(&self) -> Option<Hash> {
        match &self.how {
            How::Digest { hash, .. } => Some(*hash),
            How::PssMax(key) => Some(key.hash()),
            How::Ed25519 | How::MlDsa(_) | How::Hss(_) | How::TooWeak | How::Elsewhere => None,
        }
    }

    /// Check a signature over a digest made earlier with this method's hash.
    pub fn verify_digest(&self, message_digest: &[u8], signature: &[u8]) -> bool {
        match &self.how {
            How::Digest { hash, key } => AwsDigest::import_less_safe(message_digest, aws(*hash))
                .and_then(|digest| key.verify_digest_sig(&digest, signature))
                .is_ok(),
            How::PssMax(key) => key.verify_digest(message_digest, signature),
            How::Ed25519 | How::MlDsa(_) | How::Hss(_) | How::TooWeak | How::Elsewhere => false,
        }
    }

    /// A signature over a message that is still to come, for keys that sign the message itself.
    pub fn begin(&self, key: &PublicKey, signature: &[u8]) -> Option<Pending> {
        match &self.how {
            How::Ed25519 => {
                let pending = key.ed25519.as_ref()?.begin(signature)?;
                Some(Pending {
                    sink: Sink::Sha512(pending.hash.clone()),
                    then: Then::Ed25519(Box::new(pending)),
                })
            }
            How::MlDsa(_) => {
                let parsed = mldsa::Key::parse(&key.raw)?;
                (signature.len() == parsed.signature_length()).then(|| Pending {
                    sink: Sink::Shake256(mldsa::Key::begin(&key.raw)),
                    then: Then::MlDsa(parsed, signature.to_owned()),
                })
            }
            How::Hss(key) => {
                let pending = key.begin(signature).ok()?;
                Some(Pending {
                    sink: pending.sink(),
                    then: Then::Hss(Box::new(pending)),
                })
            }
            How::Digest { .. } | How::PssMax(_) | How::TooWeak | How::Elsewhere => None,
        }
    }

    /// Why a signature cannot be by this key, where its form alone says so.
    pub fn misfit(&self, signature: &[u8]) -> Option<String> {
        match &self.how {
            How::Hss(key) if hss::looks_like(signature) => key.begin(signature).err(),
            _ => None,
        }
    }
}

/// A signature whose message is being read.
pub struct Pending {
    sink: Sink,
    then: Then,
}

enum Then {
    Ed25519(Box<ed25519::Pending>),
    MlDsa(mldsa::Key, Vec<u8>),
    Hss(Box<hss::Pending>),
}

impl Pending {
    /// The state to feed the message to.
    pub fn sink(&self) -> Sink {
        self.sink.clone()
    }

    /// Whether the signature holds, once `state` saw the whole message.
    pub fn holds(&self, key: &PublicKey, state: &Sink) -> bool {
        match (&self.then, state) {
            (Then::Ed25519(pending), Sink::Sha512(hash)) => key
                .ed25519
                .as_ref()
                .is_some_and(|point| point.holds(&ed25519::Key::finish(pending, hash.clone()))),
            (Then::MlDsa(key, signature), Sink::Shake256(state)) => key.holds(state, signature),
            (Then::Hss(pending), state) => pending.holds(state),
            _ => false,
        }
    }

    /// The one-time keys that a signature which holds has used up.
    pub fn one_time_keys(&self, state: &Sink) -> Vec<hss::OneTimeKey> {
        match &self.then {
            Then::Hss(pending) => pending.one_time_keys(state),
            Then::Ed25519(_) | Then::MlDsa(..) => Vec::new(),
        }
    }
}

/// Check a signature over a message that is at hand, given as its parts.
pub fn verify_message(key: &PublicKey, method: &Method, message: &[&[u8]], signature: &[u8]) -> bool {
    match &method.how {
        How::Ed25519 => key.ed25519.as_ref().is_some_and(|key| {
            key.claim(message, signature)
                .is_some_and(|claim| key.holds(&claim))
        }),
        How::MlDsa(key) => key.verify_sig(&message.concat(), signature).is_ok(),
        How::Digest { hash, .. } => method.verify_digest(&digest_of(*hash, message), signature),
        How::PssMax(key) => method.verify_digest(&digest_of(key.hash(), message), signature),
        // Files only: there the one-time keys that were used are told.
        How::Hss(_) | How::TooWeak | How::Elsewhere => false,
    }
}

/// The digest of a message given as its parts.
pub fn digest_of(hash: Hash, message: &[&[u8]]) -> Vec<u8> {
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

fn ecdsa_verifier(
    algorithm: Algorithm,
    encoding: EcdsaEncoding,
    hash: Hash,
) -> &'static dyn VerificationAlgorithm {
    match (algorithm, encoding, hash) {
        (Algorithm::EcdsaP384, EcdsaEncoding::P1363, _) => &ECDSA_P384_SHA384_FIXED,
        (_, EcdsaEncoding::P1363, _) => &ECDSA_P256_SHA256_FIXED,
        (Algorithm::EcdsaP384, _, Hash::Sha256) => &ECDSA_P384_SHA256_ASN1,
        (Algorithm::EcdsaP384, _, Hash::Sha384) => &ECDSA_P384_SHA384_ASN1,
        (Algorithm::EcdsaP384, _, Hash::Sha512) => &ECDSA_P384_SHA512_ASN1,
        (_, _, Hash::Sha256) => &ECDSA_P256_SHA256_ASN1,
        (_, _, Hash::Sha384) => &ECDSA_P256_SHA384_ASN1,
        (_, _, Hash::Sha512) => &ECDSA_P256_SHA512_ASN1,
    }
}

fn aws(hash: Hash) -> &'static digest::Algorithm {
    match hash {
        Hash::Sha256 => &digest::SHA256,
        Hash::Sha384 => &digest::SHA384,
        Hash::Sha512 => &digest::SHA512,
    }
}
