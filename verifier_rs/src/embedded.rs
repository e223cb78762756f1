//! The signatures inside an MCUboot image, against the approved keys.

use serde::Serialize;
use sha2::{Digest, Sha256, Sha384, Sha512};

use crate::ed25519::{self, Pending};
use crate::file::{Request, Verdict, digest};
use crate::judge;
use crate::key::{Algorithm, PublicKey};
use crate::mcuboot::{EmbeddedSignature, Image, KeyHint, Parsed, SignatureKind, TlvFact, unpadded};
use crate::outcome::{Finding, Outcome};
use crate::signature::Method;
use crate::source::{Sink, hex};
use crate::trust::{Hash, Trust, TrustKey};

/// The approved keys that a signature's hint names. imgtool hashes the key with the hash of the image.
fn named(hint: &KeyHint, trust: &Trust) -> Vec<usize> {
    let fits = |key: &PublicKey| {
        let encoding = key.mcuboot_encoding();
        match hint {
            KeyHint::Key(bytes) => bytes == encoding,
            KeyHint::Hash(hash) => match hash.len() {
                32 => Sha256::digest(encoding).as_slice() == hash,
                48 => Sha384::digest(encoding).as_slice() == hash,
                _ => Sha512::digest(encoding).as_slice() == hash,
            },
        }
    };
    let keys = trust.keys.iter().enumerate();
    keys.filter(|(_, key)| fits(&key.key))
        .map(|(place, _)| place)
        .collect()
}

fn hint_text(hint: &KeyHint) -> String {
    match hint {
        KeyHint::Hash(hash) => format!("the key with hash {}", hex(hash)),
        KeyHint::Key(key) => format!("an embedded key with SHA-256 {}", hex(&Sha256::digest(key))),
    }
}

/// For a pure image: which signature (by its place) has to see the image itself, by which state.
pub fn pending(image: &Image, trust: &Trust) -> Vec<(usize, Pending)> {
    if !image.pure {
        return Vec::new();
    }
    let signatures = image.signatures.iter().enumerate();
    signatures
        .filter(|(_, signature)| signature.kind == SignatureKind::Ed25519)
        .filter_map(|(place, signature)| {
            let key = trust.keys.get(*named(&signature.hint, trust).first()?)?;
            Some((place, key.key.ed25519.as_ref()?.begin(&signature.value)?))
        })
        .collect()
}

/// One verdict per embedded signature. `computed` is the hash of what the image hashes, by its own algorithm.
pub fn judge(
    image: &Image,
    computed: Option<&[u8]>,
    pending: Vec<(usize, Pending)>,
    hashes: Vec<Sink>,
    request: &Request<'_>,
) -> Vec<Verdict> {
    let streamed: Vec<_> = pending.into_iter().zip(hashes).collect();
    let signatures = image.signatures.iter().enumerate();
    signatures
        .map(|(place, signature)| {
            let stream = streamed.iter().find(|((of, _), _)| *of == place);
            one(image, signature, computed, stream, request)
        })
        .collect()
}

fn one(
    image: &Image,
    signature: &EmbeddedSignature,
    computed: Option<&[u8]>,
    stream: Option<&((usize, Pending), Sink)>,
    request: &Request<'_>,
) -> Verdict {
    let kind = signature.kind.name();
    let places = named(&signature.hint, request.trust);
    // 1. the key is one we approved: the hint only says which of them to take.
    let Some((place, key)) = judge::choose(request, &places)
        .and_then(|place| request.trust.keys.get(place).map(|key| (place, key)))
    else {
        return Verdict {
            signature: Finding::new(
                Outcome::NotRun,
                format!("Not verified: the {kind} signature is by a key that we do not have."),
            ),
            key: Finding::new(
                Outcome::Fail,
                format!(
                    "The image is signed by {}, which is none of the {} approved key(s). Register that key and \
                     have it approved, or sign with an approved one.",
                    hint_text(&signature.hint),
                    request.trust.keys.len()
                ),
            ),
            algorithm: Finding::new(Outcome::NotRun, "Not checked: the key is not known."),
            signer: None,
        };
    };
    let without_proof = |finding: Finding| Verdict {
        signature: finding,
        key: match judge::approval(request, key) {
            approved if approved.outcome == Outcome::Pass => Finding::new(
                Outcome::NotRun,
                format!(
                    "The image names key {:?}, which is approved, but nothing proves that it signed.",
                    key.id
                ),
            ),
            refused => refused,
        },
        algorithm: Finding::new(Outcome::NotRun, "Not checked: no signature is proven."),
        signer: None,
    };
    // 2. the content has the recorded hash; of an encrypted image only its holder can say.
    if let Some((_, recorded)) = &image.hash
        && computed != Some(recorded.as_slice())
    {
        return without_proof(if image.encrypted() {
            Finding::new(
                Outcome::Unreadable,
                "The image is encrypted and its signature is over the content before encryption, so it cannot be \
                 verified here. Submit the image signed but not encrypted, or give a detached signature over this \
                 file and no embedded one.",
            )
        } else {
            Finding::new(
                Outcome::Fail,
                format!(
                    "The content is not what was signed: the image records hash {}, its content has {}.",
                    hex(recorded),
                    hex(computed.unwrap_or_default())
                ),
            )
        });
    }
    // 3. the signature is of the kind that this key makes, over what the image says, and holds.
    match holds(image, signature, key, computed, stream) {
        Err(why) => without_proof(why),
        Ok(true) => judge::by(request, place, &format!("The embedded {kind} signature")),
        Ok(false) => without_proof(Finding::new(
            Outcome::Fail,
            format!(
                "The embedded {kind} signature is not valid under key {:?}, which it names: the image or the \
                 signature was changed.",
                key.id
            ),
        )),
    }
}

