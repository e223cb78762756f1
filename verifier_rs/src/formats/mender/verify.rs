//! What a Mender artifact proves: every file in it is in the manifest, and that is signed.

use std::collections::BTreeMap;

use base64::Engine;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::encoding;
use crate::error::Result;
use crate::file::Request;
use crate::formats::archive::split;
use crate::formats::mender::header::{Header, read_content};
use crate::formats::mender::manifest::Manifest;
use crate::formats::mender::payload::{File, contents, files};
use crate::formats::mender::{Artifact, Inner};
use crate::formats::{Container, Reading, several};
use crate::keys::method::{Method, digest_of, verify_message};
use crate::outcome::{Finding, Outcome};
use crate::pass::{Pass, Ticket};
use crate::signatures::raw;
use crate::source::{Source, hex};
use crate::trust::{Hash, Trust};
use crate::verdict::Verdict;

const WHAT: &str = "The signature of the manifest";

/// An artifact with what has to be computed over its members.
pub struct Mender {
    artifact: Artifact,
    /// The digests of the headers, as they are stored.
    header: Option<Ticket>,
    header_augment: Option<Ticket>,
}

impl Mender {
    pub fn new(artifact: Artifact) -> Self {
        Mender {
            artifact,
            header: None,
            header_augment: None,
        }
    }
}

/// What was found inside, and what is wrong with it.
#[derive(Default)]
struct Inside {
    files: Vec<(String, File, bool)>,
    header: Header,
    faults: Vec<String>,
    /// What cannot be read, so that nothing is known of it.
    unreadable: Vec<String>,
}

/// The lines of a manifest that nothing has matched yet.
struct Lines<'a> {
    name: &'static str,
    left: BTreeMap<&'a str, &'a [u8; 32]>,
}

impl<'a> Lines<'a> {
    fn of(name: &'static str, manifest: &'a Manifest) -> Self {
        let lines = manifest.digests.iter();
        Lines {
            name,
            left: lines.map(|(name, digest)| (name.as_str(), digest)).collect(),
        }
    }

    /// Match a file with its line; `None` if there is none, else what is wrong.
    fn matches(&mut self, name: &str, digest: &[u8]) -> Option<std::result::Result<(), String>> {
        let expected = self.left.remove(name)?;
        Some(if expected.as_slice() == digest {
            Ok(())
        } else {
            Err(format!(
                "{name:?} is not what {} says: expected SHA-256 {}, found {}",
                self.name,
                hex(expected),
                hex(digest)
            ))
        })
    }
}

impl Mender {
    fn inside(&self, pass: &Pass, source: &Source) -> Result<Inside> {
        let artifact = &self.artifact;
        let mut inside = Inside::default();
        let none = Manifest::default();
        let mut signed = Lines::of("the manifest", &artifact.manifest);
        let mut added = Lines::of("manifest-augment", artifact.augment.as_ref().unwrap_or(&none));
        let expect = |inside: &mut Inside, lines: &mut Lines<'_>, name: &str, digest: &[u8]| match lines
            .matches(name, digest)
        {
            Some(Ok(())) => {}
            Some(Err(why)) => inside.faults.push(why),
            None => inside
                .faults
                .push(format!("{} has no line for {name:?}", lines.name)),
        };
        // 1. the members that are covered as they are stored.
        let version = digest_of(Hash::Sha256, &[&artifact.version]);
        expect(&mut inside, &mut signed, "version", &version);
        let stored = |ticket: Option<Ticket>| ticket.map(|ticket| pass.bytes(ticket)).unwrap_or_default();
        expect(
            &mut inside,
            &mut signed,
            &artifact.header.member.name,
            &stored(self.header),
        );
        if let Some(header) = &artifact.header_augment {
            expect(
                &mut inside,
                &mut added,
                &header.member.name,
                &stored(self.header_augment),
            );
        }
        // 2. the files inside the payloads.
        let mut complete = true;
        for (place, payload) in artifact.payloads.iter().enumerate() {
            match split(files(source, payload))? {
                Ok(files) => {
                    for file in files {
                        let name = format!("data/{place:04}/{}", file.name);
                        let found = signed.matches(&name, &file.sha256);
                        let is_signed = found.is_some();
                        match found.or_else(|| added.matches(&name, &file.sha256)) {
                            Some(Ok(())) => {}
                            Some(Err(why)) => inside.faults.push(why),
                            None => inside
                                .faults
                                .push(format!("no line of the manifest covers {name:?}")),
                        }
                        inside.files.push((name, file, is_signed));
                    }
                }
                Err(why) => {
                    complete = false;
                    inside.unreadable.push(why);
                }
            }
        }
        // 3. and no line is without its file.
        if complete {
            for lines in [&signed, &added] {
                let missing = lines.left.keys();
                inside
                    .faults
                    .extend(missing.map(|name| format!("{} names {name:?}, which is not there", lines.name)));
            }
        }
        // 4. the header.
        let header = split(contents(source, &artifact.header, read_content))?.and_then(|members| {
            let name = &artifact.header.member.name;
            Header::parse(&members, artifact.payloads.len()).map_err(|why| format!("{name}: {why}"))
        });
        match header {
            Ok(header) => inside.header = header,
            Err(why) => inside.unreadable.push(why),
        }
        Ok(inside)
    }

