//! Lotgate's native verifier: bytes in, facts out.
//!
//! No database, no network, no policy. What may be trusted is an argument ([`trust::Trust`]) and nothing else
//! decides trust. The core knows no Python; `python.rs` is the only file that names PyO3.

#![forbid(unsafe_code)]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions
)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::as_conversions
    )
)]

pub mod batch;
pub mod detached;
pub mod dsse;
pub mod ed25519;
pub mod embedded;
pub mod encoding;
pub mod error;
pub mod file;
pub mod format;
pub mod hasher;
pub mod json;
pub mod judge;
pub mod key;
pub mod lines;
pub mod mcuboot;
pub mod outcome;
pub mod pool;
pub mod signature;
pub mod source;
pub mod time;
pub mod trust;

#[cfg(feature = "python")]
mod python;
