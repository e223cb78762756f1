//! What a SWUpdate package proves: each member is what sw-description says, and that is signed.

use std::collections::HashMap;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::cms::{self, Content, SignedData};
use crate::error::Result;
use crate::file::Request;
use crate::formats::swupdate::description::Entry;
use crate::formats::swupdate::{DESCRIPTION, Package, SIGNATURE};
use crate::formats::{Container, Reading, several};
use crate::keys::method::verify_message;
use crate::outcome::{Finding, Outcome};
use crate::pass::{Pass, Ticket};
use crate::signatures::raw;
use crate::source::{Sink, Source, hex};
use crate::trust::{Hash, Trust};
use crate::verdict::Verdict;

const WHAT: &str = "The signature of sw-description";

/// A package with what has to be computed over its members.
pub struct Swupdate {
    package: Package,
    /// For each member its SHA-256 and, where the archive records one, its sum.
    tickets: Vec<(Ticket, Option<Ticket>)>,
}

impl Swupdate {
    pub fn new(package: Package) -> Self {
        Swupdate {
            package,
            tickets: Vec::new(),
        }
    }

    /// What is wrong with the content; empty where all of it is what the description says.
    fn faults(&self, pass: &Pass) -> Vec<String> {
        let mut faults = Vec::new();
        let mut entries: HashMap<&str, Vec<&Entry>> = HashMap::new();
        for entry in &self.package.description.entries {
            entries.entry(&entry.filename).or_default().push(entry);
        }
        for (member, (digest, sum)) in self.package.members.iter().zip(&self.tickets) {
            let name = &member.name;
            // 1. the archive's own sum.
            if let (Some(recorded), Some(sum)) = (member.sum, sum)
                && pass.bytes(*sum) != recorded.to_be_bytes()
            {
                faults.push(format!(
                    "the checksum of {name:?} in the archive is 0x{recorded:08x}, its bytes give 0x{}",
                    hex(&pass.bytes(*sum))
                ));
            }
            if name == DESCRIPTION || name == SIGNATURE {
                continue;
            }
            // 2. an entry names the member, and each that does has its digest.
            let digest = pass.bytes(*digest);
            let Some(named) = entries.remove(name.as_str()) else {
                faults.push(format!(
                    "no entry of sw-description names the member {name:?}: nothing signed covers it"
                ));
                continue;
            };
            for entry in named {
                match entry.sha256 {
                    None => faults.push(format!(
                        "the entry for {name:?} ({}) has no sha256: nothing signed binds its content",
                        entry.section
                    )),
                    Some(expected) if expected.as_slice() != digest => faults.push(format!(
                        "{name:?} is not what sw-description says: expected SHA-256 {}, found {}",
                        hex(&expected),
                        hex(&digest)
                    )),
                    Some(_) => {}
                }
            }
        }
        // 3. and no entry is without its member.
        let mut missing: Vec<_> = entries.into_keys().collect();
        missing.sort_unstable();
        for name in missing {
            faults.push(format!(
                "sw-description names {name:?}, which is not in the package"
            ));
        }
        faults
    }

    fn verdicts(&self, request: &Request<'_>) -> Vec<Verdict> {
        let Some(signature) = &self.package.signature else {
            return Vec::new();
        };
        let text = &self.package.text;
        if openpgp(signature) {
            let why = "it is an OpenPGP signature, which is not supported; sign with an RSA key or as CMS";
            return vec![Verdict::unreadable(WHAT, why, request.moment())];
        }
        if cms::looks_like(signature) {
            return match SignedData::parse(signature) {
                Ok(signed) if signed.content.is_some() => {
                    let why =
                        "it holds content of its own; expected a detached signature over sw-description";
                    vec![Verdict::unreadable(WHAT, why, request.moment())]
                }
                Ok(signed) => cms::verify(&signed, WHAT, &Content::Bytes(text), request, &request.moment()),
                Err(why) => vec![Verdict::unreadable(WHAT, &why, request.moment())],
            };
        }
        vec![raw::by_any(WHAT, request, |key| {
            verify_message(&key.key, &key.method, &[text], signature)
                .then(|| format!("{}, over sw-description", key.method.rule()))
        })]
    }
}

