//! Base64, strictly: canonical padding, no stray bits, no white space.

use base64::alphabet;
use base64::engine::{DecodePaddingMode, Engine, GeneralPurpose, GeneralPurposeConfig};
use memchr::memchr2;

use crate::source::Sink;

const STRICT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_allow_trailing_bits(false)
    .with_decode_padding_mode(DecodePaddingMode::RequireCanonical);

pub const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, STRICT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, STRICT);
/// As RFC 7515 §2 has it: URL-safe, without padding.
pub const BARE: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_allow_trailing_bits(false)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone),
);

/// Standard or URL-safe base64, not a mixture; as DSSE requires both to be read.
pub fn either(text: &str) -> Option<Vec<u8>> {
    let engine = if memchr2(b'-', b'_', text.as_bytes()).is_some() {
        &URL_SAFE
    } else {
        &STANDARD
    };
    engine.decode(text).ok()
}

/// Encodes what it is fed without padding, piece by piece, and feeds that to another state.
#[derive(Clone)]
pub struct Base64Url {
    sink: Sink,
    /// Up to two bytes that do not fill a group of three.
    rest: Vec<u8>,
}

impl Base64Url {
    const PIECE: usize = 48 * 1024;

    pub fn of(sink: Sink) -> Self {
        Base64Url {
            sink,
            rest: Vec::new(),
        }
    }

    pub fn update(&mut self, data: &[u8]) {
        let missing = 3_usize.saturating_sub(self.rest.len()) % 3;
        let Some((head, data)) = data.split_at_checked(missing) else {
            self.rest.extend_from_slice(data);
            return;
        };
        self.rest.extend_from_slice(head);
        let group = std::mem::take(&mut self.rest);
        let (whole, rest) = data.as_chunks::<3>();
        self.encode(&group);
        for piece in whole.as_flattened().chunks(Self::PIECE) {
            self.encode(piece);
        }
        self.rest = rest.to_owned();
    }

    /// As of what it feeds, and a little more.
    pub fn cost(&self) -> u8 {
        self.sink.cost().saturating_add(2)
    }

    fn encode(&mut self, bytes: &[u8]) {
        self.sink.update(BARE.encode(bytes).as_bytes());
    }

    /// The state once everything was fed to it.
    pub fn finish(&self) -> Sink {
        let mut all = self.clone();
        let rest = std::mem::take(&mut all.rest);
        all.encode(&rest);
        all.sink
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};

    #[test]
    fn pieces_of_any_length_make_one_text() {
        let data: Vec<u8> = (0..=255).cycle().take(200_000).collect();
        for lengths in [&[1_usize, 2, 4, 5][..], &[3, 70_000, 1], &[200_000], &[7, 0, 2]] {
            let mut state = Base64Url::of(Sink::Sha256(Sha256::new()));
            let mut left = &data[..];
            for length in lengths.iter().cycle() {
                let (piece, rest) = left.split_at(left.len().min(*length));
                state.update(piece);
                left = rest;
                if left.is_empty() {
                    break;
                }
            }
            let whole = Sha256::digest(BARE.encode(&data));
            assert_eq!(state.finish().digest(), whole.to_vec(), "{lengths:?}");
        }
    }
}
