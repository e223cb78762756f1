//! Keys and certificates in an image, whatever they are wrapped in.

use serde_json::{Value, json};

use crate::content::anchors::Kind;
use crate::content::certificates::{self, Seen};
use crate::content::finding::{Check, Found, Level, PRIVATE_KEYS, TEST_KEYS};
use crate::content::keys::{self, Private, Public};
use crate::content::known;
use crate::content::pem::{self, Block};
use crate::content::scan::Scan;
use crate::error::Result;
use crate::outcome::{Finding, Outcome};
use crate::source::Source;

/// An RSA key of 16,384 bits has about 9 KiB; certificates are seldom longer.
const MAX_DER: usize = 32 * 1024;
/// Certificates and keys that are kept; nobody reads more.
const MAX_KEPT: usize = 2_000;
const MAX_LISTED: usize = 200;

#[derive(Default)]
pub struct Material {
    pub private: Vec<(u64, u64, bool, Private)>,
    pub public: Vec<(u64, u64, Public)>,
    pub certificates: Vec<Seen>,
}

pub fn collect(source: &Source, scan: &Scan) -> Result<Material> {
    let mut all = Material::default();
    for place in &scan.places {
        match place.kind {
            Kind::Pem => all.armoured(source, place.offset)?,
            Kind::Putty => {
                if let Some(key) = pem::putty(source, place.offset)? {
                    all.private.push((place.offset, 0, true, key));
                }
            }
            Kind::OpenSsh => {
                let mut window = vec![0; MAX_DER];
                let got = source.read_some(&mut window, place.offset)?;
                if let Some(key) = pem::openssh(window.get(..got).unwrap_or_default()) {
                    all.private.push((place.offset, 0, false, key));
                }
            }
            Kind::Certificate => all.certificate(source, place.offset)?,
            Kind::RsaPrivate | Kind::EcPrivate => all.key(source, place.offset)?,
            Kind::KeyOid => all.wrapped(source, place.offset)?,
            _ => {}
        }
    }
    all.tidy();
    Ok(all)
}

/// The SEQUENCE whose header, of one of these lengths, ends right before `inside`.
fn around(source: &Source, inside: u64, headers: &[u64]) -> Result<Option<(u64, Vec<u8>)>> {
    for length in headers {
        let Some(start) = inside.checked_sub(*length) else {
            continue;
        };
        let mut head = [0; 4];
        let got = source.read_some(&mut head, start)?;
        let Some((total, header)) = keys::sequence(head.get(..got).unwrap_or_default()) else {
            continue;
        };
        if u64::try_from(header).ok() != Some(*length) || total > MAX_DER {
            continue;
        }
        let mut der = vec![0; total];
        if source.read_some(&mut der, start)? == total {
            return Ok(Some((start, der)));
        }
    }
    Ok(None)
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(0)
}

impl Material {
    fn armoured(&mut self, source: &Source, offset: u64) -> Result<()> {
        match pem::read(source, offset)? {
            Some((Block::Private(key), length)) => self.private.push((offset, length, true, key)),
            Some((Block::Public(key), length)) => self.public.push((offset, length, key)),
            Some((Block::Certificate(der), length)) => {
                self.certificates
                    .extend(certificates::read(&der, offset, length, true));
            }
            None => {}
        }
        Ok(())
    }

    /// `offset` is that of the version field: two SEQUENCE headers stand before it.
    fn certificate(&mut self, source: &Source, offset: u64) -> Result<()> {
        for inner in [4, 3] {
            let Some(body) = offset.checked_sub(inner) else {
                continue;
            };
            if let Some((start, der)) = around(source, body, &[4])?
                && let Some(seen) = certificates::read(&der, start, length(&der), false)
            {
                self.certificates.push(seen);
                break;
            }
        }
        Ok(())
    }

    fn key(&mut self, source: &Source, offset: u64) -> Result<()> {
        if let Some((start, der)) = around(source, offset, &[4, 3, 2])?
            && let Some(key) = keys::private(&der)
        {
            self.private.push((start, length(&der), false, key));
        }
        Ok(())
    }

