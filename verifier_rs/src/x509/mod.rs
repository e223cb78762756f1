//! X.509 certificates (RFC 5280): read strictly, and followed to a root that somebody approved.

pub mod certificate;
pub mod constraints;
pub mod crl;
pub mod extension;
pub mod name;
pub mod path;
pub mod pem;
pub mod refusal;
pub mod scheme;
pub mod tlv;

pub use certificate::Certificate;
pub use path::{Path, check};
pub use refusal::{Reason, Refusal};
