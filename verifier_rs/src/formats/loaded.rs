//! Files that say what belongs at which addresses and carry no signature themselves (Intel HEX, SREC, UF2, DfuSe).
//! What they hold may be a signed image: it is verified as if it had come by itself.

use std::path::Path;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::error::Result;
use crate::file::Request;
use crate::formats::addresses::{Collector, Segment, Walk, plain};
use crate::formats::mcuboot::trailer;
use crate::formats::{self, Container, Format, Reading, unsigned};
use crate::outcome::{Finding, Outcome};
use crate::pass::Pass;
use crate::source::{Progress, Source, hex};
use crate::trust::Trust;

/// A segment that is longer is hashed, but no image is looked for in it: it would have to be held in memory.
const MAX_INSIDE: u64 = 32 * 1024 * 1024;
/// Enough to tell what a segment begins like.
const START: usize = 600;
const TRAILER: &str = "MCUboot trailer";
const MAX_IMAGES: usize = 8;

/// A well-formed file of this kind.
pub struct Loaded {
    format: Format,
    segments: Vec<Segment>,
    walk: Walk,
    claims: Map<String, Value>,
}

/// What one segment turned out to be.
struct Row {
    address: u64,
    size: u64,
    sha256: String,
    content: &'static str,
    /// Whether it belongs to an image that carries a signature.
    signed: bool,
    image: Option<Reading>,
}

impl Loaded {
    /// What a file said of addresses, with further claims of its format.
    pub fn parsed(
        format: Format,
        collector: Collector,
        walk: Walk,
        claims: Map<String, Value>,
    ) -> formats::Parsed {
        Ok(Box::new(Loaded {
            format,
            segments: collector.segments()?,
            walk,
            claims,
        }))
    }

    /// A file that loads nothing anywhere, such as one that is still to be linked.
    pub fn nothing(format: Format, claims: Map<String, Value>) -> formats::Parsed {
        Ok(Box::new(Loaded {
            format,
            segments: Vec::new(),
            walk: plain,
            claims,
        }))
    }

    fn row(&self, segment: &Segment, source: &Source, request: &Request<'_>) -> Result<Row> {
        let whole = segment.size <= MAX_INSIDE;
        let keep = if whole {
            usize::try_from(segment.size).unwrap_or(START)
        } else {
            START
        };
        let mut sha256 = Sha256::new();
        let mut kept = Vec::with_capacity(keep);
        segment.content(source, self.walk, &mut |data| {
            sha256.update(data);
            let room = keep.saturating_sub(kept.len()).min(data.len());
            kept.extend_from_slice(data.get(..room).unwrap_or_default());
        })?;
        let mut row = Row {
            address: segment.address,
            size: segment.size,
            sha256: hex(&sha256.finalize()),
            content: if trailer::is_part(&kept) { TRAILER } else { "" },
            signed: false,
            image: None,
        };
        let inner = Source::memory(kept, Path::new("the image inside"));
        let format = formats::detect(&inner)?;
        let known = match format {
            Format::Mcuboot | Format::McubootBigEndian => Some("MCUboot image"),
            Format::Esp => Some("ESP32 image"),
            Format::Fit => Some("FIT image"),
            _ => None,
        };
        if let Some(known) = known {
            let reading = if whole {
                image(format, &inner, request)?
            } else {
                unread(
                    format,
                    format!("it is longer than {MAX_INSIDE} bytes, submit it by itself"),
                )
            };
            row.content = known;
            row.signed = !reading.verdicts.is_empty();
            row.image = Some(reading);
        }
        Ok(row)
    }
}

/// Read and verify an image that was unwrapped.
fn image(format: Format, inner: &Source, request: &Request<'_>) -> Result<Reading> {
    let mut container = match formats::parse(format, inner)? {
        Ok(container) => container,
        Err(why) => return Ok(unread(format, why)),
    };
    let mut pass = Pass::default();
    container.plan(&mut pass, request.trust);
    pass.run(inner, &mut Progress::new(&mut |_| Ok(())))?;
    container.judge(&pass, inner, request)
}

