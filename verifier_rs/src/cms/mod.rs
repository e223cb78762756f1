//! Cryptographic Message Syntax (RFC 5652): signed data, detached and attached, and time stamps (RFC 3161).

pub mod attributes;
pub mod ber;
pub mod claims;
pub mod parse;
pub mod timestamp;
pub mod verify;

pub use parse::{SignedData, looks_like};
pub use verify::{Content, verify};
