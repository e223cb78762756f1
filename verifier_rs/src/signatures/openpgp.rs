//! OpenPGP detached signatures (RFC 9580 §10.4): armoured or binary, one or several.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::digest::{Sha384, Sha512};
use crate::file::Request;
use crate::openpgp::armour;
use crate::openpgp::certificate::{Certificate, Part};
use crate::openpgp::packet::{self, packets};
use crate::openpgp::signature::{BINARY, Signature, TEXT};
use crate::outcome::Finding;
use crate::pass::{Pass, Ticket};
use crate::signatures::Detached;
use crate::signatures::named::{OTHER_BYTES, Tried, candidates, verdict};
use crate::source::Sink;
use crate::time;
use crate::trust::Hash;
use crate::verdict::{Verdict, strength};

const MAX_FILE: usize = 64 * 1024;
const MAX_SIGNATURES: usize = 8;
/// Clocks differ; what was made later than this after its receipt was not made then.
const MAX_AHEAD: f64 = 900.0;

/// Armour, or binary packets that are nothing but signatures to the last byte: no raw signature looks like that.
pub fn detect(content: &[u8]) -> bool {
    let signature =
        |packet: &packet::Packet<'_>| packet.tag == packet::SIGNATURE && matches!(packet.body, [3..=6, ..]);
    armour::detect(content)
        || (content.len() <= MAX_FILE
            && packets(content).is_ok_and(|all| !all.is_empty() && all.iter().all(signature)))
}

/// The signatures in one file.
pub struct Signatures(Vec<Signature>);

impl Signatures {
    pub fn parse(content: &[u8]) -> Result<Self, String> {
        if content.len() > MAX_FILE {
            return Err(format!(
                "it has {} bytes, expected at most {MAX_FILE}",
                content.len()
            ));
        }
        if content
            .trim_ascii_start()
            .starts_with(b"-----BEGIN PGP SIGNED MESSAGE")
        {
            return Err(
                "it is a message with its signature; expected a detached signature (gpg --detach-sign)"
                    .to_owned(),
            );
        }
        let bytes = match armour::detect(content) {
            true => armour::decode(content, "SIGNATURE")?,
            false => content.to_owned(),
        };
        let mut found = Vec::new();
        for packet in packets(&bytes)? {
            if packet.tag != packet::SIGNATURE {
                return Err(format!(
                    "expected nothing but signatures, found a packet of type {}; make a detached signature \
                     (gpg --detach-sign)",
                    packet.tag
                ));
            }
            if found.len() == MAX_SIGNATURES {
                return Err(format!(
                    "expected at most {MAX_SIGNATURES} signatures, found more"
                ));
            }
            let signature = Signature::parse(packet.body)?;
            if !matches!(signature.kind, BINARY | TEXT) {
                return Err(format!(
                    "expected a signature over a file (type 0x00 or 0x01), found type 0x{:02x}",
                    signature.kind
                ));
            }
            found.push(signature);
        }
        if found.is_empty() {
            return Err("there is no signature in it".to_owned());
        }
        Ok(Signatures(found))
    }
}

/// The signatures and the digest that each needs of the file.
pub struct OpenPgp {
    signatures: Vec<Signature>,
    tickets: Vec<Option<Ticket>>,
}

impl OpenPgp {
    pub fn new(Signatures(signatures): Signatures) -> Self {
        OpenPgp {
            signatures,
            tickets: Vec::new(),
        }
    }
}

impl Detached for OpenPgp {
    fn form(&self) -> &'static str {
        "openpgp"
    }

    fn plan(&mut self, pass: &mut Pass, size: u64) {
        let mut begun: Vec<(u8, Hash, Ticket)> = Vec::new();
        for signature in &self.signatures {
            let ticket = signature.hash.as_ref().ok().map(|hash| {
                let same = begun
                    .iter()
                    .find(|(kind, made, _)| (*kind, made) == (signature.kind, hash));
                same.map(|(_, _, ticket)| *ticket).unwrap_or_else(|| {
                    // A state of its own: what is hashed goes on behind the file.
                    let state = begin(*hash);
                    let state = match signature.kind {
                        TEXT => Sink::text(state),
                        _ => state,
                    };
                    let ticket = pass.feed(0, size, state);
                    begun.push((signature.kind, *hash, ticket));
                    ticket
                })
            });
            self.tickets.push(ticket);
        }
    }

    fn judge(&self, pass: &Pass, request: &Request<'_>) -> Vec<Verdict> {
        let many = self.signatures.len() > 1;
        let signatures = self.signatures.iter().zip(&self.tickets);
        (1_usize..)
            .zip(signatures)
            .map(|(nth, (signature, ticket))| {
                let what = match many {
                    true => format!("OpenPGP signature {nth}"),
                    false => "The OpenPGP signature".to_owned(),
                };
                let digest = ticket.and_then(|ticket| finish(pass.state(ticket)?, &signature.trailer()));
                judge(signature, &digest.unwrap_or_default(), &what, request)
            })
            .collect()
    }

    fn claims(&self) -> Map<String, Value> {
        let rows: Vec<_> = self
            .signatures
            .iter()
            .map(|signature| {
                json!({
                    "made": time::format(f64::from(signature.created)),
                    "issuer": signature.issuers.iter().max_by_key(|issuer| issuer.len()),
                    "hash": signature.hash.as_ref().map(|hash| hash.name()).ok(),
                    "text": signature.kind == TEXT,
                })
            })
            .collect();
        Map::from_iter([("signatures".to_owned(), Value::Array(rows))])
    }
}

