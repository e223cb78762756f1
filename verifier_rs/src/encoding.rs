//! Base64, strictly: canonical padding, no stray bits, no white space.

use base64::alphabet;
use base64::engine::{DecodePaddingMode, Engine, GeneralPurpose, GeneralPurposeConfig};
use memchr::memchr2;

const STRICT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_allow_trailing_bits(false)
    .with_decode_padding_mode(DecodePaddingMode::RequireCanonical);

pub const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, STRICT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, STRICT);

/// Standard or URL-safe base64, not a mixture; as DSSE requires both to be read.
pub fn either(text: &str) -> Option<Vec<u8>> {
    let engine = if memchr2(b'-', b'_', text.as_bytes()).is_some() {
        &URL_SAFE
    } else {
        &STANDARD
    };
    engine.decode(text).ok()
}
