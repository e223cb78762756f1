//! What a RAUC bundle proves: the payload is what was signed, itself or by the root of its hash tree.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::cms::verify::LARGE;
use crate::cms::{self, Content, SignedData};
use crate::error::Result;
use crate::file::Request;
use crate::formats::rauc::verity::{BLOCK_U64, Tree, levels};
use crate::formats::rauc::{Bundle, Kind, Verity};
use crate::formats::{Container, Reading};
use crate::outcome::{Finding, Outcome};
use crate::pass::{Pass, Ticket};
use crate::source::{Sink, Source, hex};
use crate::trust::{Hash, Trust};
use crate::verdict::Verdict;

const WHAT: &str = "The signature of the bundle";

/// A bundle with what has to be computed over its payload.
pub struct Rauc {
    bundle: Bundle,
    digests: Vec<(Hash, Ticket)>,
    bytes: Option<Ticket>,
    tree: Option<Ticket>,
    /// The levels of the tree as they are stored, from the one over the payload upwards.
    stored: Vec<Ticket>,
}

impl Rauc {
    pub fn new(bundle: Bundle) -> Self {
        Rauc {
            bundle,
            digests: Vec::new(),
            bytes: None,
            tree: None,
            stored: Vec::new(),
        }
    }

    /// The root of the tree over the payload, and whether the stored tree is that tree.
    fn computed(&self, pass: &Pass) -> Option<(Vec<u8>, bool)> {
        let Sink::Verity(tree) = pass.state(self.tree?)? else {
            return None;
        };
        let (root, levels) = tree.finish();
        let stored: Vec<_> = self.stored.iter().map(|ticket| pass.bytes(*ticket)).collect();
        Some((root, levels == stored))
    }

    fn verity(&self, pass: &Pass, verity: &Verity) -> Finding {
        match self.computed(pass) {
            None => Finding::new(Outcome::NotRun, "The hash tree was not computed."),
            Some((root, _)) if root != verity.root => Finding::new(
                Outcome::Fail,
                format!(
                    "The payload is not what the manifest says: its dm-verity root is {}, the signed one is {}.",
                    hex(&root),
                    hex(&verity.root)
                ),
            ),
            Some((_, false)) => Finding::new(
                Outcome::Fail,
                "The payload has the signed dm-verity root, but the hash tree in the bundle is another one: devices \
                 could not read it.",
            ),
            Some((_, true)) => Finding::new(
                Outcome::Pass,
                "The dm-verity root computed over the payload is the signed one, and the bundle's hash tree is right.",
            ),
        }
    }

    fn plain_verdicts(&self, signed: &SignedData, pass: &Pass, request: &Request<'_>) -> Vec<Verdict> {
        let digest = |hash: Hash| {
            let made = self.digests.iter().find(|(made, _)| *made == hash);
            made.map(|(_, ticket)| pass.bytes(*ticket)).unwrap_or_default()
        };
        let content = match self.bytes.and_then(|ticket| pass.state(ticket)) {
            Some(Sink::Keep(bytes)) => Content::Bytes(bytes),
            _ => Content::Large(&digest),
        };
        cms::verify(signed, WHAT, &content, request, &request.moment())
    }
}

impl Container for Rauc {
    fn plan(&mut self, pass: &mut Pass, _: &Trust) {
        let end = self.bundle.end;
        match &self.bundle.kind {
            Kind::Plain(signed) => {
                if end <= LARGE {
                    self.bytes = Some(pass.feed(0, end, Sink::Keep(Vec::new())));
                }
                let hashes = signed.hashes().into_iter();
                self.digests = hashes.map(|hash| (hash, pass.digest(0, end, hash))).collect();
            }
            Kind::Bound { verity, .. } => {
                let tree = Tree::new(&verity.salt, verity.data);
                self.tree = Some(pass.feed(0, verity.data, Sink::Verity(Box::new(tree))));
                // The top of the tree is stored first.
                let mut to = end;
                for blocks in levels(verity.data) {
                    let from = to.saturating_sub(blocks.saturating_mul(BLOCK_U64));
                    self.stored.push(pass.digest(from, to, Hash::Sha256));
                    to = from;
                }
            }
            Kind::Enveloped => {}
        }
    }