fn unread(format: Format, why: String) -> Reading {
    Reading {
        format: Finding::new(
            Outcome::Unreadable,
            format!(
                "The content begins like {} but cannot be read as one: {why}.",
                format.title()
            ),
        ),
        verdicts: Vec::new(),
        unsigned: Finding::new(
            Outcome::NotRun,
            "The image inside is damaged, so its signature cannot be found; no detached one was given.",
        ),
        checks: Vec::new(),
        claims: Map::new(),
    }
}

impl Container for Loaded {
    fn plan(&mut self, _: &mut Pass, _: &Trust) {}

    fn judge(&self, _: &Pass, source: &Source, request: &Request<'_>) -> Result<Reading> {
        let mut rows = Vec::new();
        for segment in &self.segments {
            rows.push(self.row(segment, source, request)?);
        }
        let total = rows.iter().fold(0_u64, |all, row| all.saturating_add(row.size));
        let mut findings = vec![Finding::new(
            Outcome::Pass,
            format!(
                "A well-formed file: {}, {total} bytes in {} address range(s).",
                self.format.title(),
                rows.len()
            ),
        )];
        let mut reading = Reading {
            format: Finding::new(Outcome::NotRun, ""),
            verdicts: Vec::new(),
            unsigned: unsigned(),
            checks: Vec::new(),
            claims: self.claims.clone(),
        };
        let table: Vec<_> = rows
            .iter()
            .map(|row| {
                json!({"address": row.address, "size": row.size, "sha256": row.sha256, "content": row.content})
            })
            .collect();
        reading.claims.insert("segments".to_owned(), table.into());
        if rows.iter().any(|row| row.image.is_some()) {
            reading.checks.push(("coverage", coverage(&rows, request)));
        }
        let mut claims = Vec::new();
        for row in rows {
            let Some(image) = row.image else { continue };
            findings.push(image.format);
            reading.verdicts.extend(image.verdicts);
            reading.unsigned = image.unsigned;
            reading.checks.extend(image.checks);
            claims.push((row.address, image.claims));
        }
        if claims.len() > MAX_IMAGES {
            findings.push(Finding::new(
                Outcome::Unreadable,
                format!("More than {MAX_IMAGES} images in one file: submit them one by one."),
            ));
        }
        // One image speaks for the whole file; of several none does. What both tell stays the file's own.
        match claims.as_slice() {
            [(_, only)] => {
                for (name, claim) in only {
                    let told = reading.claims.contains_key(name);
                    let name = if told {
                        format!("image_{name}")
                    } else {
                        name.clone()
                    };
                    reading.claims.insert(name, claim.clone());
                }
            }
            several => {
                for (address, claims) in several {
                    reading
                        .claims
                        .insert(format!("image_at_0x{address:08x}"), claims.clone().into());
                }
            }
        }
        if let Some(finding) = Finding::worst(findings) {
            reading.format = finding;
        }
        Ok(reading)
    }
}

/// Whether anything is loaded that no signature covers.
fn coverage(rows: &[Row], request: &Request<'_>) -> Finding {
    if request.signature.is_some() {
        return Finding::new(
            Outcome::Pass,
            "The detached signature is over the whole file, so everything in it is covered.",
        );
    }
    // A trailer belongs to an image before it.
    let images = rows.iter().filter(|row| row.signed);
    let first = images.map(|row| row.address).min().unwrap_or(u64::MAX);
    let trailer = |row: &&Row| row.content == TRAILER && row.address > first;
    let open: Vec<_> = rows
        .iter()
        .filter(|row| !row.signed && !trailer(row))
        .map(|row| format!("0x{:08x} ({} bytes)", row.address, row.size))
        .collect();
    if open.is_empty() {
        return Finding::new(
            Outcome::Pass,
            "All content belongs to images that carry a signature.",
        );
    }
    let shown = open.iter().take(4).cloned().collect::<Vec<_>>().join(", ");
    Finding::new(
        Outcome::Fail,
        format!(
            "{} address range(s) hold content that no signature covers: {shown}{}. Submit the signed image alone, \
             or give a detached signature over the whole file.",
            open.len(),
            if open.len() > 4 { " …" } else { "" }
        ),
    )
}
