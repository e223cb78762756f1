//! Parsing and verifying in child processes that can reach nothing: an attacker's file is given to one of them as an
//! open descriptor, and what comes back is a report or, if the file broke the child, the way in which it did.
//!
//! `pool` keeps the children warm, `worker` is one of them as its parent sees it, `child` is what runs inside,
//! `sandbox` and `limits` are what it gives up first, `wire` is how the two talk, `fault` is how a child can end, and
//! `work` (files, images) and `batch` (attestations) are what children are asked to do.

pub mod batch;
pub mod child;
pub mod fault;
pub mod limits;
pub mod pool;
pub mod sandbox;
pub mod wire;
pub mod work;
pub mod worker;

pub use fault::Fault;
pub use limits::{Confinement, Limits};
pub use pool::{Children, Task};
pub use worker::{Program, Setup};
