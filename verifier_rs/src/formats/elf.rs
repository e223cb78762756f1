//! ELF (System V ABI, gABI 4.3): what is loaded where, sections by name, what built it. It carries no signature of its
//! own that counts here: only a detached one does.

use serde_json::{Map, Value, json};

use crate::error::Result;
use crate::formats::addresses::{Collector, plain};
use crate::formats::fields::bytes;
use crate::formats::loaded::Loaded;
use crate::formats::{Format, Parsed};
use crate::source::{Source, hex};

pub const MAGIC: [u8; 4] = *b"\x7fELF";
const MAX_PROGRAM_HEADERS: u16 = 256;
const MAX_SECTIONS: u16 = 8192;
/// Sections that the claims list.
const MAX_LISTED: usize = 256;
const MAX_NAMES: u64 = 1024 * 1024;
const MAX_NAME: usize = 128;
/// A note, a comment, Go's build information: what is longer is not read.
const MAX_READ: u64 = 64 * 1024;
const MAX_NOTES: usize = 64;
/// So many times the size of the file may be what it says to load: segments may share a page, no more.
const MAX_LOADED: u64 = 2;
const LOAD: u32 = 1;
const NOTE: u32 = 4;
const SECTION_NOTE: u32 = 7;
const NO_CONTENT: u32 = 8;
const MODULE_SIGNATURE: &[u8] = b"~Module signature appended~\n";

const TYPES: [(u16, &str); 4] = [
    (1, "relocatable"),
    (2, "executable"),
    (3, "shared object or position-independent executable"),
    (4, "core dump"),
];
const MACHINES: [(u16, &str); 16] = [
    (3, "x86"),
    (8, "MIPS"),
    (20, "PowerPC"),
    (21, "PowerPC 64"),
    (40, "Arm"),
    (42, "SuperH"),
    (44, "TriCore"),
    (62, "x86-64"),
    (83, "AVR"),
    (93, "ARCompact"),
    (94, "Xtensa"),
    (105, "MSP430"),
    (173, "Renesas RX"),
    (183, "AArch64"),
    (195, "ARCv2"),
    (243, "RISC-V"),
];

type Read<T> = Result<std::result::Result<T, String>>;

/// How numbers are written, and how wide addresses are.
#[derive(Clone, Copy)]
struct Form {
    big_endian: bool,
    wide: bool,
}

impl Form {
    fn u16(self, from: &[u8], at: usize) -> u16 {
        let read = if self.big_endian {
            u16::from_be_bytes
        } else {
            u16::from_le_bytes
        };
        bytes(from, at).map(read).unwrap_or_default()
    }

    fn u32(self, from: &[u8], at: usize) -> u32 {
        let read = if self.big_endian {
            u32::from_be_bytes
        } else {
            u32::from_le_bytes
        };
        bytes(from, at).map(read).unwrap_or_default()
    }

    fn u64(self, from: &[u8], at: usize) -> u64 {
        let read = if self.big_endian {
            u64::from_be_bytes
        } else {
            u64::from_le_bytes
        };
        bytes(from, at).map(read).unwrap_or_default()
    }

    /// An address, offset or size at its place in the layout of 32 bits or in that of 64.
    fn word(self, from: &[u8], narrow: usize, wide: usize) -> u64 {
        if self.wide {
            self.u64(from, wide)
        } else {
            self.u32(from, narrow).into()
        }
    }
}

struct Header {
    form: Form,
    kind: u16,
    machine: u16,
    entry: u64,
    programs: (u64, u16),
    sections: (u64, u16),
    names: u16,
}

/// A part of the file with its address; program headers have two of them.
struct Part {
    kind: u32,
    name: String,
    flags: u64,
    virtual_address: u64,
    address: u64,
    from: u64,
    to: u64,
    /// In memory.
    size: u64,
}