    fn verdicts(&self, request: &Request<'_>) -> Vec<Verdict> {
        let Some(text) = &self.artifact.signature else {
            return Vec::new();
        };
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        let Ok(signature) = encoding::STANDARD.decode(text) else {
            let why = "manifest.sig is not base64";
            return vec![Verdict::unreadable(WHAT, why, request.moment())];
        };
        vec![raw::by_any(WHAT, request, |key| {
            let method = Method::mender(&key.key)?;
            verify_message(&key.key, &method, &[&self.artifact.text], &signature)
                .then(|| format!("{}, over the manifest", method.rule()))
        })]
    }
}

impl Container for Mender {
    fn plan(&mut self, pass: &mut Pass, _: &Trust) {
        let mut stored = |inner: &Inner| pass.digest(inner.member.from, inner.member.to, Hash::Sha256);
        self.header = Some(stored(&self.artifact.header));
        self.header_augment = self.artifact.header_augment.as_ref().map(stored);
    }

    fn judge(&self, pass: &Pass, source: &Source, request: &Request<'_>) -> Result<Reading> {
        let inside = self.inside(pass, source)?;
        let name = inside.header.name.as_deref().unwrap_or("without a name");
        let format = if !inside.faults.is_empty() {
            Finding::new(
                Outcome::Fail,
                format!(
                    "A Mender artifact whose content is not covered: {}.",
                    several(&inside.faults)
                ),
            )
        } else if !inside.unreadable.is_empty() {
            Finding::new(
                Outcome::Unreadable,
                format!(
                    "A Mender artifact that cannot be read to its end: {}.",
                    several(&inside.unreadable)
                ),
            )
        } else {
            Finding::new(
                Outcome::Pass,
                format!(
                    "A well-formed Mender artifact, {name}; all {} file(s) in it are what its manifest says.",
                    inside.files.len()
                ),
            )
        };
        let augment = self.artifact.augment.as_ref().map(|augment| {
            let names: Vec<_> = augment.digests.keys().map(String::as_str).collect();
            let finding = Finding::new(
                Outcome::Warn,
                format!(
                    "The artifact has a manifest-augment, which is never signed: whoever passes the artifact on can \
                     exchange {}.",
                    names.join(", ")
                ),
            );
            ("augment", finding)
        });
        Ok(Reading {
            format,
            verdicts: self.verdicts(request),
            unsigned: Finding::new(
                Outcome::Fail,
                "The artifact carries no manifest.sig and no detached signature was given; its digests alone prove \
                 nothing about who made it. Sign it (mender-artifact sign -k KEY).",
            ),
            checks: augment.into_iter().collect(),
            claims: self.claims(&inside),
        })
    }
}

#[derive(Serialize)]
struct MemberClaim<'a> {
    name: &'a str,
    size: u64,
    sha256: String,
    signed: bool,
}

#[derive(Serialize)]
struct PayloadClaim<'a> {
    #[serde(rename = "type")]
    kind: Option<&'a str>,
    compression: &'static str,
    size: u64,
    depends: &'a Map<String, Value>,
    provides: &'a Map<String, Value>,
}

#[derive(Serialize)]
struct Claims<'a> {
    version: Option<&'a str>,
    format_version: u32,
    artifact_name: Option<&'a str>,
    artifact_group: Option<&'a str>,
    compatible: &'a [String],
    depends: &'a Map<String, Value>,
    provides: &'a Map<String, Value>,
    compression: &'static str,
    scripts: &'a [String],
    payloads: Vec<PayloadClaim<'a>>,
    members: Vec<MemberClaim<'a>>,
}

impl Mender {
    /// What the artifact says about itself.
    fn claims(&self, inside: &Inside) -> Map<String, Value> {
        let header = &inside.header;
        let claims = Claims {
            version: header.version(),
            format_version: 3,
            artifact_name: header.name.as_deref(),
            artifact_group: header.group.as_deref(),
            compatible: &header.compatible,
            depends: &header.depends,
            provides: &header.provides,
            compression: self.artifact.header.compression.name(),
            scripts: &header.scripts,
            payloads: header
                .payloads
                .iter()
                .zip(&self.artifact.payloads)
                .map(|(payload, inner)| PayloadClaim {
                    kind: payload.kind.as_deref(),
                    compression: inner.compression.name(),
                    size: inner.member.to.saturating_sub(inner.member.from),
                    depends: &payload.depends,
                    provides: &payload.provides,
                })
                .collect(),
            members: inside
                .files
                .iter()
                .map(|(name, file, signed)| MemberClaim {
                    name,
                    size: file.size,
                    sha256: hex(&file.sha256),
                    signed: *signed,
                })
                .collect(),
        };
        match serde_json::to_value(&claims) {
            Ok(Value::Object(claims)) => claims,
            _ => Map::new(),
        }
    }
}
