//! Signed certificate timestamps (RFC 6962 §3.2, §3.3): that a log saw the certificate.

use der::Tag;
use der::asn1::ObjectIdentifier;
use sha2::{Digest, Sha256};

use crate::keys::method::verify_message;
use crate::trust::sigstore::{Log, Sigstore};
use crate::x509::tlv::only;
use crate::x509::{Certificate, extension};

/// The list of timestamps in a certificate.
const SCT_LIST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.11129.2.4.2");
const MAX_TIMESTAMPS: usize = 16;
/// `digitally-signed` of TLS 1.2: the hash SHA-256; RSA or ECDSA.
const SHA256: u8 = 4;
const RSA: u8 = 1;
const ECDSA: u8 = 3;

/// Big-endian numbers and the bytes that they count, as TLS writes them.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize) -> Result<&'a [u8], String> {
        let short = || {
            format!(
                "a signed certificate timestamp ends {count} bytes too early, at its last {}",
                self.0.len()
            )
        };
        let (head, rest) = self.0.split_at_checked(count).ok_or_else(short)?;
        self.0 = rest;
        Ok(head)
    }

    fn counted(&mut self) -> Result<&'a [u8], String> {
        let count = match self.bytes(2)? {
            [high, low] => usize::from(u16::from_be_bytes([*high, *low])),
            _ => 0,
        };
        self.bytes(count)
    }
}

struct Timestamp<'a> {
    log: &'a [u8],
    /// Milliseconds since 1970.
    at: &'a [u8],
    extensions: &'a [u8],
    hash: u8,
    algorithm: u8,
    signature: &'a [u8],
}

impl<'a> Timestamp<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, String> {
        let mut reader = Reader(bytes);
        if reader.bytes(1)? != [0] {
            return Err("a signed certificate timestamp is not of version 1".to_owned());
        }
        let (log, at, extensions) = (reader.bytes(32)?, reader.bytes(8)?, reader.counted()?);
        let (hash, algorithm) = match reader.bytes(2)? {
            [hash, algorithm] => (*hash, *algorithm),
            _ => (0, 0),
        };
        let signature = reader.counted()?;
        if !reader.0.is_empty() {
            return Err("a signed certificate timestamp has something behind its signature".to_owned());
        }
        Ok(Timestamp {
            log,
            at,
            extensions,
            hash,
            algorithm,
            signature,
        })
    }

    fn seconds(&self) -> f64 {
        let at: [u8; 8] = self.at.try_into().unwrap_or_default();
        let seconds = u64::from_be_bytes(at).checked_div(1000).unwrap_or_default();
        u32::try_from(seconds).map_or(f64::INFINITY, f64::from)
    }

    fn holds(&self, signed: &[u8], log: &Log) -> Result<bool, String> {
        let (key, method) = log
            .key
            .as_ref()
            .map_err(|why| format!("the key of certificate log {}: {why}", log.name))?;
        if self.hash != SHA256 || !matches!(self.algorithm, RSA | ECDSA) {
            return Err(
                "a signed certificate timestamp is signed neither with ECDSA nor RSA over SHA-256".to_owned(),
            );
        }
        Ok(verify_message(key, method, &[signed], self.signature))
    }
}

/// Whether a certificate log of the trusted root saw `leaf`, which `issuer` issued; if not, why.
pub fn check(leaf: &Certificate, issuer: &Certificate, trusted: &Sigstore) -> Result<(), String> {
    let body = &leaf.signed.message;
    let value = extension::value(body, SCT_LIST)?
        .ok_or("the certificate has no signed certificate timestamp (RFC 6962)")?;
    let list = only(&value, Tag::OctetString, "the list of timestamps")?;
    let mut outer = Reader(list.value);
    let mut entries = Reader(outer.counted()?);
    if !outer.0.is_empty() {
        return Err("the list of signed certificate timestamps is longer than it says".to_owned());
    }
    let precertificate = extension::without(body, SCT_LIST)?;
    let issuer_key = issuer.usable_key().map_err(|refusal| refusal.words)?;
    let issuer_hash = Sha256::digest(&issuer_key.spki);
    let mut unknown = 0_usize;
    for _ in 0..MAX_TIMESTAMPS {
        if entries.0.is_empty() {
            break;
        }
        let stamp = Timestamp::read(entries.counted()?)?;
        // Logs may share a key at different times.
        let known: Vec<&Log> = trusted
            .certificate_logs
            .iter()
            .filter(|log| log.id == stamp.log)
            .collect();
        let Some(log) = known
            .iter()
            .find(|log| log.validity.holds(stamp.seconds()))
            .or(known.first())
        else {
            unknown = unknown.saturating_add(1);
            continue;
        };
        if !log.validity.holds(stamp.seconds()) {
            return Err(format!(
                "its signed certificate timestamp is from a time when certificate log {} did not count",
                log.name
            ));
        }
        let signed = signed(&stamp, &issuer_hash, &precertificate)?;
        return if stamp.holds(&signed, log)? {
            Ok(())
        } else {
            Err(format!(
                "its signed certificate timestamp is not by certificate log {}, or is about another certificate",
                log.name
            ))
        };
    }
    Err(format!(
        "none of its {unknown} signed certificate timestamp(s) is by a certificate log of the trusted root"
    ))
}

/// What is signed: version, kind, time, precert_entry, issuer and certificate, extensions (RFC 6962 §3.2).
fn signed(stamp: &Timestamp<'_>, issuer: &[u8], body: &[u8]) -> Result<Vec<u8>, String> {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes();
    let [0, length @ ..] = length else {
        return Err("the certificate is too long for a signed certificate timestamp".to_owned());
    };
    let extensions = u16::try_from(stamp.extensions.len()).unwrap_or(u16::MAX);
    Ok([
        &[0, 0],
        stamp.at,
        &[0, 1],
        issuer,
        &length,
        body,
        &extensions.to_be_bytes(),
        stamp.extensions,
    ]
    .concat())
}
