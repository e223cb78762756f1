//! Signed statements: who signed what about which bytes.

pub mod batch;
pub mod dsse;
