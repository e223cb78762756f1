//! A CMS signature (RFC 5652) in a file of its own, in DER, BER or PEM.

use serde_json::{Map, Value};

use crate::cms::verify::LARGE;
use crate::cms::{Content, SignedData, claims, verify};
use crate::file::Request;
use crate::pass::{Pass, Ticket};
use crate::signatures::Detached;
use crate::source::Sink;
use crate::trust::Hash;
use crate::verdict::Verdict;

const WHAT: &str = "The CMS signature";

pub struct Cms {
    signed: SignedData,
    digests: Vec<(Hash, Ticket)>,
    /// The whole file where it is small: see `Content`.
    bytes: Option<Ticket>,
}

impl Cms {
    pub fn read(content: &[u8]) -> Result<Self, String> {
        let signed = SignedData::parse(content).map_err(|why| format!("it is no CMS signature: {why}"))?;
        if signed.content.is_some() {
            return Err(
                "it holds content of its own; verify it as a file, or make a detached signature of this one"
                    .to_owned(),
            );
        }
        Ok(Cms {
            signed,
            digests: Vec::new(),
            bytes: None,
        })
    }
}

impl Detached for Cms {
    fn form(&self) -> &'static str {
        "cms"
    }

    fn plan(&mut self, pass: &mut Pass, size: u64) {
        if size <= LARGE {
            self.bytes = Some(pass.feed(0, size, Sink::Keep(Vec::new())));
        }
        let hashes = self.signed.hashes().into_iter();
        self.digests = hashes.map(|hash| (hash, pass.digest(0, size, hash))).collect();
    }

    fn judge(&self, pass: &Pass, request: &Request<'_>) -> Vec<Verdict> {
        let digest = |hash: Hash| {
            let made = self.digests.iter().find(|(made, _)| *made == hash);
            made.map(|(_, ticket)| pass.bytes(*ticket)).unwrap_or_default()
        };
        let content = match self.bytes.and_then(|ticket| pass.state(ticket)) {
            Some(Sink::Keep(bytes)) => Content::Bytes(bytes),
            _ => Content::Large(&digest),
        };
        verify(&self.signed, WHAT, &content, request, &request.moment())
    }

    fn claims(&self) -> Map<String, Value> {
        claims::of(&self.signed)
    }
}
