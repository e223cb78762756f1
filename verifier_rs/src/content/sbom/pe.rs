//! The `.sbom` section of a PE executable (UEFI), which holds coSWID.

use crate::content::anchors::Kind;
use crate::content::sbom::{Document, MAX_DOCUMENT, Read, coswid};
use crate::content::scan::Scan;
use crate::error::Result;
use crate::source::Source;

/// A section header stands at most so far behind the signature `PE\0\0`: 96 sections of 40 bytes and the headers.
const MAX_HEADERS: u64 = 8192;
/// So far before its signature an executable begins, at most.
const MAX_STUB: u64 = 4096;

/// `offset` is that of the section's name in its header.
pub fn read(source: &Source, offset: u64, scan: &Scan) -> Result<Read> {
    let Some(base) = base(source, offset, scan)? else {
        return Ok(None);
    };
    let mut header = [0_u8; 40];
    if source.read_some(&mut header, offset)? != 40 {
        return Ok(None);
    }
    let number = |at: usize| {
        let field = header.get(at..)?.first_chunk::<4>()?;
        Some(u32::from_le_bytes(*field))
    };
    let (Some(used), Some(size), Some(start)) = (number(8), number(16), number(20)) else {
        return Ok(None);
    };
    // The section is filled up to whole blocks; what is used of it stands beside.
    let size = if used == 0 { size } else { size.min(used) };
    let from = base.saturating_add(u64::from(start));
    let to = from.saturating_add(u64::from(size));
    if size == 0 || to > source.size() {
        return Ok(None);
    }
    let Some(length) = usize::try_from(size)
        .ok()
        .filter(|length| *length <= MAX_DOCUMENT)
    else {
        let why = format!("expected at most {MAX_DOCUMENT} bytes, found {size}");
        return Ok(Some((from, to, Err(why))));
    };
    let document = coswid::read(&source.read_exact(from, length)?).map(|components| Document {
        form: "coSWID in a PE section".to_owned(),
        components,
    });
    Ok(Some((from, to, document)))
}

/// Where the executable begins: the nearest `MZ` whose header leads to a signature before the section header.
fn base(source: &Source, offset: u64, scan: &Scan) -> Result<Option<u64>> {
    let near = |at: u64| at < offset && offset.saturating_sub(at) < MAX_HEADERS;
    let signatures = scan
        .places
        .iter()
        .rev()
        .filter(|place| matches!(place.kind, Kind::Magic(_)) && near(place.offset));
    for signature in signatures.take(16) {
        let first = signature.offset.saturating_sub(MAX_STUB);
        let mut window = vec![0; usize::try_from(signature.offset.saturating_sub(first)).unwrap_or(0)];
        let got = source.read_some(&mut window, first)?;
        let window = window.get(..got).unwrap_or_default();
        for at in memchr::memmem::rfind_iter(window, b"MZ") {
            let field = at
                .checked_add(0x3c)
                .and_then(|at| window.get(at..)?.first_chunk::<4>());
            let start = first.saturating_add(u64::try_from(at).unwrap_or(0));
            let leads = |field: &[u8; 4]| start.saturating_add(u64::from(u32::from_le_bytes(*field)));
            if field.map(leads) == Some(signature.offset) {
                return Ok(Some(start));
            }
        }
    }
    Ok(None)
}
