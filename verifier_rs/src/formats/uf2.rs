//! UF2 (Microsoft, USB Flashing Format): blocks of 512 bytes, each with the place of its content.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::error::Result;
use crate::formats::addresses::Collector;
use crate::formats::loaded::Loaded;
use crate::formats::{Format, Parsed};
use crate::source::Source;

pub const MAGIC: [u8; 8] = *b"UF2\n\x57\x51\x5d\x9e";
const LAST_MAGIC: [u8; 4] = 0x0ab1_6f30_u32.to_le_bytes();
const BLOCK: usize = 512;
const BLOCK_U64: u64 = 512;
const MAX_CONTENT: u32 = 476;
/// Blocks that are read at once.
const READ: usize = 128;
const MAX_FAMILIES: usize = 16;

const NOT_MAIN_FLASH: u32 = 0x0000_0001;
const FILE: u32 = 0x0000_1000;
const FAMILY: u32 = 0x0000_2000;
const MD5: u32 = 0x0000_4000;
const TAGS: u32 = 0x0000_8000;

/// Of the list that microsoft/uf2 keeps, those in power and embedded products.
const FAMILIES: [(u32, &str); 14] = [
    (0xe48b_ff56, "RP2040"),
    (0xe48b_ff57, "RP2XXX absolute"),
    (0xe48b_ff58, "RP2XXX data"),
    (0xe48b_ff59, "RP2350 Arm secure"),
    (0xe48b_ff5a, "RP2350 RISC-V"),
    (0xe48b_ff5b, "RP2350 Arm non-secure"),
    (0xada5_2840, "nRF52840"),
    (0x68ed_2b88, "SAMD21"),
    (0x5511_4460, "SAMD51"),
    (0x5775_5a57, "STM32F4"),
    (0x6b84_6188, "STM32F7"),
    (0x1c5f_21b0, "ESP32"),
    (0xc47e_5767, "ESP32-S3"),
    (0xbfdd_4eee, "ESP32-S2"),
];

/// One block as it stands in the file.
struct Block<'a> {
    flags: u32,
    address: u32,
    number: u32,
    count: u32,
    family: u32,
    content: &'a [u8],
}

fn block(bytes: &[u8]) -> std::result::Result<Block<'_>, String> {
    let number = |place: usize| {
        let end = place.saturating_add(4);
        let word = bytes.get(place..end).and_then(|word| word.first_chunk::<4>());
        word.map_or(0, |word| u32::from_le_bytes(*word))
    };
    if !bytes.starts_with(&MAGIC) || !bytes.ends_with(&LAST_MAGIC) {
        return Err("its three magic numbers are not those of UF2".to_owned());
    }
    let length = number(16);
    if length > MAX_CONTENT {
        return Err(format!(
            "it announces {length} bytes of content, at most {MAX_CONTENT} fit"
        ));
    }
    let end = usize::try_from(length).unwrap_or(BLOCK).saturating_add(32);
    Ok(Block {
        flags: number(8),
        address: number(12),
        number: number(20),
        count: number(24),
        family: number(28),
        content: bytes.get(32..end).unwrap_or_default(),
    })
}

/// What the blocks of one family say together.
struct Family {
    id: Option<u32>,
    count: u32,
    blocks: u32,
    bytes: u64,
}

pub fn parse(source: &Source) -> Result<Parsed> {
    let size = source.size();
    if !size.is_multiple_of(BLOCK_U64) {
        return Ok(Err(format!(
            "a UF2 file is made of blocks of {BLOCK} bytes, this one has {size} bytes"
        )));
    }
    let mut families: BTreeMap<Option<u32>, Family> = BTreeMap::new();
    let mut collector = Collector::default();
    let mut wrong = None;
    each_block(source, 0, &mut |at, bytes| {
        let read = block(bytes).and_then(|block| one(&block, at, &mut families, &mut collector));
        wrong = read.err().map(|why| format!("block at offset {at}: {why}"));
        wrong.is_none()
    })?;
    if let Some(why) = wrong {
        return Ok(Err(why));
    }
    for family in families.values() {
        if family.blocks != family.count {
            return Ok(Err(format!(
                "{} announces {} blocks, the file has {} of them",
                named(family.id),
                family.count,
                family.blocks
            )));
        }
    }
    let table: Vec<Value> = families
        .values()
        .map(|family| json!({"family": named(family.id), "blocks": family.blocks, "bytes": family.bytes}))
        .collect();
    let mut claims = Map::new();
    claims.insert("families".to_owned(), table.into());
    Ok(Loaded::parsed(Format::Uf2, collector, walk, claims))
}

fn named(id: Option<u32>) -> String {
    match id {
        None => "no family".to_owned(),
        Some(id) => match FAMILIES.iter().find(|(known, _)| *known == id) {
            Some((_, name)) => format!("{name} (0x{id:08x})"),
            None => format!("family 0x{id:08x}"),
        },
    }
}

/// One block beside those before it.
fn one(
    block: &Block<'_>,
    at: u64,
    families: &mut BTreeMap<Option<u32>, Family>,
    collector: &mut Collector,
) -> std::result::Result<(), String> {
    for (flag, what) in [
        (NOT_MAIN_FLASH, "is not for the main flash"),
        (FILE, "belongs to a file and not to an address"),
        (MD5, "carries an MD5 sum of flash content"),
        (TAGS, "carries extension tags"),
    ] {
        if block.flags & flag != 0 {
            return Err(format!("it {what}, which is not supported"));
        }
    }
    let id = (block.flags & FAMILY != 0).then_some(block.family);
    if families.len() >= MAX_FAMILIES && !families.contains_key(&id) {
        return Err(format!("more than {MAX_FAMILIES} families"));
    }
    let family = families.entry(id).or_insert(Family {
        id,
        count: block.count,
        blocks: 0,
        bytes: 0,
    });
    if block.count != family.count {
        return Err(format!(
            "it says that there are {} blocks, those before said {}",
            block.count, family.count
        ));
    }
    if block.number != family.blocks {
        return Err(format!(
            "it is number {}, expected was number {}",
            block.number, family.blocks
        ));
    }
    let length = u64::try_from(block.content.len()).unwrap_or(u64::MAX);
    let address = u64::from(block.address);
    if address.saturating_add(length) > 1 << 32 {
        return Err(format!(
            "{length} bytes at address 0x{address:08x} run over the end of 4 GiB"
        ));
    }
    family.blocks = family.blocks.saturating_add(1);
    family.bytes = family.bytes.saturating_add(length);
    collector.add(address, length, at)
}

/// Calls back with the place and the bytes of each block, until it gets `false`.
fn each_block(source: &Source, from: u64, each: &mut dyn FnMut(u64, &[u8]) -> bool) -> Result<()> {
    let mut at = from;
    let mut blocks = 1;
    while at < source.size() {
        let left = usize::try_from(source.size().saturating_sub(at)).unwrap_or(usize::MAX);
        let length = left.min(BLOCK.saturating_mul(blocks));
        for bytes in source.read_exact(at, length)?.chunks(BLOCK) {
            if !each(at, bytes) {
                return Ok(());
            }
            at = at.saturating_add(BLOCK_U64);
        }
        // Little at first: who comes back for one block does not want the whole file.
        blocks = blocks.saturating_mul(4).min(READ);
    }
    Ok(())
}

/// The content of each block from `at` on, of a file that was read before.
fn walk(source: &Source, at: u64, each: &mut dyn FnMut(&[u8]) -> bool) -> Result<()> {
    each_block(source, at, &mut |_, bytes| {
        block(bytes).is_ok_and(|block| each(block.content))
    })
}
