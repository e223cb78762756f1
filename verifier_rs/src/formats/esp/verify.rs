//! What an image of Espressif's proves: its own checksum and SHA-256, and each signature block against the approved keys.

use serde_json::{Map, Value, json};

use crate::error::Result;
use crate::file::Request;
use crate::formats::esp::blocks::{Block, Kind, digest_of};
use crate::formats::esp::{CHIPS, FLASH_MODES, Image};
use crate::formats::{Container, Reading};
use crate::keys::PublicKey;
use crate::keys::method::Method;
use crate::outcome::{Finding, Outcome};
use crate::pass::{Pass, Ticket};
use crate::source::{Source, hex};
use crate::trust::{EcdsaEncoding, Hash, Options, RsaPadding, Trust, TrustKey};
use crate::verdict::{Verdict, approval, choose};

/// What the checksum begins with.
const CHECKSUM: u8 = 0xef;
const CHUNK: u64 = 64 * 1024;

/// An image with what has to be computed over it.
pub struct Esp {
    image: Image,
    segments: Vec<Ticket>,
    sha256: Option<Ticket>,
    /// For each block, the digest that it signs.
    signed: Vec<Ticket>,
}

impl Esp {
    pub fn new(image: Image) -> Self {
        Esp {
            image,
            segments: Vec::new(),
            sha256: None,
            signed: Vec::new(),
        }
    }

    /// The exclusive or of all content that is loaded.
    fn checksum(&self, source: &Source) -> Result<u8> {
        let mut sum = CHECKSUM;
        for segment in &self.image.segments {
            let mut at = segment.from;
            while at < segment.to {
                let length = segment.to.saturating_sub(at).min(CHUNK);
                let data = source.read_exact(at, usize::try_from(length).unwrap_or_default())?;
                sum = data.iter().fold(sum, |sum, byte| sum ^ byte);
                at = at.saturating_add(length);
            }
        }
        Ok(sum)
    }

    fn format(&self, pass: &Pass, source: &Source) -> Result<Finding> {
        let sum = self.checksum(source)?;
        let recorded = self.image.checksum;
        let computed = self.sha256.map(|ticket| pass.bytes(ticket)).unwrap_or_default();
        Ok(if sum != recorded {
            Finding::new(
                Outcome::Fail,
                format!(
                    "An ESP32 image whose content has checksum 0x{sum:02x}; it records 0x{recorded:02x}. It was \
                     damaged or altered."
                ),
            )
        } else if let Some(sha256) = self.image.sha256.filter(|recorded| computed != recorded) {
            Finding::new(
                Outcome::Fail,
                format!(
                    "An ESP32 image whose content does not have the SHA-256 that it records: expected {}, found {}. \
                     It was damaged or altered.",
                    hex(&sha256),
                    hex(&computed)
                ),
            )
        } else {
            Finding::new(
                Outcome::Pass,
                format!(
                    "A well-formed image for {}, {} segment(s); its checksum{} right.",
                    chip(self.image.chip),
                    self.image.segments.len(),
                    if self.image.sha256.is_some() {
                        " and SHA-256 are"
                    } else {
                        " is"
                    }
                ),
            )
        })
    }
}

fn chip(id: u16) -> String {
    let known = CHIPS.iter().find(|(known, _)| *known == id);
    known.map_or_else(|| format!("chip 0x{id:04x}"), |(_, name)| (*name).to_owned())
}

impl Container for Esp {
    fn plan(&mut self, pass: &mut Pass, _: &Trust) {
        let image = &self.image;
        let segments = image.segments.iter();
        self.segments = segments
            .map(|segment| pass.digest(segment.from, segment.to, Hash::Sha256))
            .collect();
        self.sha256 = image.sha256.map(|_| pass.digest(0, image.checked, Hash::Sha256));
        let blocks = image.blocks.iter();
        self.signed = blocks
            .map(|block| pass.digest(0, image.signed, block.kind.hash()))
            .collect();
    }

    fn judge(&self, pass: &Pass, source: &Source, request: &Request<'_>) -> Result<Reading> {
        let blocks = self.image.blocks.iter().zip(&self.signed).enumerate();
        let padding = (self.image.padding > 0).then(|| {
            let text = format!(
                "Behind the image stand {} bytes of erased flash, all of which were read.",
                self.image.padding
            );
            ("padding", Finding::new(Outcome::Pass, text))
        });
        Ok(Reading {
            format: self.format(pass, source)?,
            verdicts: blocks
                .map(|(place, (block, digest))| verdict(place, block, &pass.bytes(*digest), request))
                .collect(),
            unsigned: Finding::new(
                Outcome::Fail,
                "The image carries no Secure Boot v2 signature and no detached one was given; its checksum and SHA-256 \
                 prove nothing about who made it. Sign it (espsecure sign-data --version 2 --keyfile KEY).",
            ),
            checks: padding.into_iter().collect(),
            claims: self.claims(pass),
        })
    }
}