fn begin(hash: Hash) -> Sink {
    match hash {
        Hash::Sha256 => Sink::Sha256(Sha256::new()),
        Hash::Sha384 => Sink::Sha384(Sha384::new()),
        Hash::Sha512 => Sink::Sha512(Sha512::new()),
    }
}

/// The digest of the file and what the signature puts behind it.
fn finish(state: &Sink, trailer: &[u8]) -> Option<Vec<u8>> {
    let state = match state {
        Sink::Text(text) => text.inner(),
        other => other,
    };
    match state {
        Sink::Sha256(state) => Some(state.clone().chain_update(trailer).finalize().to_vec()),
        Sink::Sha384(state) => Some(state.clone().chain_update(trailer).finalize().to_vec()),
        Sink::Sha512(state) => Some(state.clone().chain_update(trailer).finalize().to_vec()),
        _ => None,
    }
}

fn judge(signature: &Signature, digest: &[u8], what: &str, request: &Request<'_>) -> Verdict {
    let keys = &request.trust.keys;
    let mut tried: Vec<Tried> = Vec::new();
    let mut signers: Vec<(usize, &Certificate, &Part)> = Vec::new();
    for (place, key) in candidates(keys, |key| key.key.openpgp.is_some()) {
        let Some(certificate) = key.key.openpgp.as_deref() else {
            continue;
        };
        for part in certificate
            .parts
            .iter()
            .filter(|part| signature.could_be_by(&part.fingerprint))
        {
            let held = holds(signature, digest, certificate, part, request.at);
            if held.is_ok() {
                signers.push((place, certificate, part));
            }
            tried.push((place, held));
        }
    }
    let by = match signature.issuers.iter().max_by_key(|issuer| issuer.len()) {
        Some(issuer) => format!("the OpenPGP key {issuer}"),
        None => "no OpenPGP key".to_owned(),
    };
    let rule = rule(signature);
    let mut verdict = verdict(request, what, &by, &rule, &tried);
    let signer = verdict.signer.as_mut().and_then(|signer| {
        let found = signers
            .iter()
            .find(|(place, ..)| keys.get(*place).is_some_and(|key| key.id == signer.id));
        found.map(|(_, certificate, part)| (signer, certificate, part))
    });
    if let Some((signer, certificate, part)) = signer {
        signer.algorithm = part.key.algorithm.name();
        verdict.algorithm = strength(part.key.algorithm, &rule);
        let which = match part.primary {
            true => "its primary key".to_owned(),
            false => format!("its subkey {}", part.fingerprint),
        };
        verdict.signature = Finding::new(
            verdict.signature.outcome,
            format!(
                "{what} is valid under key {:?}, OpenPGP certificate {}, made by {which} ({}).",
                signer.id, certificate.fingerprint, signer.algorithm
            ),
        );
    }
    verdict
}

fn holds(
    signature: &Signature,
    digest: &[u8],
    certificate: &Certificate,
    part: &Part,
    at: f64,
) -> Result<(), String> {
    signature
        .verify_digest(part.scheme, &part.key, digest)
        .map_err(|why| match digest.is_empty() {
            true => why,
            false => format!("{why} ({OTHER_BYTES})"),
        })?;
    // The signer says when it was made, so only what contradicts it counts; keys are judged by the time of receipt.
    let made = f64::from(signature.created);
    if made < part.created() {
        return Err("it claims to be older than the key that made it".to_owned());
    }
    if made > at + MAX_AHEAD {
        return Err(format!(
            "it claims to be made on {}, after it was received ({})",
            time::format(made),
            time::format(at)
        ));
    }
    if signature.expires > 0 && at >= made + f64::from(signature.expires) {
        let end = time::format(made + f64::from(signature.expires));
        return Err(format!("it says that it expired on {end}"));
    }
    certificate.counts(part, at)
}

fn rule(signature: &Signature) -> String {
    let over = match signature.kind {
        TEXT => "the file as text (line ends as CR LF)",
        _ => "the file",
    };
    let hash = signature
        .hash
        .as_ref()
        .map_or("an unknown hash", |hash| hash.name());
    format!("OpenPGP: {hash} over {over} and its own statements (RFC 9580 §5.2.4)")
}