fn header(source: &Source) -> Read<Header> {
    let mut start = [0; 64];
    let got = source.read_some(&mut start, 0)?;
    let form = match start.get(4..7) {
        Some([class @ 1..=2, data @ 1..=2, 1]) => Form {
            big_endian: *data == 2,
            wide: *class == 2,
        },
        _ => return Ok(Err("its class, byte order or version is not known".to_owned())),
    };
    let (length, program, section) = if form.wide { (64, 56, 64) } else { (52, 32, 40) };
    if got < length {
        return Ok(Err(format!(
            "the header is cut: expected {length} bytes, found {got}"
        )));
    }
    let half = |narrow: usize, wide: usize| form.u16(&start, if form.wide { wide } else { narrow });
    let header = Header {
        form,
        kind: form.u16(&start, 16),
        machine: form.u16(&start, 18),
        entry: form.word(&start, 24, 24),
        programs: (form.word(&start, 28, 32), half(44, 56)),
        sections: (form.word(&start, 32, 40), half(48, 60)),
        names: half(50, 62),
    };
    for ((from, count), most, size, expected, what) in [
        (
            header.programs,
            MAX_PROGRAM_HEADERS,
            half(42, 54),
            program,
            "program headers",
        ),
        (
            header.sections,
            MAX_SECTIONS,
            half(46, 58),
            section,
            "section headers",
        ),
    ] {
        if count == 0 {
            continue;
        }
        if count > most || size != expected {
            return Ok(Err(format!(
                "{count} {what} of {size} bytes; expected at most {most} of {expected} bytes"
            )));
        }
        let end = from.saturating_add(u64::from(count).saturating_mul(size.into()));
        if end > source.size() {
            return Ok(Err(format!(
                "the {what} end at offset {end}, the file at {}",
                source.size()
            )));
        }
    }
    Ok(Ok(header))
}

fn programs(source: &Source, header: &Header) -> Read<Vec<Part>> {
    let form = header.form;
    let size = if form.wide { 56 } else { 32 };
    let (from, count) = header.programs;
    let table = source.read_exact(from, usize::from(count).saturating_mul(size))?;
    let mut parts = Vec::new();
    for (number, entry) in table.chunks_exact(size).enumerate() {
        let from = form.word(entry, 4, 8);
        let stored = form.word(entry, 16, 32);
        let part = Part {
            kind: form.u32(entry, 0),
            name: String::new(),
            flags: form.u32(entry, if form.wide { 4 } else { 24 }).into(),
            virtual_address: form.word(entry, 8, 16),
            address: form.word(entry, 12, 24),
            from,
            to: from.saturating_add(stored),
            size: form.word(entry, 20, 40),
        };
        let wrong = |what: String| Ok(Err(format!("program header {number}: {what}")));
        if stored > 0 && part.to > source.size() {
            return wrong(format!(
                "its content is outside: {from} to {}, the file ends at {}",
                part.to,
                source.size()
            ));
        }
        let top = if form.wide { u64::MAX } else { u64::from(u32::MAX) };
        let fits = |address: u64| {
            address
                .checked_add(part.size)
                .is_some_and(|end| end.saturating_sub(1) <= top)
        };
        if part.kind == LOAD && (stored > part.size || !fits(part.virtual_address) || !fits(part.address)) {
            return wrong(format!(
                "{stored} bytes for {} bytes of memory at 0x{:08x} do not fit",
                part.size, part.virtual_address
            ));
        }
        parts.push(part);
    }
    Ok(Ok(parts))
}

fn sections(source: &Source, header: &Header) -> Read<Vec<Part>> {
    let form = header.form;
    let size = if form.wide { 64 } else { 40 };
    let (from, count) = header.sections;
    let table = source.read_exact(from, usize::from(count).saturating_mul(size))?;
    let range = |entry: &[u8]| {
        let from = form.word(entry, 16, 24);
        (from, from.saturating_add(form.word(entry, 20, 32)))
    };
    let names = match table.chunks_exact(size).nth(header.names.into()).map(range) {
        Some((from, to)) if to <= source.size() && to.saturating_sub(from) <= MAX_NAMES => {
            source.read_exact(from, usize::try_from(to.saturating_sub(from)).unwrap_or_default())?
        }
        Some(_) => return Ok(Err("the names of the sections are outside of the file".to_owned())),
        None => Vec::new(),
    };
    let mut parts = Vec::new();
    for (number, entry) in table.chunks_exact(size).enumerate() {
        let (from, to) = range(entry);
        let kind = form.u32(entry, 4);
        let at = usize::try_from(form.u32(entry, 0)).unwrap_or(usize::MAX);
        let name = names.get(at..).unwrap_or_default();
        let name: Vec<u8> = name
            .iter()
            .copied()
            .take(MAX_NAME)
            .take_while(|byte| *byte != 0)
            .collect();
        let name = String::from_utf8_lossy(&name).into_owned();
        if kind != 0 && kind != NO_CONTENT && to > source.size() {
            return Ok(Err(format!(
                "section {number} ({name:?}) is outside: {from} to {to}, the file ends at {}",
                source.size()
            )));
        }
        let address = form.word(entry, 12, 16);
        parts.push(Part {
            kind,
            name,
            flags: form.word(entry, 8, 8),
            virtual_address: address,
            address,
            from,
            to,
            size: to.saturating_sub(from),
        });
    }
    Ok(Ok(parts))
}

