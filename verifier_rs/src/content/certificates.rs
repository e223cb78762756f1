//! X.509 certificates in an image: what a reviewer should know about each.

use der::Decode;
use der::Encode;
use der::asn1::ObjectIdentifier;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use x509_cert::Certificate;
use x509_cert::ext::pkix::BasicConstraints;

use crate::content::finding::{CERTIFICATES, Check, Found, Level, TEST_KEYS, not_applicable};
use crate::content::keys;
use crate::outcome::{Finding, Outcome};
use crate::source::hex;
use crate::time;

const YEAR: f64 = 365.25 * 86_400.0;
/// Signature algorithms whose hash has been broken.
const BROKEN: [(&str, &str); 7] = [
    ("1.2.840.113549.1.1.2", "MD2"),
    ("1.2.840.113549.1.1.4", "MD5"),
    ("1.2.840.113549.1.1.5", "SHA-1"),
    ("1.3.14.3.2.29", "SHA-1"),
    ("1.2.840.10045.4.1", "SHA-1"),
    ("1.2.840.10040.4.3", "SHA-1"),
    ("1.3.14.3.2.3", "MD5"),
];
/// Words in a name that say that nobody should rely on the certificate.
const FORBIDDEN: [&str; 8] = [
    "do not trust",
    "do not ship",
    "do not use",
    "not for production",
    "snakeoil",
    "snake oil",
    "insecure",
    "untrusted",
];
const TESTING: [&str; 8] = [
    "test",
    "testing",
    "example",
    "sample",
    "demo",
    "dummy",
    "internet widgits pty ltd",
    "localhost",
];

/// One certificate, as far as it is told.
pub struct Seen {
    pub offset: u64,
    pub length: u64,
    pub armoured: bool,
    pub digest: [u8; 32],
    pub key: String,
    subject: String,
    issuer: String,
    not_before: f64,
    not_after: f64,
    algorithm: String,
    self_signed: bool,
    authority: bool,
    broken: Option<&'static str>,
}

/// Strictly one certificate in DER, nothing after it.
pub fn read(der: &[u8], offset: u64, length: u64, armoured: bool) -> Option<Seen> {
    let certificate = Certificate::from_der(der).ok()?;
    let body = certificate.tbs_certificate();
    let key = body.subject_public_key_info().to_der().ok()?;
    let validity = body.validity();
    let signed_with = certificate.signature_algorithm().oid;
    let authority = body
        .get_extension::<BasicConstraints>()
        .ok()
        .flatten()
        .is_some_and(|(_, constraints)| constraints.ca);
    Some(Seen {
        offset,
        length,
        armoured,
        digest: Sha256::digest(der).into(),
        key: keys::fingerprint(&key),
        subject: shorten(&body.subject().to_string()),
        issuer: shorten(&body.issuer().to_string()),
        not_before: validity.not_before.to_unix_duration().as_secs_f64(),
        not_after: validity.not_after.to_unix_duration().as_secs_f64(),
        algorithm: keys::public(&key).map_or_else(|| "unknown algorithm".to_owned(), |key| key.algorithm),
        self_signed: body.subject() == body.issuer(),
        authority,
        broken: broken(signed_with),
    })
}

fn broken(oid: ObjectIdentifier) -> Option<&'static str> {
    let oid = oid.to_string();
    BROKEN.iter().find(|(id, _)| *id == oid).map(|(_, name)| *name)
}

fn shorten(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(200).collect()
}

