//! The signatures inside an MCUboot image, against the approved keys.

use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::digest::{Sha384, Sha512};
use crate::error::Result;
use crate::file::Request;
use crate::formats::mcuboot::trailer::Padding;
use crate::formats::mcuboot::{EmbeddedSignature, Image, KeyHint, SignatureKind, TlvFact, unpadded};
use crate::formats::{Container, Reading};
use crate::keys::method::{Method, Pending, verify_message};
use crate::keys::{Algorithm, PublicKey};
use crate::outcome::{Finding, Outcome};
use crate::pass::{Pass, Ticket};
use crate::source::{Source, hex};
use crate::trust::{Hash, Trust, TrustKey};
use crate::verdict::{Verdict, approval, choose};

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

/// An image with what has to be computed over it.
pub struct Mcuboot {
    image: Image,
    hash: Option<Ticket>,
    /// For a pure image: which signature (by its place) waits for the image itself, and what feeds it.
    pending: Vec<(usize, Pending, Ticket)>,
}

impl Mcuboot {
    pub fn new(image: Image) -> Self {
        Mcuboot {
            image,
            hash: None,
            pending: Vec::new(),
        }
    }
}

impl Container for Mcuboot {
    fn plan(&mut self, pass: &mut Pass, trust: &Trust) {
        let image = &self.image;
        self.hash = image
            .hash
            .as_ref()
            .map(|(hash, _)| pass.digest(0, image.hashed, *hash));
        if !image.pure {
            return;
        }
        for (place, signature) in image.signatures.iter().enumerate() {
            let key = named(&signature.hint, trust)
                .first()
                .and_then(|key| trust.keys.get(*key));
            if signature.kind == SignatureKind::Ed25519
                && let Some(key) = key
                && let Some(pending) = key.method.begin(&key.key, &signature.value)
            {
                let ticket = pass.feed(0, image.hashed, pending.sink());
                self.pending.push((place, pending, ticket));
            }
        }
    }

    fn judge(&self, pass: &Pass, _: &Source, request: &Request<'_>) -> Result<Reading> {
        let image = &self.image;
        let computed = self.hash.map(|ticket| pass.bytes(ticket));
        let recorded = image.hash.as_ref().map(|(_, recorded)| recorded);
        let intact = recorded.is_none() || recorded == computed.as_ref();
        let format = if intact || image.encrypted() {
            Finding::new(
                Outcome::Pass,
                format!(
                    "A well-formed MCUboot image, version {}.{}{}",
                    image.version,
                    if image.compressed() {
                        " Its content is compressed: hash and signatures are over the compressed bytes; what they \
                         unpack to was not examined."
                    } else {
                        ""
                    },
                    if image.encrypted() && computed.as_ref() != recorded {
                        " Its content is encrypted and was not examined."
                    } else {
                        ""
                    }
                ),
            )
        } else {
            Finding::new(
                Outcome::Fail,
                "A well-formed MCUboot image, but its content does not have the hash that it records: it was \
                 damaged or altered.",
            )
        };
        let unsigned = if image.encrypted() {
            "The image is encrypted but not signed. Encryption hides the content; it proves nothing about who made \
             it. Sign the image (imgtool sign -k KEY) or give a detached signature."
        } else {
            "The image carries no signature and no detached one was given; its hash alone proves nothing about who \
             made it. Sign it (imgtool sign -k KEY)."
        };
        let signatures = image.signatures.iter().enumerate();
        Ok(Reading {
            format,
            verdicts: signatures
                .map(|(place, signature)| {
                    let stream = self.pending.iter().find(|(of, ..)| *of == place);
                    one(image, signature, computed.as_deref(), stream, pass, request)
                })
                .collect(),
            unsigned: Finding::new(Outcome::Fail, unsigned),
            checks: image.padding.iter().map(padding).collect(),
            claims: claims(image, computed.as_deref()),
        })
    }
}

fn padding(padding: &Padding) -> (&'static str, Finding) {
    let text = format!(
        "Behind the image stand {} bytes of its slot, which no signature covers. All of them were read: erased flash \
         and the boot loader's marks{}.",
        padding.bytes,
        if padding.confirmed {
            ", one of which says that the image stays without a trial run"
        } else {
            ""
        }
    );
    ("padding", Finding::new(Outcome::Pass, text))
}