pub fn parse(source: &Source) -> Result<Parsed> {
    let header = match header(source)? {
        Ok(header) => header,
        Err(why) => return Ok(Err(why)),
    };
    let programs = match programs(source, &header)? {
        Ok(programs) => programs,
        Err(why) => return Ok(Err(why)),
    };
    let sections = match sections(source, &header)? {
        Ok(sections) => sections,
        Err(why) => return Ok(Err(why)),
    };
    let mut claims = claims(&header, &programs, &sections);
    built_by(source, &header, &programs, &sections, &mut claims)?;
    let loads: Vec<_> = programs
        .iter()
        .filter(|part| part.kind == LOAD && part.to > part.from)
        .collect();
    if loads.is_empty() {
        return Ok(Loaded::nothing(Format::Elf, claims));
    }
    let loaded = loads.iter().fold(0_u64, |all, part| {
        all.saturating_add(part.to.saturating_sub(part.from))
    });
    if loaded > source.size().saturating_mul(MAX_LOADED) {
        return Ok(Err(format!(
            "its segments load {loaded} bytes of a file of {}: the same bytes again and again",
            source.size()
        )));
    }
    // Where it is written to; linkers without the notion leave all of them 0.
    let physical = loads.iter().any(|part| part.address != 0);
    let mut collector = Collector::default();
    for part in loads {
        let address = if physical {
            part.address
        } else {
            part.virtual_address
        };
        if let Err(why) = collector.apart(address, part.to.saturating_sub(part.from), part.from) {
            return Ok(Err(why));
        }
    }
    Ok(Loaded::parsed(Format::Elf, collector, plain, claims))
}

fn claims(header: &Header, programs: &[Part], sections: &[Part]) -> Map<String, Value> {
    let known = |list: &[(u16, &str)], number: u16| {
        let found = list.iter().find(|(known, _)| *known == number);
        found.map_or_else(|| format!("0x{number:04x}"), |(_, name)| (*name).to_owned())
    };
    let form = header.form;
    let mut claims = Map::new();
    let mut fact = |name: &str, value: Value| claims.insert(name.to_owned(), value);
    fact("machine", json!(known(&MACHINES, header.machine)));
    fact("class", json!(if form.wide { "64 bits" } else { "32 bits" }));
    fact(
        "byte_order",
        json!(if form.big_endian {
            "big-endian"
        } else {
            "little-endian"
        }),
    );
    fact("type", json!(known(&TYPES, header.kind)));
    fact("entry_point", json!(header.entry));
    let access = |flags: u64| {
        let letters = [(4, 'r'), (2, 'w'), (1, 'x')];
        let letters = letters.into_iter().filter(|(bit, _)| flags & bit != 0);
        letters.map(|(_, letter)| letter).collect::<String>()
    };
    let loaded = programs.iter().filter(|part| part.kind == LOAD);
    let loaded: Vec<_> = loaded
        .map(|part| {
            json!({
                "address": part.virtual_address, "load_addr": part.address, "size": part.size,
                "bytes": part.to.saturating_sub(part.from), "access": access(part.flags),
            })
        })
        .collect();
    fact("memory", loaded.into());
    let named = sections.iter().filter(|part| part.kind != 0).take(MAX_LISTED);
    let named: Vec<_> = named
        .map(|part| json!({"name": part.name, "address": part.address, "size": part.size}))
        .collect();
    fact("sections", named.into());
    claims
}