    fn judge(&self, pass: &Pass, _: &Source, request: &Request<'_>) -> Result<Reading> {
        let pass_with = |words: &str| Finding::new(Outcome::Pass, words);
        let (format, verity, verdicts) = match &self.bundle.kind {
            Kind::Plain(signed) => {
                let outcome = if request.trust.require_verity {
                    Outcome::Fail
                } else {
                    Outcome::Warn
                };
                let verity = Finding::new(
                    outcome,
                    "The bundle is of the old format plain, which devices check once and then trust the medium. \
                     Build it with format=verity.",
                );
                (
                    pass_with("A well-formed RAUC bundle of the format plain."),
                    verity,
                    self.plain_verdicts(signed, pass, request),
                )
            }
            Kind::Bound {
                signed,
                text,
                verity,
                encrypted,
                ..
            } => {
                let words = if *encrypted {
                    "A well-formed RAUC bundle of the format crypt: its payload is signed as it is encrypted, and is \
                     not looked into."
                } else {
                    "A well-formed RAUC bundle of the format verity."
                };
                let content = Content::Bytes(text);
                (
                    pass_with(words),
                    self.verity(pass, verity),
                    cms::verify(signed, WHAT, &content, request, &request.moment()),
                )
            }
            Kind::Enveloped => {
                let why = "the bundle is of the format crypt and its signature is encrypted for the devices; submit it \
                           as it is before rauc encrypt";
                (
                    Finding::new(
                        Outcome::Unreadable,
                        "A RAUC bundle of the format crypt that is encrypted for its devices: only its outer form was \
                         checked. Manifest, signature and payload cannot be read.",
                    ),
                    Finding::new(
                        Outcome::Unreadable,
                        "The root of the hash tree stands in the manifest, which is encrypted.",
                    ),
                    vec![Verdict::unreadable(WHAT, why, request.moment())],
                )
            }
        };
        Ok(Reading {
            format,
            verdicts,
            unsigned: Finding::new(
                Outcome::Fail,
                "The bundle's CMS has no signer. Sign it (rauc bundle --cert --key).",
            ),
            checks: vec![("verity", verity)],
            claims: self.claims(pass),
        })
    }
}

#[derive(Serialize)]
struct ImageClaim {
    slot: String,
    name: Option<String>,
    size: Option<u64>,
    sha256: Option<String>,
}

#[derive(Serialize)]
struct Claims<'a> {
    version: Option<&'a str>,
    bundle_format: &'static str,
    compatible: Option<&'a str>,
    description: Option<&'a str>,
    build: Option<&'a str>,
    encrypted: bool,
    compression: Option<&'a str>,
    payload_size: u64,
    verity_root: Option<String>,
    computed_verity_root: Option<String>,
    verity_salt: Option<String>,
    /// As the manifest says: the files themselves are inside the squashfs.
    members: Vec<ImageClaim>,
}

impl Rauc {
    /// What the bundle says about itself.
    fn claims(&self, pass: &Pass) -> Map<String, Value> {
        let bundle = &self.bundle;
        let (manifest, verity) = match &bundle.kind {
            Kind::Bound { manifest, verity, .. } => (Some(manifest), Some(verity)),
            _ => (None, None),
        };
        let update = |key: &str| manifest?.get("update", key);
        let images = manifest.map(|manifest| manifest.images()).unwrap_or_default();
        let claims = Claims {
            version: update("version"),
            bundle_format: match &bundle.kind {
                Kind::Plain(_) => "plain",
                Kind::Bound { encrypted: false, .. } => "verity",
                _ => "crypt",
            },
            compatible: update("compatible"),
            description: update("description"),
            build: update("build"),
            encrypted: bundle.compression.is_none(),
            compression: bundle.compression,
            payload_size: verity.map_or(bundle.end, |verity| verity.data),
            verity_root: verity.map(|verity| hex(&verity.root)),
            computed_verity_root: self.computed(pass).map(|(root, _)| hex(&root)),
            verity_salt: verity.map(|verity| hex(&verity.salt)),
            members: images
                .into_iter()
                .map(|image| ImageClaim {
                    slot: image.slot,
                    name: image.filename,
                    size: image.size,
                    sha256: image.sha256,
                })
                .collect(),
        };
        match serde_json::to_value(&claims) {
            Ok(Value::Object(claims)) => claims,
            _ => Map::new(),
        }
    }
}
