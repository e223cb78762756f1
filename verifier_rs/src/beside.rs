//! What came along with a file besides its signature: certificates of signers, and a time stamp over the file or over
//! its signature.

use crate::cms::timestamp::{self, Token};
use crate::file::Request;
use crate::keys::method::digest_of;
use crate::outcome::{Finding, Outcome};
use crate::pass::{Pass, Ticket};
use crate::verdict::Moment;
use crate::x509::{Certificate, pem};

/// What is known besides the file when its signatures are judged.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    /// Candidates for chains, the signer's first.
    pub certificates: &'a [Certificate],
    /// The time that counts, where a time stamp proves an earlier one than that of receipt.
    pub moment: Option<&'a Moment>,
}

pub struct Beside {
    pub certificates: Vec<Certificate>,
    token: Option<Result<Token, String>>,
    digest: Option<Ticket>,
    /// Of things that cannot be read.
    pub findings: Vec<(&'static str, Finding)>,
}

/// The times that a time stamp proves.
#[derive(Default)]
pub struct Stamped {
    /// For what the file says of itself, and for signatures inside it.
    pub file: Option<Moment>,
    /// For signatures in the signature file.
    pub signature: Option<Moment>,
    pub finding: Option<Finding>,
}

impl Beside {
    pub fn read(request: &Request<'_>) -> Self {
        let mut findings = Vec::new();
        let certificates = match request.certificates.map(certificates) {
            Some(Err(why)) => {
                let words = format!("The certificates that came along cannot be read: {why}.");
                findings.push(("certificates", Finding::new(Outcome::Unreadable, words)));
                Vec::new()
            }
            Some(Ok(certificates)) => certificates,
            None => Vec::new(),
        };
        Beside {
            certificates,
            token: request.timestamp.map(Token::parse),
            digest: None,
            findings,
        }
    }

    pub fn plan(&mut self, pass: &mut Pass, size: u64) {
        if let Some(Ok(token)) = &self.token {
            self.digest = Some(pass.digest(0, size, token.hash));
        }
    }

    /// Whether the stamp counts, and for what.
    pub fn judge(&self, pass: &Pass, request: &Request<'_>) -> Stamped {
        let token = match &self.token {
            None => return Stamped::default(),
            Some(Err(why)) => {
                let words = format!("The time stamp cannot be read: {why}.");
                return Stamped {
                    finding: Some(Finding::new(Outcome::Unreadable, words)),
                    ..Stamped::default()
                };
            }
            Some(Ok(token)) => token,
        };
        let over_file = self.digest.is_some_and(|ticket| token.over(&pass.bytes(ticket)));
        let over_signature = request
            .signature
            .is_some_and(|bytes| token.over(&digest_of(token.hash, &[bytes])));
        let what = match (over_file, over_signature) {
            (true, _) => "over the file",
            (_, true) => "over the signature file",
            _ => {
                let words =
                    "The time stamp is over something else, neither over this file nor over its signature.";
                return Stamped {
                    finding: Some(Finding::new(Outcome::Fail, words)),
                    ..Stamped::default()
                };
            }
        };
        let (moment, finding) = timestamp::finding(token, what, request);
        // A stamp from before the time of receipt proves more than the receipt does; a later one proves nothing new.
        let moment = moment.filter(|moment| moment.at < request.at);
        Stamped {
            file: moment.clone().filter(|_| over_file),
            signature: moment.filter(|_| over_signature),
            finding: Some(finding),
        }
    }
}

fn certificates(bytes: &[u8]) -> Result<Vec<Certificate>, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "expected PEM, found other bytes".to_owned())?;
    pem::certificates(text)
}
