//! minisign: a signature over the file, and one over that signature and the trusted comment.

use blake2::{Blake2b512, Digest};
use serde_json::{Map, Value, json};

use crate::file::Request;
use crate::keys::ed25519;
use crate::keys::method::verify_message;
use crate::keys::minisign::{COMMENT, name};
use crate::pass::{Pass, Ticket};
use crate::signatures::comment::{MAX_FILE, Numbered, after, base64, line};
use crate::signatures::named::{OTHER_BYTES, Tried, candidates, shown, verdict};
use crate::signatures::streams::Streams;
use crate::signatures::{Detached, comment};
use crate::source::Sink;
use crate::trust::{Trust, TrustKey};
use crate::verdict::Verdict;

const TRUSTED: &str = "trusted comment:";

/// A comment as signify's file has it too, and a third line with one that is signed.
pub fn detect(content: &[u8]) -> bool {
    let third = content.split(|byte| *byte == b'\n').nth(2);
    comment::detect(content) && third.is_some_and(|line| line.starts_with(TRUSTED.as_bytes()))
}

/// The four lines of a signature file.
pub struct Lines {
    untrusted: Vec<u8>,
    trusted: Vec<u8>,
    signature: Numbered,
    /// Over the signature and the trusted comment.
    global: [u8; 64],
}

impl Lines {
    pub fn parse(content: &[u8]) -> Result<Self, String> {
        if content.len() > MAX_FILE {
            return Err(format!(
                "it has {} bytes, expected at most {MAX_FILE}",
                content.len()
            ));
        }
        let (first, rest) = line(content, "an untrusted comment")?;
        let (second, rest) = line(rest, "a signature in line 2")?;
        let (third, rest) = line(rest, "a trusted comment in line 3")?;
        let (fourth, rest) = line(rest, "a signature in line 4")?;
        if !rest.trim_ascii().is_empty() {
            return Err("expected four lines, found more".to_owned());
        }
        let signature = Numbered::parse(second)?;
        if !matches!(&signature.algorithm, b"Ed" | b"ED") {
            return Err(format!(
                "expected algorithm ED (BLAKE2b-512) or Ed, found {:?}",
                shown(&signature.algorithm)
            ));
        }
        let global = base64(fourth, "line 4")?;
        Ok(Lines {
            untrusted: after(first, COMMENT)?.to_owned(),
            trusted: after(third, TRUSTED)?.to_owned(),
            signature,
            global: global
                .as_slice()
                .try_into()
                .map_err(|_| format!("line 4 should hold 64 bytes, found {}", global.len()))?,
        })
    }

    fn prehashed(&self) -> bool {
        &self.signature.algorithm == b"ED"
    }

    fn rule(&self) -> String {
        let signed = if self.prehashed() {
            "BLAKE2b-512 of the file"
        } else {
            "the file itself (legacy)"
        };
        format!(
            "minisign: Ed25519 over {signed} and over the trusted comment ({})",
            ed25519::RULE
        )
    }
}

/// A signature file and what each key that it could be by needs of the file.
pub struct Minisign {
    lines: Lines,
    digest: Option<Ticket>,
    streams: Streams,
}

impl Minisign {
    pub fn new(lines: Lines, trust: &Trust) -> Self {
        let signature = &lines.signature;
        let streams = if lines.prehashed() {
            Streams::default()
        } else {
            let keys = candidates(&trust.keys, |key| signature.could_be_by(key));
            Streams::begin(keys, &signature.signature)
        };
        Minisign {
            lines,
            digest: None,
            streams,
        }
    }

    fn over_file(&self, pass: &Pass, place: usize, key: &TrustKey) -> bool {
        match self.digest {
            Some(digest) => {
                let digest = pass.bytes(digest);
                verify_message(&key.key, &key.method, &[&digest], &self.lines.signature.signature)
            }
            None => self.streams.hold(pass, place, key),
        }
    }

    fn held(&self, pass: &Pass, place: usize, key: &TrustKey) -> Result<(), String> {
        let lines = &self.lines;
        if !self.over_file(pass, place, key) {
            return Err(OTHER_BYTES.to_owned());
        }
        let commented = [lines.signature.signature.as_slice(), &lines.trusted];
        if !verify_message(&key.key, &key.method, &commented, &lines.global) {
            return Err("the trusted comment was changed; the signature over the file holds".to_owned());
        }
        Ok(())
    }
}

impl Detached for Minisign {
    fn form(&self) -> &'static str {
        "minisign"
    }

    fn plan(&mut self, pass: &mut Pass, size: u64) {
        if self.lines.prehashed() {
            self.digest = Some(pass.feed(0, size, Sink::Blake2b(Blake2b512::new())));
        }
        self.streams.plan(pass, size);
    }

    fn judge(&self, pass: &Pass, request: &Request<'_>) -> Vec<Verdict> {
        let signature = &self.lines.signature;
        let tried: Vec<Tried> = candidates(&request.trust.keys, |key| signature.could_be_by(key))
            .map(|(place, key)| (place, self.held(pass, place, key)))
            .collect();
        let by = format!("minisign key {}", name(signature.number));
        vec![verdict(
            request,
            "The minisign signature",
            &by,
            &self.lines.rule(),
            &tried,
        )]
    }

    fn claims(&self) -> Map<String, Value> {
        let lines = &self.lines;
        Map::from_iter([
            ("key_number".to_owned(), json!(name(lines.signature.number))),
            ("prehashed".to_owned(), json!(lines.prehashed())),
            ("trusted_comment".to_owned(), json!(shown(&lines.trusted))),
            ("untrusted_comment".to_owned(), json!(shown(&lines.untrusted))),
        ])
    }
}