/// The way in which Secure Boot v2 signs with a key of this kind, whatever the enrolment says about others.
fn method(key: &PublicKey) -> std::result::Result<Method, String> {
    let rsa = digest_of(key).is_some() && matches!(key.algorithm, crate::keys::Algorithm::Rsa { .. });
    Method::of(
        key,
        &Options {
            rsa_padding: rsa.then_some(RsaPadding::Pss),
            ecdsa_encoding: (!rsa).then_some(EcdsaEncoding::P1363),
            ..Options::default()
        },
    )
}

fn verdict(place: usize, block: &Block, computed: &[u8], request: &Request<'_>) -> Verdict {
    let kind = block.kind.name();
    let what = format!("The {kind} signature in block {place}");
    let moment = request.moment();
    // 1. the key is one we approved: what stands in the block only says which of them to take.
    let keys = request.trust.keys.iter().enumerate();
    let places: Vec<_> = keys
        .filter(|(_, key)| digest_of(&key.key) == Some(block.key))
        .map(|(place, _)| place)
        .collect();
    let chosen = choose(request, &places, &moment)
        .and_then(|place| request.trust.keys.get(place).map(|key| (place, key)));
    let Some((place, key)) = chosen else {
        let (outcome, why) = match block.kind {
            Kind::P192 => (Outcome::Unreadable, "P-192 is too short to prove anything"),
            _ => (Outcome::NotRun, "the signature is by a key that we do not have"),
        };
        return Verdict::unproven(
            &what,
            Finding::new(outcome, format!("{what} was not verified: {why}.")),
            Finding::new(
                Outcome::Fail,
                format!(
                    "Block {place} is by the key with digest {}, which is none of the {} approved key(s). Register \
                     that key and have it approved, or sign with an approved one.",
                    hex(&block.key),
                    request.trust.keys.len()
                ),
            ),
            moment,
        );
    };
    let without_proof = |finding: Finding| {
        let key_finding = match approval(request, key, &moment) {
            approved if approved.outcome == Outcome::Pass => Finding::new(
                Outcome::NotRun,
                format!(
                    "Block {place} names key {:?}, which is approved, but nothing proves that it signed.",
                    key.id
                ),
            ),
            refused => refused,
        };
        Verdict::unproven(&what, finding, key_finding, moment.clone())
    };
    // 2. the padded image is what was signed.
    if block.image != computed {
        return without_proof(Finding::new(
            Outcome::Fail,
            format!(
                "The content is not what was signed: {what} is over an image with digest {}, this one has {}.",
                hex(&block.image),
                hex(computed)
            ),
        ));
    }
    // 3. the signature holds.
    match holds(block, key, computed) {
        Err(why) => without_proof(Finding::new(
            Outcome::Unreadable,
            format!("{what} was not verified: {why}."),
        )),
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

fn holds(block: &Block, key: &TrustKey, computed: &[u8]) -> std::result::Result<(bool, String), String> {
    let method = method(&key.key)?;
    if method.hash() != Some(block.kind.hash()) {
        return Err(format!("{} does not sign in this way", key.key.algorithm.name()));
    }
    let rule = format!("{}, over the padded image", method.rule());
    Ok((method.verify_digest(computed, &block.signature), rule))
}

impl Esp {
    /// What the image says about itself.
    fn claims(&self, pass: &Pass) -> Map<String, Value> {
        let image = &self.image;
        let mut claims = Map::new();
        for (name, value) in &image.descriptor.facts {
            claims.insert((*name).to_owned(), json!(value));
        }
        if let Some(counter) = image.descriptor.security_counter {
            claims.insert("security_counter".to_owned(), json!(counter));
        }
        let revision = |number: u16| format!("v{}.{}", number / 100, number % 100);
        let mode = FLASH_MODES.get(usize::from(image.flash_mode));
        let mut fact = |name: &str, value: Value| claims.insert(name.to_owned(), value);
        fact("chip", json!(chip(image.chip)));
        fact("lowest_chip_revision", json!(revision(image.revisions.0)));
        if image.revisions.1 != u16::MAX {
            fact("highest_chip_revision", json!(revision(image.revisions.1)));
        }
        fact("flash_mode", json!(mode));
        fact("entry_point", json!(image.entry_point));
        if let Some(sha256) = image.sha256 {
            fact("sha256", json!(hex(&sha256)));
        }
        if image.padding > 0 {
            fact("padding_bytes", json!(image.padding));
        }
        let segments = image.segments.iter().zip(&self.segments);
        let segments: Vec<_> = segments
            .map(|(segment, ticket)| {
                let size = segment.to.saturating_sub(segment.from);
                json!({"address": segment.address, "size": size, "sha256": hex(&pass.bytes(*ticket))})
            })
            .collect();
        fact("segments", segments.into());
        if !image.blocks.is_empty() {
            let blocks = image.blocks.iter();
            let blocks: Vec<_> = blocks
                .map(|block| {
                    json!({"algorithm": block.kind.name(), "key_digest": hex(&block.key), "image_digest": hex(&block.image)})
                })
                .collect();
            fact("signatures", blocks.into());
        }
        claims
    }
}
