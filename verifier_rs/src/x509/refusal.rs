//! Why a certificate does not count: a reason for programs, words for people.

/// In the order of how far a chain came: of several refusals the last one says most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// No approved root and no certificate at hand issued it.
    UnknownIssuer,
    /// A certificate with the issuer's name did not make the signature.
    BadSignature,
    /// The certificate cannot be read as what it has to be.
    Malformed,
    /// Too many certificates or signatures on the way.
    TooComplex,
    /// SHA-1, MD5, a key that is too short, or an algorithm that is not supported.
    Algorithm,
    /// An extension that must be understood and is not.
    UnknownExtension,
    /// A certificate authority's certificate that is not one, or a signer's that is.
    Authority,
    PathLength,
    NameConstraint,
    KeyUsage,
    /// The extended key usage is not one of those that the root is trusted for.
    Usage,
    NotYetValid,
    /// Already over at the time that counts.
    Expired,
    RevocationUnknown,
    Revoked,
    /// The chain is good, but the trust file does not let its root speak for this.
    NotApproved,
}

impl Reason {
    pub fn name(self) -> &'static str {
        match self {
            Reason::UnknownIssuer => "unknown_issuer",
            Reason::BadSignature => "bad_signature",
            Reason::Malformed => "malformed",
            Reason::TooComplex => "too_complex",
            Reason::Algorithm => "algorithm",
            Reason::UnknownExtension => "unknown_extension",
            Reason::Authority => "authority",
            Reason::PathLength => "path_length",
            Reason::NameConstraint => "name_constraint",
            Reason::KeyUsage => "key_usage",
            Reason::Usage => "usage",
            Reason::NotYetValid => "not_yet_valid",
            Reason::Expired => "expired",
            Reason::RevocationUnknown => "revocation_unknown",
            Reason::Revoked => "revoked",
            Reason::NotApproved => "not_approved",
        }
    }
}

/// A reason and its words: a clause that begins small and ends without a full stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub reason: Reason,
    pub words: String,
}

impl Refusal {
    pub fn new(reason: Reason, words: impl Into<String>) -> Self {
        Refusal {
            reason,
            words: words.into(),
        }
    }
}