/// A part that is short enough to look into.
fn read(source: &Source, part: &Part) -> Result<Vec<u8>> {
    let length = part.to.saturating_sub(part.from);
    if length > MAX_READ || part.kind == NO_CONTENT {
        return Ok(Vec::new());
    }
    source.read_exact(part.from, usize::try_from(length).unwrap_or_default())
}

/// The notes of GNU and Go, the compilers' comment, Go's version. Claims, like everything here.
fn built_by(
    source: &Source,
    header: &Header,
    programs: &[Part],
    sections: &[Part],
    claims: &mut Map<String, Value>,
) -> Result<()> {
    let in_programs = programs.iter().filter(|part| part.kind == NOTE);
    let in_sections = sections.iter().filter(|part| part.kind == SECTION_NOTE);
    for part in in_programs.chain(in_sections).take(MAX_NOTES) {
        notes(header.form, &read(source, part)?, claims);
    }
    if let Some(part) = sections.iter().find(|part| part.name == ".comment") {
        let text = read(source, part)?;
        let mut compilers: Vec<String> = text
            .split(|byte| *byte == 0)
            .filter(|text| !text.is_empty() && text.iter().all(|byte| (0x20..0x7f).contains(byte)))
            .map(|text| String::from_utf8_lossy(text).into_owned())
            .take(16)
            .collect();
        compilers.dedup();
        if !compilers.is_empty() {
            claims.insert("compilers".to_owned(), json!(compilers));
        }
    }
    if let Some(part) = sections.iter().find(|part| part.name == ".go.buildinfo") {
        let text = read(source, part)?;
        // Since Go 1.18 the version stands behind the header of 32 bytes, with its length before it.
        let length = text
            .get(32)
            .copied()
            .filter(|length| *length < 0x80)
            .map(usize::from);
        let version = length.and_then(|length| text.get(33..)?.get(..length));
        if text.starts_with(b"\xff Go buildinf:")
            && let Some(version) = version.and_then(|version| std::str::from_utf8(version).ok())
            && version.chars().all(|letter| !letter.is_control())
        {
            claims.insert("go_version".to_owned(), json!(version));
        }
    }
    let length = MODULE_SIGNATURE.len();
    let mut tail = vec![0; length];
    let at = source
        .size()
        .saturating_sub(u64::try_from(length).unwrap_or_default());
    source.read_some(&mut tail, at)?;
    if tail == MODULE_SIGNATURE {
        claims.insert(
            "appended_signature".to_owned(),
            json!("of a kernel module; not verified"),
        );
    }
    Ok(())
}

fn notes(form: Form, data: &[u8], claims: &mut Map<String, Value>) {
    let mut rest = data;
    for _ in 0..MAX_NOTES {
        let lengths = (form.u32(rest, 0), form.u32(rest, 4));
        let kind = form.u32(rest, 8);
        let (Ok(name), Ok(length)) = (usize::try_from(lengths.0), usize::try_from(lengths.1)) else {
            return;
        };
        let Some((name_bytes, behind)) = rest
            .get(12..)
            .and_then(|rest| rest.split_at_checked(name.checked_next_multiple_of(4)?))
        else {
            return;
        };
        let Some(value) = behind.get(..length) else { return };
        match (name_bytes.get(..name), kind) {
            (Some(b"GNU\0"), 3) if length <= 64 => {
                claims.insert("build_id".to_owned(), json!(hex(value)));
            }
            (Some(b"GNU\0"), 1) if length == 16 => {
                let number = |at: usize| form.u32(value, at);
                claims.insert(
                    "lowest_kernel".to_owned(),
                    json!(format!("{}.{}.{}", number(4), number(8), number(12))),
                );
            }
            (Some(b"Go\0\0"), 4) if value.iter().all(u8::is_ascii_graphic) => {
                claims.insert("go_build_id".to_owned(), json!(String::from_utf8_lossy(value)));
            }
            _ => {}
        }
        let next = length
            .checked_next_multiple_of(4)
            .and_then(|length| behind.get(length..));
        let Some(next) = next.filter(|next| !next.is_empty()) else {
            return;
        };
        rest = next;
    }
}
