//! Lists of components that an image carries: uSWID (with coSWID, CycloneDX or SPDX inside), CycloneDX and SPDX as
//! JSON text, and coSWID in the `.sbom` section of a PE executable.
//!
//! What such a list says is the maker's word. It is pulled out to be read and compared, never trusted.

mod coswid;
mod documents;
mod pe;
mod uswid;

use serde_json::{Value, json};

use crate::content::anchors::Kind;
use crate::content::finding::{Check, Found, Level, SBOM, not_applicable};
use crate::content::scan::Scan;
use crate::error::Result;
use crate::outcome::{Finding, Outcome};
use crate::source::Source;

pub use uswid::MAGIC as USWID_MAGIC;

/// One document, unpacked.
const MAX_DOCUMENT: usize = 16 * 1024 * 1024;
const MAX_DOCUMENTS: usize = 64;
/// Bytes that are parsed as JSON in one image, documents or not.
const MAX_LOOKED: u64 = 64 * 1024 * 1024;
/// Components that are listed of all documents together; how many there are is said in any case.
const MAX_COMPONENTS: usize = 2_000;
const MAX_TEXT: usize = 300;

/// One part that the maker says is inside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Component {
    pub name: String,
    pub version: String,
    pub supplier: String,
    /// Algorithm and hexadecimal digest.
    pub hashes: Vec<(String, String)>,
    pub identifier: String,
}

impl Component {
    fn json(&self) -> Value {
        let hashes: Vec<Value> = self
            .hashes
            .iter()
            .map(|(algorithm, digest)| json!({"algorithm": algorithm, "digest": digest}))
            .collect();
        json!({
            "name": self.name, "version": self.version, "supplier": self.supplier,
            "identifier": self.identifier, "hashes": hashes,
        })
    }
}

pub struct Document {
    pub form: String,
    pub components: Vec<Component>,
}

/// Where a document lies, and what it is or why it cannot be read; `None` where there is none after all.
type Read = Option<(u64, u64, std::result::Result<Document, String>)>;

/// Text of a document as it is shown: no control characters, not without end.
fn clean(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_TEXT).collect()
}

pub fn examine(source: &Source, scan: &Scan) -> Result<(Check, Vec<Value>)> {
    let mut found = Vec::new();
    let mut documents = Vec::new();
    let mut room = MAX_COMPONENTS;
    let mut done = 0_u64;
    let mut many = 0_usize;
    let mut looked = MAX_LOOKED;
    for place in &scan.places {
        // A document inside one that was read is told with it.
        if place.offset < done {
            continue;
        }
        let read = match place.kind {
            Kind::Uswid => uswid::read(source, place.offset)?,
            Kind::CycloneDx | Kind::Spdx => documents::read_around(source, place.offset, &mut looked)?,
            Kind::SbomSection => pe::read(source, place.offset, scan)?,
            _ => continue,
        };
        if looked == 0 {
            let what =
                format!("more than {MAX_LOOKED} bytes that look like component lists; the rest is not read");
            found.push(Found::new(Level::Warn, place.offset, 0, what));
            break;
        }
        let Some((from, to, read)) = read else { continue };
        many = many.saturating_add(1);
        if many > MAX_DOCUMENTS {
            let what = format!("more than {MAX_DOCUMENTS} component lists, which are not read");
            found.push(Found::new(Level::Warn, place.offset, 0, what));
            break;
        }
        let length = to.saturating_sub(from);
        match read {
            Err(why) => {
                let what = format!("a component list that cannot be read ({why})");
                found.push(Found::new(Level::Warn, from, length, what));
            }
            Ok(document) => {
                done = to;
                let count = document.components.len();
                let shown = document.components.iter().take(room);
                let listed: Vec<Value> = shown.map(Component::json).collect();
                room = room.saturating_sub(listed.len());
                let what = format!("{} with {count} components", document.form);
                found.push(Found::new(Level::Note, from, length, what).with("components", count));
                documents.push(json!({
                    "offset": from, "length": length, "format": document.form, "count": count, "components": listed,
                }));
            }
        }
    }
    if found.is_empty() {
        let reason =
            "The image carries no list of components (uSWID, CycloneDX, SPDX), as far as it is readable.";
        return Ok((not_applicable(SBOM, reason), documents));
    }
    let readable = found.iter().filter(|item| item.level == Level::Note);
    let names: Vec<&str> = readable.map(|item| item.what.as_str()).take(8).collect();
    let clean = Finding::new(Outcome::Pass, format!("The image carries {}.", names.join(", ")));
    Ok((Check::of(SBOM, found, clean), documents))
}
