//! uSWID: a header with a magic, then coSWID, CycloneDX or SPDX, possibly compressed.
//!
//! Header versions 1 to 4 as the uswid package and fwupd write and read them: magic (16), version (1), header
//! size (2), payload size (4), from version 2 flags (1), from 3 compression (1), from 4 payload format (1); all
//! little-endian.

use std::io::Read as _;

use crate::content::sbom::{Document, MAX_DOCUMENT, Read, coswid, documents};
use crate::error::Result;
use crate::source::Source;

pub const MAGIC: &[u8] = b"\x53\x42\x4f\x4d\xd6\xba\x2e\xac\xa3\xe6\x7a\x52\xaa\xee\x3b\xaf";
/// No known header is longer; room is left for those to come.
const MAX_HEADER: u16 = 256;
/// Memory of the LZMA decoder, in KiB: the dictionary of `xz -9` has 64 MiB.
const LZMA_MEMORY: u32 = 66 * 1024;

struct Header {
    size: u64,
    payload: u64,
    compression: u8,
    format: u8,
}

pub fn read(source: &Source, offset: u64) -> Result<Read> {
    let mut head = [0_u8; 26];
    let got = source.read_some(&mut head, offset)?;
    // Only the magic: the tools that look for it carry it.
    let Some(fields) = head
        .get(..got)
        .and_then(|head| head.get(16..))
        .filter(|fields| fields.len() == 10)
    else {
        return Ok(None);
    };
    let header = match header(fields) {
        Ok(header) => header,
        Err(why) => return Ok(Some((offset, offset.saturating_add(26), Err(why)))),
    };
    let from = offset.saturating_add(header.size);
    let end = from.saturating_add(header.payload);
    if end > source.size() {
        let there = source.size().saturating_sub(from);
        let why = format!(
            "expected {} bytes after the header, found {there}",
            header.payload
        );
        return Ok(Some((offset, source.size(), Err(why))));
    }
    let Some(length) = usize::try_from(header.payload)
        .ok()
        .filter(|length| *length <= MAX_DOCUMENT)
    else {
        let why = format!("expected at most {MAX_DOCUMENT} bytes, found {}", header.payload);
        return Ok(Some((offset, end, Err(why))));
    };
    let payload = source.read_exact(from, length)?;
    Ok(Some((offset, end, document(&header, &payload))))
}

fn header(fields: &[u8]) -> std::result::Result<Header, String> {
    let [version, low, high, a, b, c, d, flags, compression, format] = *fields else {
        return Err("its header is cut off".to_owned());
    };
    let size = u16::from_le_bytes([low, high]);
    let least = match version {
        1 => 23,
        2 => 24,
        3 => 25,
        4 => 26,
        _ => {
            return Err(format!(
                "expected a uSWID header of version 1 to 4, found version {version}"
            ));
        }
    };
    if !(least..=MAX_HEADER).contains(&size) {
        return Err(format!(
            "expected a header of {least} to {MAX_HEADER} bytes, found {size}"
        ));
    }
    Ok(Header {
        size: u64::from(size),
        payload: u64::from(u32::from_le_bytes([a, b, c, d])),
        compression: match version {
            1 => 0,
            2 => flags & 1,
            _ => compression,
        },
        format: if version >= 4 { format } else { 0 },
    })
}

fn document(header: &Header, payload: &[u8]) -> std::result::Result<Document, String> {
    let plain = match header.compression {
        0 => payload.to_vec(),
        1 => unpacked(flate2::read::ZlibDecoder::new(payload))?,
        2 => unpacked(lzma_rust2::XzReader::new_mem_limit(payload, false, LZMA_MEMORY))?,
        other => return Err(format!("expected compression 0, 1 or 2, found {other}")),
    };
    match header.format {
        0 => Ok(Document {
            form: "uSWID (coSWID)".to_owned(),
            components: coswid::read(&plain)?,
        }),
        1 | 2 => {
            let mut document = documents::read(&plain)?;
            document.form = format!("uSWID ({})", document.form);
            Ok(document)
        }
        other => Err(format!("expected payload format 0, 1 or 2, found {other}")),
    }
}

fn unpacked(reader: impl std::io::Read) -> std::result::Result<Vec<u8>, String> {
    let limit = u64::try_from(MAX_DOCUMENT).unwrap_or(0);
    let mut plain = Vec::new();
    reader
        .take(limit.saturating_add(1))
        .read_to_end(&mut plain)
        .map_err(|error| format!("it cannot be unpacked: {error}"))?;
    if plain.len() > MAX_DOCUMENT {
        return Err(format!("it unpacks to more than {MAX_DOCUMENT} bytes"));
    }
    Ok(plain)
}
