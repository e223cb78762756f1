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

pub mod beside;
pub mod cache;
pub mod cbor;
pub mod cms;
pub mod confined;
pub mod content;
pub mod digest;
pub mod encoding;
pub mod error;
pub mod file;
pub mod formats;
pub mod hasher;
pub mod json;
pub mod keys;
pub mod lines;
pub mod openpgp;
pub mod outcome;
pub mod pass;
pub mod pool;
pub mod protobuf;
pub mod report;
pub mod signatures;
pub mod source;
pub mod statements;
pub mod time;
pub mod trust;
pub mod verdict;
pub mod wire;
pub mod x509;

#[cfg(feature = "python")]
mod python;