/// An OpenPGP signature packet (RFC 9580 §4.2), armoured or not, that is as long as the whole file.
fn openpgp(signature: &[u8]) -> bool {
    let length = signature.len();
    signature.starts_with(b"-----BEGIN PGP")
        || match *signature {
            [0x88, a, ..] => usize::from(a).checked_add(2) == Some(length),
            [0x89, a, b, ..] => usize::from(u16::from_be_bytes([a, b])).checked_add(3) == Some(length),
            [0xc2, a @ 0..=191, ..] => usize::from(a).checked_add(2) == Some(length),
            [0xc2, a @ 192..=223, b, ..] => {
                let body = usize::from(a).saturating_sub(192).saturating_mul(256);
                body.saturating_add(usize::from(b)).saturating_add(192 + 3) == length
            }
            _ => false,
        }
}

impl Container for Swupdate {
    fn plan(&mut self, pass: &mut Pass, _: &Trust) {
        let tickets = self.package.members.iter().map(|member| {
            let digest = pass.digest(member.from, member.to, Hash::Sha256);
            let sum = member
                .sum
                .map(|_| pass.feed(member.from, member.to, Sink::Sum(0)));
            (digest, sum)
        });
        self.tickets = tickets.collect();
    }

    fn judge(&self, pass: &Pass, _: &Source, request: &Request<'_>) -> Result<Reading> {
        let faults = self.faults(pass);
        let version = self.package.description.version.as_deref();
        let format = if faults.is_empty() {
            Finding::new(
                Outcome::Pass,
                format!(
                    "A well-formed SWUpdate package, version {}; all {} members are what sw-description says.",
                    version.unwrap_or("not given"),
                    self.package.members.len()
                ),
            )
        } else {
            Finding::new(
                Outcome::Fail,
                format!(
                    "A SWUpdate package whose content is not covered: {}.",
                    several(&faults)
                ),
            )
        };
        Ok(Reading {
            format,
            verdicts: self.verdicts(request),
            unsigned: Finding::new(
                Outcome::Fail,
                "The package carries no sw-description.sig and no detached signature was given; its digests alone \
                 prove nothing about who made it. Sign it (swugenerator -k, or openssl over sw-description).",
            ),
            checks: Vec::new(),
            claims: self.claims(pass),
        })
    }
}

#[derive(Serialize)]
struct MemberClaim<'a> {
    name: &'a str,
    size: u64,
    sha256: String,
}

#[derive(Serialize)]
struct EntryClaim<'a> {
    filename: &'a str,
    section: &'a str,
    #[serde(rename = "type")]
    kind: Option<&'a str>,
    target: Option<&'a str>,
    version: Option<&'a str>,
    compressed: Option<&'a str>,
    encrypted: bool,
    sha256: Option<String>,
}

#[derive(Serialize)]
struct Claims<'a> {
    version: Option<&'a str>,
    description: Option<&'a str>,
    compatible: &'a [String],
    embedded_script: bool,
    members: Vec<MemberClaim<'a>>,
    entries: Vec<EntryClaim<'a>>,
}

impl Swupdate {
    fn claims(&self, pass: &Pass) -> Map<String, Value> {
        let description = &self.package.description;
        let members = self.package.members.iter().zip(&self.tickets);
        let claims = Claims {
            version: description.version.as_deref(),
            description: description.description.as_deref(),
            compatible: &description.hardware,
            embedded_script: description.script,
            members: members
                .map(|(member, (digest, _))| MemberClaim {
                    name: &member.name,
                    size: member.to.saturating_sub(member.from),
                    sha256: hex(&pass.bytes(*digest)),
                })
                .collect(),
            entries: description
                .entries
                .iter()
                .map(|entry| EntryClaim {
                    filename: &entry.filename,
                    section: &entry.section,
                    kind: entry.kind.as_deref(),
                    target: entry.target.as_deref(),
                    version: entry.version.as_deref(),
                    compressed: entry.compressed.as_deref(),
                    encrypted: entry.encrypted,
                    sha256: entry.sha256.map(|digest| hex(&digest)),
                })
                .collect(),
        };
        match serde_json::to_value(&claims) {
            Ok(Value::Object(claims)) => claims,
            _ => Map::new(),
        }
    }
}