    /// `offset` is that of an algorithm's identifier: its SEQUENCE begins two bytes before.
    fn wrapped(&mut self, source: &Source, offset: u64) -> Result<()> {
        let Some(algorithm) = offset.checked_sub(2) else {
            return Ok(());
        };
        let version = algorithm.saturating_sub(3);
        let mut before = [0; 3];
        source.read_some(&mut before, version)?;
        if matches!(before, [2, 1, 0 | 1]) {
            return self.key(source, version);
        }
        if let Some((start, der)) = around(source, algorithm, &[4, 3, 2])? {
            if let Some(key) = keys::public(&der) {
                self.public.push((start, length(&der), key));
            } else if let Some(key) = keys::private(&der) {
                self.private.push((start, length(&der), false, key));
            }
        }
        Ok(())
    }

    /// What lies inside something else is told with it, and what is there twice is told once.
    fn tidy(&mut self) {
        self.private
            .sort_by_key(|(start, length, ..)| (*start, std::cmp::Reverse(*length)));
        let mut end = 0;
        self.private.retain(|(start, length, ..)| {
            let new = *start >= end;
            if new {
                end = start.saturating_add((*length).max(1));
            }
            new
        });
        self.certificates.sort_by_key(|seen| (seen.digest, seen.offset));
        self.certificates.dedup_by_key(|seen| seen.digest);
        self.certificates.sort_by_key(|seen| seen.offset);
        let keys: std::collections::HashSet<String> =
            self.certificates.iter().map(|seen| seen.key.clone()).collect();
        self.public.retain(|(_, _, key)| !keys.contains(&key.fingerprint));
        self.public
            .sort_by(|a, b| (&a.2.fingerprint, a.0).cmp(&(&b.2.fingerprint, b.0)));
        self.public.dedup_by(|a, b| a.2.fingerprint == b.2.fingerprint);
        self.public.sort_by_key(|(start, ..)| *start);
        self.private.truncate(MAX_KEPT);
        self.public.truncate(MAX_KEPT);
        self.certificates.truncate(MAX_KEPT);
    }

    pub fn private_keys(&self) -> Check {
        let found = self.private.iter().map(|(offset, length, armoured, key)| {
            let (level, state) = if key.encrypted {
                (Level::Warn, "an encrypted")
            } else {
                (Level::Fail, "an unprotected")
            };
            let what = format!("{state} private key ({}, {})", key.algorithm, key.form);
            let mut found = Found::new(level, *offset, *length, what)
                .with("form", key.form)
                .with("algorithm", key.algorithm.clone())
                .with("encrypted", key.encrypted)
                .with("armoured", *armoured);
            if let Some(fingerprint) = &key.fingerprint {
                found = found.with("public_key", fingerprint.clone());
            }
            found
        });
        let clean = "No private key in the image, as far as it is readable.";
        Check::of(PRIVATE_KEYS, found.collect(), Finding::new(Outcome::Pass, clean))
    }

    /// Published keys among these, and those that stand in the image in another form.
    pub fn test_keys(&self, mut found: Vec<Found>) -> Check {
        let private = self.private.iter().filter_map(|(offset, length, _, key)| {
            let known = known::by_fingerprint(key.fingerprint.as_deref()?)?;
            Some((known, *offset, *length))
        });
        let public = self.public.iter().filter_map(|(offset, length, key)| {
            Some((known::by_fingerprint(&key.fingerprint)?, *offset, *length))
        });
        let certified = self
            .certificates
            .iter()
            .filter_map(|seen| Some((known::by_fingerprint(&seen.key)?, seen.offset, seen.length)));
        for (known, offset, length) in private.chain(public).chain(certified) {
            let mine = format!("sha256:{}", crate::source::hex(&known.fingerprint));
            let told = found
                .iter()
                .any(|item| item.facts.get("fingerprint") == Some(&Value::from(mine.clone())));
            if !told {
                found.push(known::note(known, offset, length, "a published key"));
            }
        }
        found.extend(self.certificates.iter().filter_map(Seen::forbidden));
        let clean = format!(
            "None of the {} published sample and test keys that are known here is in the image, as far as it is readable.",
            known::keys().len()
        );
        Check::of(TEST_KEYS, found, Finding::new(Outcome::Pass, clean))
    }

    pub fn json(&self, at: f64) -> (Vec<Value>, Vec<Value>) {
        let certificates = self
            .certificates
            .iter()
            .take(MAX_LISTED)
            .map(|seen| seen.json(at));
        let keys = self.public.iter().take(MAX_LISTED).map(|(offset, length, key)| {
            json!({"offset": offset, "length": length, "algorithm": key.algorithm, "fingerprint": key.fingerprint})
        });
        (certificates.collect(), keys.collect())
    }
}