fn one(
    image: &Image,
    signature: &EmbeddedSignature,
    computed: Option<&[u8]>,
    stream: Option<&(usize, Pending, Ticket)>,
    pass: &Pass,
    request: &Request<'_>,
) -> Verdict {
    let kind = signature.kind.name();
    let what = format!("The embedded {kind} signature");
    let moment = request.moment();
    let places = named(&signature.hint, request.trust);
    // 1. the key is one we approved: the hint only says which of them to take.
    let Some((place, key)) = choose(request, &places, &moment)
        .and_then(|place| request.trust.keys.get(place).map(|key| (place, key)))
    else {
        let signature_finding = Finding::new(
            Outcome::NotRun,
            format!("Not verified: the {kind} signature is by a key that we do not have."),
        );
        let key_finding = Finding::new(
            Outcome::Fail,
            format!(
                "The image is signed by {}, which is none of the {} approved key(s). Register that key and have it \
                 approved, or sign with an approved one.",
                hint_text(&signature.hint),
                request.trust.keys.len()
            ),
        );
        return Verdict {
            algorithm: Finding::new(Outcome::NotRun, "Not checked: the key is not known."),
            ..Verdict::unproven(&what, signature_finding, key_finding, moment)
        };
    };
    let without_proof = |finding: Finding| {
        let key_finding = match approval(request, key, &moment) {
            approved if approved.outcome == Outcome::Pass => Finding::new(
                Outcome::NotRun,
                format!(
                    "The image names key {:?}, which is approved, but nothing proves that it signed.",
                    key.id
                ),
            ),
            refused => refused,
        };
        Verdict::unproven(&what, finding, key_finding, moment.clone())
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
    match holds(image, signature, key, computed, stream, pass) {
        Err(why) => without_proof(why),
        Ok((true, rule)) => Verdict::by(request, place, &what, &rule, moment),
        Ok((false, _)) => without_proof(Finding::new(
            Outcome::Fail,
            format!(
                "{what} is not valid under key {:?}, which it names: the image or the signature was changed.",
                key.id
            ),
        )),
    }
}

/// Whether the signature holds, and the rule by which that was found.
fn holds(
    image: &Image,
    signature: &EmbeddedSignature,
    key: &TrustKey,
    computed: Option<&[u8]>,
    stream: Option<&(usize, Pending, Ticket)>,
    pass: &Pass,
) -> std::result::Result<(bool, String), Finding> {
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
    let method = Method::mcuboot(&key.key).map_err(|why| Finding::new(Outcome::Unreadable, why))?;
    let rule = method.rule().to_owned();
    let message = computed.unwrap_or_default();
    match (method.hash(), &image.hash) {
        (None, _) if algorithm != Algorithm::Ed25519 => unsupported("the key is too weak"),
        (None, _) if image.pure => Ok((
            stream.is_some_and(|(_, pending, ticket)| {
                pass.state(*ticket)
                    .is_some_and(|state| pending.holds(&key.key, state))
            }),
            format!("{rule}, over the image"),
        )),
        (None, _) => Ok((
            verify_message(&key.key, &method, &[message], &signature.value),
            format!("{rule}, over the image's hash"),
        )),
        (Some(_), _) if image.pure => {
            unsupported("only Ed25519 is defined for signatures over the image itself (SIG_PURE)")
        }
        (Some(hash), Some((recorded, _))) if hash == *recorded => {
            let value = match signature.kind {
                SignatureKind::Ecdsa => unpadded(&signature.value),
                _ => &signature.value,
            };
            Ok((method.verify_digest(message, value), rule))
        }
        (Some(hash), _) => unsupported(&format!(
            "with {} MCUboot signs a {} hash, and the image records none",
            algorithm.name(),
            hash.name()
        )),
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
    compressed: bool,
    padding_bytes: Option<u64>,
    confirmed: Option<bool>,
    flags: Vec<String>,
    load_addr: u32,
    hdr_size: u16,
    img_size: u32,
    dependencies: Vec<DependencyClaim>,
    tlvs: &'a [TlvFact],
}

/// What the image says about itself.
fn claims(image: &Image, computed: Option<&[u8]>) -> Map<String, Value> {
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
        computed_hash: computed.map(hex),
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
        compressed: image.compressed(),
        padding_bytes: image.padding.as_ref().map(|padding| padding.bytes),
        confirmed: image.padding.as_ref().map(|padding| padding.confirmed),
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
    match serde_json::to_value(&claims) {
        Ok(Value::Object(claims)) => claims,
        _ => Map::new(),
    }
}
