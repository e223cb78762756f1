//! signify: a signature over the file, or over a list of checksums that is in the signature file and names the file.

use serde_json::{Map, Value, json};

use crate::file::Request;
use crate::keys::ed25519;
use crate::keys::method::verify_message;
use crate::keys::minisign::{COMMENT, name};
use crate::pass::{Pass, Ticket};
use crate::signatures::comment::{MAX_FILE, Numbered, after, line};
use crate::signatures::named::{OTHER_BYTES, Tried, candidates, shown, verdict};
use crate::signatures::streams::Streams;
use crate::signatures::{Detached, comment};
use crate::source::hex;
use crate::trust::{Hash, Trust, TrustKey};
use crate::verdict::Verdict;

/// A minisign file without its last two lines is one too: what is left of it is made alike.
pub fn detect(content: &[u8]) -> bool {
    comment::detect(content)
}

/// A signature file: two lines, and behind them the message where it is embedded.
pub struct Lines {
    untrusted: Vec<u8>,
    signature: Numbered,
    /// Signed together with what it lists; `None` where the signature is over the file itself.
    list: Option<Vec<u8>>,
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
        let signature = Numbered::parse(second)?;
        if &signature.algorithm != b"Ed" {
            return Err(format!(
                "expected algorithm Ed, found {:?}",
                shown(&signature.algorithm)
            ));
        }
        Ok(Lines {
            untrusted: after(first, COMMENT)?.to_owned(),
            signature,
            list: (!rest.is_empty()).then(|| rest.to_owned()),
        })
    }

    /// Whether a line of the list, as `sha256` of OpenBSD writes it, gives this digest.
    fn lists(&self, hash: &str, digest: &[u8]) -> bool {
        let digest = hex(digest);
        let list = self.list.as_deref().unwrap_or_default();
        list.split(|byte| *byte == b'\n')
            .filter_map(|line| std::str::from_utf8(line).ok())
            .filter_map(|line| line.strip_prefix(hash)?.strip_prefix(" (")?.rsplit_once(") = "))
            .any(|(_, listed)| listed.trim_end() == digest)
    }
}

/// A signature file and what each key that it could be by needs of the file.
pub struct Signify {
    lines: Lines,
    streams: Streams,
    digests: Vec<(&'static str, Ticket)>,
}

impl Signify {
    pub fn new(lines: Lines, trust: &Trust) -> Self {
        let signature = &lines.signature;
        let streams = if lines.list.is_some() {
            Streams::default()
        } else {
            let keys = candidates(&trust.keys, |key| signature.could_be_by(key));
            Streams::begin(keys, &signature.signature)
        };
        Signify {
            lines,
            streams,
            digests: Vec::new(),
        }
    }

    fn held(&self, pass: &Pass, place: usize, key: &TrustKey) -> Result<(), String> {
        let Some(list) = &self.lines.list else {
            let over_file = self.streams.hold(pass, place, key);
            return if over_file {
                Ok(())
            } else {
                Err(OTHER_BYTES.to_owned())
            };
        };
        if !verify_message(&key.key, &key.method, &[list], &self.lines.signature.signature) {
            return Err("the signed list was changed, or another key made it".to_owned());
        }
        let listed = |(hash, ticket): &(&str, Ticket)| self.lines.lists(hash, &pass.bytes(*ticket));
        if self.digests.iter().any(listed) {
            Ok(())
        } else {
            Err(
                "the signed list holds, but has no SHA256 or SHA512 line with the digest of this file"
                    .to_owned(),
            )
        }
    }
}

impl Detached for Signify {
    fn form(&self) -> &'static str {
        "signify"
    }

    fn plan(&mut self, pass: &mut Pass, size: u64) {
        if let Some(list) = &self.lines.list {
            self.digests.push(("SHA256", pass.digest(0, size, Hash::Sha256)));
            if memchr::memmem::find(list, b"SHA512 (").is_some() {
                self.digests.push(("SHA512", pass.digest(0, size, Hash::Sha512)));
            }
        }
        self.streams.plan(pass, size);
    }

    fn judge(&self, pass: &Pass, request: &Request<'_>) -> Vec<Verdict> {
        let signature = &self.lines.signature;
        let tried: Vec<Tried> = candidates(&request.trust.keys, |key| signature.could_be_by(key))
            .map(|(place, key)| (place, self.held(pass, place, key)))
            .collect();
        let (what, signed) = match self.lines.list {
            Some(_) => (
                "The signify signature of the list of checksums",
                "a list with the digest of the file",
            ),
            None => ("The signify signature", "the file itself"),
        };
        let by = format!("signify key {}", name(signature.number));
        let rule = format!("signify: Ed25519 over {signed} ({})", ed25519::RULE);
        vec![verdict(request, what, &by, &rule, &tried)]
    }

    fn claims(&self) -> Map<String, Value> {
        let lines = &self.lines;
        Map::from_iter([
            ("key_number".to_owned(), json!(name(lines.signature.number))),
            ("embedded_list".to_owned(), json!(lines.list.is_some())),
            ("untrusted_comment".to_owned(), json!(shown(&lines.untrusted))),
        ])
    }
}
