//! ASCII armour (RFC 9580 §6): one block and nothing around it.

use base64::Engine;

use crate::encoding;

/// Whether a text begins with armour of any kind.
pub fn detect(content: &[u8]) -> bool {
    content.trim_ascii_start().starts_with(b"-----BEGIN PGP ")
}

/// The bytes in a block of this label ("SIGNATURE"). The checksum must be right where there is one.
pub fn decode(content: &[u8], label: &str) -> Result<Vec<u8>, String> {
    let text = std::str::from_utf8(content).map_err(|_| "the armour is no text")?;
    let begin = format!("-----BEGIN PGP {label}-----");
    let end = format!("-----END PGP {label}-----");
    let mut lines = text.trim().lines().map(str::trim_end);
    let first = lines.next().unwrap_or_default();
    if first != begin {
        return Err(format!(
            "expected '{begin}', found {:?}",
            first.chars().take(60).collect::<String>()
        ));
    }
    for line in lines.by_ref() {
        if line.is_empty() {
            break;
        }
        if !line.contains(": ") {
            return Err("expected an empty line between the armour's headers and its base64".to_owned());
        }
    }
    let mut encoded = String::new();
    let mut checksum = None;
    for line in lines.by_ref() {
        if line == end {
            break;
        }
        match (line.strip_prefix('='), checksum) {
            (Some(sum), None) if sum.len() == 4 => checksum = Some(sum),
            (None, None) => encoded.push_str(line),
            _ => return Err("expected the end of the armour after its checksum, found more".to_owned()),
        }
    }
    if !text.trim().ends_with(&end) || lines.next().is_some() {
        return Err(format!("expected nothing after one '{end}'"));
    }
    let bytes = encoding::STANDARD
        .decode(&encoded)
        .map_err(|error| format!("the base64 of the armour cannot be decoded ({error})"))?;
    if let Some(sum) = checksum {
        let expected = encoding::STANDARD.encode(crc24(&bytes));
        if sum != expected {
            return Err(format!(
                "the checksum of the armour is {sum}, its content gives {expected}"
            ));
        }
    }
    Ok(bytes)
}

/// RFC 9580 §6.1.
fn crc24(bytes: &[u8]) -> [u8; 3] {
    let mut crc: u32 = 0x00b7_04ce;
    for byte in bytes {
        crc ^= u32::from(*byte) << 16;
        for _ in 0..8 {
            crc <<= 1;
            if crc & 0x0100_0000 != 0 {
                crc ^= 0x0186_4cfb;
            }
        }
    }
    let [_, sum @ ..] = crc.to_be_bytes();
    sum
}
