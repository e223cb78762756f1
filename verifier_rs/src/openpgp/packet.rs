//! Packets (RFC 9580 §4): tag, length, body; and the numbers in them.

use crate::wire::Wire;

/// In one certificate or signature file.
const MAX_PACKETS: usize = 512;

pub const SIGNATURE: u8 = 2;
pub const PUBLIC_KEY: u8 = 6;
pub const PUBLIC_SUBKEY: u8 = 14;
pub const USER_ID: u8 = 13;
pub const USER_ATTRIBUTE: u8 = 17;
const MARKER: u8 = 10;
const TRUST: u8 = 12;
const PADDING: u8 = 21;

pub struct Packet<'a> {
    pub tag: u8,
    pub body: &'a [u8],
}

/// All packets in order; those that say nothing (RFC 9580 §5.8, §5.10, §5.14) are left out.
pub fn packets(bytes: &[u8]) -> Result<Vec<Packet<'_>>, String> {
    let mut wire = Wire::new(bytes);
    let mut found = Vec::new();
    while !wire.is_empty() {
        if found.len() == MAX_PACKETS {
            return Err(format!(
                "expected at most {MAX_PACKETS} OpenPGP packets, found more"
            ));
        }
        let packet = packet(&mut wire)?;
        if !matches!(packet.tag, MARKER | TRUST | PADDING) {
            found.push(packet);
        }
    }
    Ok(found)
}

fn packet<'a>(wire: &mut Wire<'a>) -> Result<Packet<'a>, String> {
    let at = wire.at();
    let head = wire.u8("an OpenPGP packet")?;
    if head & 0x80 == 0 {
        return Err(format!(
            "expected an OpenPGP packet at byte {at}, found 0x{head:02x}"
        ));
    }
    let (tag, length) = if head & 0x40 != 0 {
        (head & 0x3f, length(wire, "the length of a packet")?)
    } else {
        let length = match head & 3 {
            0 => u32::from(wire.u8("the length of a packet")?),
            1 => u32::from(wire.u16("the length of a packet")?),
            2 => wire.u32("the length of a packet")?,
            _ => {
                return Err(format!(
                    "the packet at byte {at} has no length, which only data may have"
                ));
            }
        };
        (head >> 2 & 0x0f, length)
    };
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    Ok(Packet {
        tag,
        body: wire.take(length, "the body of an OpenPGP packet")?,
    })
}

/// RFC 9580 §4.2.1, and §5.2.3.7 for subpackets: one, two or five bytes.
pub fn length(wire: &mut Wire<'_>, what: &str) -> Result<u32, String> {
    let first = u32::from(wire.u8(what)?);
    match first {
        0..192 => Ok(first),
        192..224 => {
            let second = u32::from(wire.u8(what)?);
            Ok((first.saturating_sub(192) << 8)
                .saturating_add(second)
                .saturating_add(192))
        }
        255 => wire.u32(what),
        _ => Err(format!(
            "{what} at byte {} is partial, which only data may have",
            wire.at()
        )),
    }
}

/// A number (RFC 9580 §3.2): its bits, and as many bytes as they need.
pub fn number<'a>(wire: &mut Wire<'a>, what: &str) -> Result<&'a [u8], String> {
    let bits = wire.u16(what)?;
    let bytes = wire.take(usize::from(bits.div_ceil(8)), what)?;
    let leading = bytes.first().map_or(0, |first| first.leading_zeros());
    let expected = u32::from(bits)
        .next_multiple_of(8)
        .saturating_sub(u32::from(bits));
    if leading == expected {
        Ok(bytes)
    } else {
        Err(format!("{what} is not as long as it says ({bits} bits)"))
    }
}