fn holds(
    image: &Image,
    signature: &EmbeddedSignature,
    key: &TrustKey,
    computed: Option<&[u8]>,
    stream: Option<&((usize, Pending), Sink)>,
) -> Result<bool, Finding> {
    let algorithm = key.key.algorithm;
    let fits = match signature.kind {
        SignatureKind::Rsa2048 => algorithm == Algorithm::Rsa { bits: 2048 },
        SignatureKind::Rsa3072 => algorithm == Algorithm::Rsa { bits: 3072 },
        SignatureKind::Ecdsa => matches!(algorithm, Algorithm::EcdsaP256 | Algorithm::EcdsaP384),
        SignatureKind::Ed25519 => algorithm == Algorithm::Ed25519,
    };
    if !fits {
        return Err(Finding::new(
            Outcome::Fail,
            format!(
                "The image carries an {} signature, but the key that it names is {}.",
                signature.kind.name(),
                algorithm.name()
            ),
        ));
    }
    let unsupported = |what: &str| {
        Err(Finding::new(
            Outcome::Unreadable,
            format!("Not verified: {what}."),
        ))
    };
    match (&key.key.ed25519, image.pure) {
        (Some(point), true) => Ok(stream.is_some_and(|((_, pending), sink)| match sink {
            Sink::Sha512(hash) => point.holds(&ed25519::Key::finish(pending, hash.clone())),
            _ => false,
        })),
        (None, true) => {
            unsupported("only Ed25519 is defined for signatures over the image itself (SIG_PURE)")
        }
        (Some(point), false) => {
            let message = computed.unwrap_or_default();
            let claim = point.claim(&[message], &signature.value);
            Ok(claim.is_some_and(|claim| point.holds(&claim)))
        }
        (None, false) => {
            let method = Method::mcuboot(&key.key).map_err(|why| Finding::new(Outcome::Unreadable, why))?;
            match (&method, &image.hash) {
                (Method::Digest { hash, .. }, Some((recorded, _))) if hash == recorded => {
                    let value = match signature.kind {
                        SignatureKind::Ecdsa => unpadded(&signature.value),
                        _ => &signature.value,
                    };
                    Ok(method.verify_digest(computed.unwrap_or_default(), value))
                }
                (Method::Digest { hash, .. }, _) => unsupported(&format!(
                    "with {} MCUboot signs a {} hash, and the image records none",
                    algorithm.name(),
                    hash.name()
                )),
                _ => unsupported("the key is too weak"),
            }
        }
    }
}

#[derive(Serialize)]
struct DependencyClaim {
    image: u8,
    at_least: String,
}

#[derive(Serialize)]
struct SignatureClaim {
    algorithm: &'static str,
    key_hash: Option<String>,
}

#[derive(Serialize)]
struct Claims<'a> {
    version: String,
    security_counter: Option<u32>,
    hash_algorithm: Option<&'static str>,
    hash: Option<String>,
    computed_hash: Option<String>,
    /// Of the first signature; all of them are in `signatures`.
    key_hash: Option<String>,
    signature_algorithm: Option<&'static str>,
    signatures: Vec<SignatureClaim>,
    pure: bool,
    encrypted: bool,
    flags: Vec<String>,
    load_addr: u32,
    hdr_size: u16,
    img_size: u32,
    dependencies: Vec<DependencyClaim>,
    tlvs: &'a [TlvFact],
}

/// What the image says about itself, as one JSON object; empty for other formats and damaged images.
pub fn claims(image: &Option<Parsed>, over_prefix: &[Sink]) -> String {
    let Some(Ok(image)) = image else {
        return "{}".to_owned();
    };
    let key_hash = |hint: &KeyHint| match hint {
        KeyHint::Hash(hash) => Some(hex(hash)),
        KeyHint::Key(_) => None,
    };
    let first = image.signatures.first();
    let hash = image.hash.as_ref();
    let claims = Claims {
        version: image.version.to_string(),
        security_counter: image.security_counter,
        hash_algorithm: hash.map(|(hash, _): &(Hash, _)| hash.name()),
        hash: hash.map(|(_, recorded)| hex(recorded)),
        computed_hash: hash.map(|(hash, _)| hex(&digest(over_prefix, *hash))),
        key_hash: first.and_then(|signature| key_hash(&signature.hint)),
        signature_algorithm: first.map(|signature| signature.kind.name()),
        signatures: image
            .signatures
            .iter()
            .map(|signature| SignatureClaim {
                algorithm: signature.kind.name(),
                key_hash: key_hash(&signature.hint),
            })
            .collect(),
        pure: image.pure,
        encrypted: image.encrypted(),
        flags: image.flag_names(),
        load_addr: image.load_address,
        hdr_size: image.header_size,
        img_size: image.image_size,
        dependencies: image
            .dependencies
            .iter()
            .map(|dependency| DependencyClaim {
                image: dependency.image,
                at_least: dependency.version.to_string(),
            })
            .collect(),
        tlvs: &image.tlvs,
    };
    serde_json::to_string(&claims).unwrap_or_else(|_| "{}".to_owned())
}
