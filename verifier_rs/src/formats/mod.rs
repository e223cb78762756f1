//! What kind of file it is, by its own bytes (a name proves nothing), and what reading its inside gives.

mod addresses;
pub mod archive;
pub mod cms;
pub mod dfu;
pub mod elf;
pub mod esp;
mod fields;
pub mod fit;
mod hex_lines;
pub mod intel_hex;
mod loaded;
pub mod mcuboot;
pub mod mender;
pub mod opaque;
pub mod rauc;
pub mod srec;
pub mod swupdate;
pub mod uf2;

use serde_json::{Map, Value};

use crate::error::Result;
use crate::file::Request;
use crate::outcome::{Finding, Outcome};
use crate::pass::Pass;
use crate::signatures::sigstore;
use crate::source::Source;
use crate::statements::{self, cose, envelope, jws};
use crate::trust::Trust;
use crate::verdict::Verdict;

/// A file of a known format, well formed as far as can be told before its bytes are hashed.
pub trait Container {
    /// Ask for what has to be computed while the file is read.
    fn plan(&mut self, pass: &mut Pass, trust: &Trust);
    /// What it turned out to be, once the pass is over. Further reads are for small parts, or bounded in memory.
    fn judge(&self, pass: &Pass, source: &Source, request: &Request<'_>) -> Result<Reading>;
}

/// What reading a container gave.
pub struct Reading {
    /// Whether it is well formed and whole.
    pub format: Finding,
    /// One for each signature that it carries.
    pub verdicts: Vec<Verdict>,
    /// What to say where nothing is signed, neither inside nor by a detached signature.
    pub unsigned: Finding,
    /// Further checks of this format: `("verity", …)` becomes `firmware.verity`.
    pub checks: Vec<(&'static str, Finding)>,
    /// What the file says about itself, for people: `version` and `security_counter` mean the same in all formats,
    /// lists of objects (`segments`, `members`, …) are shown as tables. Claims, not proof, unless every check passed.
    pub claims: Map<String, Value>,
}

/// Up to five things that are wrong, in one sentence, and how many more there are.
pub fn several(faults: &[String]) -> String {
    const SHOWN: usize = 5;
    let mut text = faults.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("; ");
    if let Some(more) = faults.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        text.push_str(&format!("; and {more} more"));
    }
    text
}

/// A container, or why the file cannot be read as what it begins like.
pub type Parsed = std::result::Result<Box<dyn Container>, String>;

/// Read the structure of a file of this format. The outer error is an I/O error.
pub fn parse(format: Format, source: &Source) -> Result<Parsed> {
    match format {
        Format::Mcuboot => mcuboot::parse(source),
        Format::Cms => cms::parse(source),
        Format::McubootBigEndian => Ok(Err(
            "the image is big-endian; only little-endian MCUboot images are supported".to_owned(),
        )),
        Format::Dsse => envelope::parse(source),
        Format::Cose => cose::parse(source),
        Format::Sigstore => sigstore::parse(source),
        Format::Jws => jws::parse(source),
        Format::Swupdate => swupdate::parse(source),
        Format::Mender => mender::parse(source),
        Format::IntelHex => intel_hex::parse(source),
        Format::Srec => srec::parse(source),
        Format::Rauc => rauc::parse(source),
        Format::Uf2 => uf2::parse(source),
        Format::Dfu => dfu::parse(source),
        Format::Elf => elf::parse(source),
        Format::Esp => esp::parse(source),
        Format::Fit => fit::parse(source),
        opaque => Ok(Ok(Box::new(opaque::Opaque(opaque)))),
    }
}

/// What to say of a file whose format holds no signature, or holds none.
fn unsigned() -> Finding {
    Finding::new(
        Outcome::Fail,
        "The file carries no signature that can be read, and no detached one was given. Give one made with an \
         approved key.",
    )
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Empty,
    Mcuboot,
    McubootBigEndian,
    Cms,
    IntelHex,
    Elf,
    Uf2,
    Srec,
    Dfu,
    Dsse,
    Cose,
    Jws,
    Sigstore,
    Swupdate,
    Mender,
    Rauc,
    Esp,
    Fit,
    Opaque,
}

impl Format {
    /// Whether its inside is not read.
    pub fn closed(self) -> bool {
        matches!(self, Format::Empty | Format::Opaque)
    }

    /// The format in words: "an MCUboot image".
    pub fn title(self) -> &'static str {
        match self {
            Format::Mcuboot | Format::McubootBigEndian => "an MCUboot image",
            Format::Dsse => "a DSSE envelope",
            Format::Cose => "a COSE message",
            Format::Jws => "a JSON Web Signature",
            Format::Sigstore => "a Sigstore bundle",
            Format::Cms => "CMS signed data",
            Format::Swupdate => "a SWUpdate package (cpio)",
            Format::Mender => "a Mender artifact (tar)",
            Format::IntelHex => "an Intel HEX file",
            Format::Srec => "an S-record file",
            Format::Rauc => "a RAUC bundle (squashfs and signature)",
            Format::Uf2 => "a UF2 file",
            Format::Dfu => "a DFU file",
            Format::Elf => "an ELF file",
            Format::Esp => "an ESP32 image",
            Format::Fit => "a FIT image",
            other => other.name(),
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Format::Empty => "empty",
            Format::Mcuboot | Format::McubootBigEndian => "mcuboot",
            Format::Cms => "cms",
            Format::IntelHex => "intel-hex",
            Format::Elf => "elf",
            Format::Uf2 => "uf2",
            Format::Srec => "srec",
            Format::Dfu => "dfu",
            Format::Dsse => "dsse",
            Format::Cose => "cose",
            Format::Jws => "jws",
            Format::Sigstore => "sigstore",
            Format::Swupdate => "swupdate",
            Format::Mender => "mender",
            Format::Rauc => "rauc",
            Format::Esp => "esp32",
            Format::Fit => "fit",
            Format::Opaque => "opaque",
        }
    }
}

/// Look at the first 600 and the last 16 bytes.
pub fn detect(source: &Source) -> Result<Format> {
    let mut start = [0; 600];
    let got = source.read_some(&mut start, 0)?;
    let start = start.get(..got).unwrap_or_default();
    let dfu = dfu::begins(source, start)?;
    Ok(if start.is_empty() {
        Format::Empty
    } else if dfu {
        Format::Dfu
    } else if start.starts_with(&mcuboot::MAGIC) {
        Format::Mcuboot
    } else if start.starts_with(&mcuboot::MAGIC_BIG_ENDIAN) {
        Format::McubootBigEndian
    } else if crate::cms::looks_like(start) {
        Format::Cms
    } else if start.starts_with(&elf::MAGIC) {
        Format::Elf
    } else if start.starts_with(&uf2::MAGIC) {
        Format::Uf2
    } else if start.starts_with(archive::cpio::CRC)
        || archive::cpio::first_name(start)
            .is_some_and(|name| name.starts_with(swupdate::DESCRIPTION.as_bytes()))
    {
        Format::Swupdate
    } else if mender::begins(start) {
        Format::Mender
    } else if rauc::begins(source, start)? {
        Format::Rauc
    } else if fit::begins(source, start)? {
        Format::Fit
    } else if esp::begins(start) {
        Format::Esp
    } else if intel_hex::matches(start) {
        Format::IntelHex
    } else if srec::matches(start) {
        Format::Srec
    } else {
        statements::detect(source, start)?.unwrap_or(Format::Opaque)
    })
}