/// The name in lower case with single blanks between its words, so that words can be looked for as words.
fn words(name: &str) -> String {
    let spaced: String = name
        .chars()
        .map(|c| {
            if c.is_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                ' '
            }
        })
        .collect();
    format!(" {} ", spaced.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn names(text: &str, among: &[&'static str]) -> Option<&'static str> {
    let text = words(text);
    among
        .iter()
        .find(|word| text.contains(&format!(" {word} ")))
        .copied()
}

impl Seen {
    fn rsa_bits(&self) -> Option<u32> {
        self.algorithm.strip_prefix("RSA-")?.parse().ok()
    }

    /// Why it needs a look, at the time that counts.
    fn concerns(&self, at: f64) -> Vec<String> {
        let mut concerns = Vec::new();
        let end = time::format(self.not_after);
        if self.not_after < at {
            concerns.push(format!("expired on {end}"));
        } else if self.not_after < at + YEAR {
            concerns.push(format!("expires within a year, on {end}"));
        }
        if self.not_before > at {
            concerns.push(format!("is not valid before {}", time::format(self.not_before)));
        }
        // What a root says about itself is believed because it is built in, not because it is signed.
        if let Some(hash) = self.broken.filter(|_| !self.self_signed) {
            concerns.push(format!("is signed over {hash}, which can be forged"));
        }
        if self.rsa_bits().is_some_and(|bits| bits < 2048) {
            concerns.push(format!("has a key of {}, which can be broken", self.algorithm));
        }
        if let Some(word) = names(&self.subject, &TESTING) {
            concerns.push(format!("has the word \"{word}\" in its name"));
        }
        if self.self_signed && !self.authority {
            concerns.push("is signed by itself".to_owned());
        }
        concerns
    }

    pub fn json(&self, at: f64) -> Value {
        json!({
            "offset": self.offset,
            "length": self.length,
            "encoding": if self.armoured { "PEM" } else { "DER" },
            "subject": self.subject,
            "issuer": self.issuer,
            "not_before": time::format(self.not_before),
            "not_after": time::format(self.not_after),
            "algorithm": self.algorithm,
            "fingerprint": format!("sha256:{}", hex(&self.digest)),
            "key_fingerprint": self.key,
            "self_signed": self.self_signed,
            "authority": self.authority,
            "concerns": self.concerns(at),
        })
    }

    /// A name that forbids trusting it is as good as a published key.
    pub fn forbidden(&self) -> Option<Found> {
        let phrase = names(&self.subject, &FORBIDDEN).or_else(|| names(&self.issuer, &FORBIDDEN))?;
        let what = format!("a certificate that says \"{phrase}\" ({})", self.subject);
        Some(
            Found::new(Level::Fail, self.offset, self.length, what)
                .with("check", TEST_KEYS)
                .with("subject", self.subject.clone())
                .with("fingerprint", self.key.clone()),
        )
    }
}

pub fn check(seen: &[Seen], at: f64) -> Check {
    if seen.is_empty() {
        return not_applicable(
            CERTIFICATES,
            "There is no X.509 certificate in the image, as far as it is readable.",
        );
    }
    let found = seen.iter().filter_map(|one| {
        let concerns = one.concerns(at);
        (!concerns.is_empty()).then(|| {
            let what = format!("the certificate of {} {}", one.subject, concerns.join(" and "));
            Found::new(Level::Warn, one.offset, one.length, what).with("subject", one.subject.clone())
        })
    });
    let clean = format!(
        "{} in the image, none expired at {} or within a year of it, weak, or named as a test.",
        if seen.len() == 1 {
            "1 certificate".to_owned()
        } else {
            format!("{} certificates", seen.len())
        },
        time::format(at)
    );
    Check::of(CERTIFICATES, found.collect(), Finding::new(Outcome::Pass, clean))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_name_count_as_words_only() {
        assert_eq!(names("CN=Test Root CA", &TESTING), Some("test"));
        assert_eq!(names("CN=latest-release", &TESTING), None);
        assert_eq!(names("CN=Testo SE", &TESTING), None);
        assert_eq!(
            names("CN=DO NOT TRUST - AMI Test PK", &FORBIDDEN),
            Some("do not trust")
        );
        assert_eq!(names("O=Snake Oil\\, Ltd", &FORBIDDEN), Some("snake oil"));
    }
}
