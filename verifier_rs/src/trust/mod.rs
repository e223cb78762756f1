//! Which keys count, for what, and when: an argument of every verification, and the only thing that decides trust.

use std::collections::HashSet;

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::keys::method::Method;
use crate::keys::{self, Algorithm, CertificateFacts, Enrolled, Hint, PublicKey};
use crate::time;
use crate::trust::roots::{AuthorityEntry, Revocation, Root, RootEntry};
use crate::trust::sigstore::Sigstore;
use crate::x509::Certificate;
use crate::x509::crl::Crl;

pub mod roots;
pub mod sigstore;

const MAX_TEXT: usize = 16 * 1024 * 1024;
const MAX_KEYS: usize = 10_000;
const MAX_THRESHOLD: u32 = 16;
const MAX_BUILDERS: usize = 64;
const MAX_URI: usize = 2048;

/// What a key may sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    Firmware,
    Attestation,
    Manifest,
}

impl Purpose {
    pub const ALL: [Purpose; 3] = [Purpose::Firmware, Purpose::Attestation, Purpose::Manifest];

    pub fn name(self) -> &'static str {
        match self {
            Purpose::Firmware => "firmware",
            Purpose::Attestation => "attestation",
            Purpose::Manifest => "manifest",
        }
    }

    pub fn parse(name: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|purpose| purpose.name() == name)
            .ok_or_else(|| {
                Error::Argument(format!(
                    "purpose: expected firmware, attestation or manifest, found {name:?}"
                ))
            })
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RsaPadding {
    Pkcs1v15,
    Pss,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PssSalt {
    /// As long as the digest.
    Digest,
    /// As long as fits.
    Max,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EcdsaEncoding {
    Der,
    P1363,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    pub fn name(self) -> &'static str {
        match self {
            Hash::Sha256 => "SHA-256",
            Hash::Sha384 => "SHA-384",
            Hash::Sha512 => "SHA-512",
        }
    }
}

/// How the owner of the key makes signatures, as told at enrolment; never guessed from a signature.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    pub rsa_padding: Option<RsaPadding>,
    pub pss_salt: Option<PssSalt>,
    pub ecdsa_encoding: Option<EcdsaEncoding>,
    pub hash: Option<Hash>,
    /// What SSH signatures by the key may be for.
    pub ssh_namespaces: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyEntry {
    id: String,
    public_key: Option<String>,
    certificate: Option<String>,
    purposes: Option<Vec<Purpose>>,
    not_before: Option<String>,
    not_after: Option<String>,
    distrusted_from: Option<String>,
    options: Option<Options>,
    builders: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    keys: Vec<KeyEntry>,
    threshold: Option<u32>,
    roots: Option<Vec<RootEntry>>,
    intermediates: Option<Vec<String>>,
    crls: Option<Vec<String>>,
    revocation: Option<Revocation>,
    timestamp_authorities: Option<Vec<AuthorityEntry>>,
    sigstore: Option<Vec<sigstore::Entry>>,
    require_verity: Option<bool>,
}

/// One key that somebody approved.
pub struct TrustKey {
    pub id: String,
    pub key: PublicKey,
    pub fingerprint: String,
    pub certificate: Option<CertificateFacts>,
    pub hint: Option<Hint>,
    pub ssh_namespaces: Vec<String>,
    pub purposes: Vec<Purpose>,
    pub method: Method,
    pub options: Options,
    /// Who may be named as builder (or verifier) in what this key signs, by URI; compared as bytes.
    pub builders: Vec<String>,
    not_before: Option<f64>,
    not_after: Option<f64>,
    distrusted_from: Option<f64>,
}

impl TrustKey {
    /// Whether the key counts for `purpose` at `at` (seconds since 1970); if not, why.
    pub fn approved(&self, purpose: Purpose, at: f64) -> std::result::Result<(), String> {
        let id = &self.id;
        let when = time::format(at);
        if !self.purposes.contains(&purpose) {
            let purposes: Vec<_> = self.purposes.iter().map(|purpose| purpose.name()).collect();
            return Err(format!(
                "key {id:?} is approved for {}, not for {}",
                purposes.join(", "),
                purpose.name()
            ));
        }
        window(
            &format!("key {id:?}"),
            (self.not_before, self.not_after, self.distrusted_from),
            at,
        )?;
        if let Some(certificate) = &self.certificate
            && !(certificate.not_before..=certificate.not_after).contains(&at)
        {
            let from = time::format(certificate.not_before);
            let until = time::format(certificate.not_after);
            return Err(format!(
                "the certificate of key {id:?} is valid from {from} to {until}; the evidence is dated {when}"
            ));
        }
        Ok(())
    }

    fn read(entry: KeyEntry) -> std::result::Result<Self, String> {
        check_id(&entry.id)?;
        let Enrolled {
            key,
            certificate,
            hint,
        } = match (&entry.public_key, &entry.certificate) {
            (Some(pem), None) => {
                let read = keys::read(pem).map_err(|why| format!("public_key: {why}"))?;
                if read.certificate.is_some() {
                    return Err("public_key: found a certificate; give it as \"certificate\"".to_owned());
                }
                read
            }
            (None, Some(pem)) => {
                let read = keys::read(pem).map_err(|why| format!("certificate: {why}"))?;
                if read.certificate.is_none() {
                    return Err("certificate: found a public key; give it as \"public_key\"".to_owned());
                }
                read
            }
            (Some(_), Some(_)) => {
                return Err("expected public_key or certificate, found both".to_owned());
            }
            (None, None) => return Err("expected public_key or certificate, found neither".to_owned()),
        };
        let purposes = purposes(entry.purposes)?;
        let not_before = moment("not_before", entry.not_before)?;
        let not_after = moment("not_after", entry.not_after)?;
        in_order(not_before, not_after)?;
        let builders = builders(entry.builders)?;
        let options = entry.options.unwrap_or_default();
        let namespaces = ssh_namespaces(&key, &options).map_err(|why| format!("options: {why}"))?;
        Ok(TrustKey {
            fingerprint: key.fingerprint(),
            method: Method::of(&key, &options).map_err(|why| format!("options: {why}"))?,
            ssh_namespaces: namespaces,
            id: entry.id,
            key,
            certificate,
            hint,
            purposes,
            options,
            builders,
            not_before,
            not_after,
            distrusted_from: moment("distrusted_from", entry.distrusted_from)?,
        })
    }
}

fn check_id(id: &str) -> std::result::Result<(), String> {
    if id.is_empty() || id.len() > 200 || id.chars().any(char::is_control) {
        return Err("id: expected 1 to 200 printable characters".to_owned());
    }
    Ok(())
}

fn purposes(given: Option<Vec<Purpose>>) -> std::result::Result<Vec<Purpose>, String> {
    let purposes = given.unwrap_or_else(|| Purpose::ALL.to_vec());
    if purposes.is_empty() {
        return Err("purposes: expected at least one, found none; leave it out for all".to_owned());
    }
    Ok(purposes)
}

fn builders(given: Option<Vec<String>>) -> std::result::Result<Vec<String>, String> {
    let builders = given.unwrap_or_default();
    if builders.len() > MAX_BUILDERS || builders.iter().any(|uri| !is_uri(uri)) {
        return Err(format!(
            "builders: expected at most {MAX_BUILDERS} URIs such as https://builder.example/release, of at \
             most {MAX_URI} characters"
        ));
    }
    Ok(builders)
}

fn ssh_namespaces(key: &PublicKey, options: &Options) -> std::result::Result<Vec<String>, String> {
    let Some(names) = &options.ssh_namespaces else {
        return Ok(vec!["file".to_owned()]);
    };
    let signs = matches!(
        key.algorithm,
        Algorithm::Rsa { .. } | Algorithm::EcdsaP256 | Algorithm::EcdsaP384 | Algorithm::Ed25519
    );
    if !signs {
        return Err(format!(
            "ssh_namespaces does not apply to {}",
            key.algorithm.name()
        ));
    }
    if names.is_empty() || names.iter().any(String::is_empty) {
        return Err("ssh_namespaces: expected at least one name, none of them empty".to_owned());
    }
    Ok(names.clone())
}

fn moment(name: &str, text: Option<String>) -> std::result::Result<Option<f64>, String> {
    let Some(text) = text else { return Ok(None) };
    let moment = time::parse(&text);
    moment
        .map(Some)
        .ok_or_else(|| format!("{name}: expected RFC 3339 such as 2026-01-31T12:00:00Z, found {text:?}"))
}

fn in_order(not_before: Option<f64>, not_after: Option<f64>) -> std::result::Result<(), String> {
    match (not_before, not_after) {
        (Some(from), Some(until)) if until < from => Err("not_after lies before not_before".to_owned()),
        _ => Ok(()),
    }
}

/// Whether an entry counts at `at` by its not_before, not_after and distrusted_from; if not, why.
fn window(
    what: &str,
    (not_before, not_after, distrusted_from): (Option<f64>, Option<f64>, Option<f64>),
    at: f64,
) -> std::result::Result<(), String> {
    let when = time::format(at);
    if let Some(from) = distrusted_from
        && at >= from
    {
        let from = time::format(from);
        return Err(format!(
            "{what} is distrusted from {from}; the evidence is dated {when}"
        ));
    }
    if let Some(from) = not_before
        && at < from
    {
        let from = time::format(from);
        return Err(format!(
            "{what} is approved from {from}; the evidence is dated {when}"
        ));
    }
    if let Some(until) = not_after
        && at > until
    {
        let until = time::format(until);
        return Err(format!(
            "{what} was approved until {until}; the evidence is dated {when}"
        ));
    }
    Ok(())
}

fn is_uri(text: &str) -> bool {
    let (scheme, rest) = text.split_once(':').unwrap_or_default();
    text.len() <= MAX_URI
        && !scheme.is_empty()
        && !rest.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The approved keys and roots, and how many different keys must sign.
#[derive(Default)]
pub struct Trust {
    pub keys: Vec<TrustKey>,
    pub threshold: u32,
    /// Where chains of signers may end.
    pub roots: Vec<Root>,
    /// Certificates that help to find a chain but end none.
    pub intermediates: Vec<Certificate>,
    pub crls: Vec<Crl>,
    pub revocation: Revocation,
    /// Where chains of time-stamp authorities may end.
    pub timestamp_authorities: Vec<Root>,
    /// Instances of Sigstore, and whose signatures under them count.
    pub sigstore: Vec<Sigstore>,
    /// RAUC bundles of the old format plain do not count.
    pub require_verity: bool,
}

impl Trust {
    /// Read a trust file, version 1. Unknown members, double members and double ids are refused by name.
    pub fn parse(text: &str) -> Result<Self> {
        let refuse = |why: String| Error::Trust(format!("trust file: {why}"));
        if text.len() > MAX_TEXT {
            return Err(refuse(format!(
                "expected at most {MAX_TEXT} bytes, found {}",
                text.len()
            )));
        }
        let document: Document = serde_json::from_str(text).map_err(|error| refuse(error.to_string()))?;
        if document.version != 1 {
            return Err(refuse(format!("version: expected 1, found {}", document.version)));
        }
        let threshold = document.threshold.unwrap_or(1);
        if !(1..=MAX_THRESHOLD).contains(&threshold) {
            return Err(refuse(format!(
                "threshold: expected 1 to {MAX_THRESHOLD}, found {threshold}"
            )));
        }
        if document.keys.len() > MAX_KEYS {
            return Err(refuse(format!(
                "keys: expected at most {MAX_KEYS}, found {}",
                document.keys.len()
            )));
        }
        let mut ids = HashSet::new();
        let mut named = |list: &str, place: usize, id: &str| {
            let name = format!("{list}[{place}] ({id:?})");
            if ids.insert(id.to_owned()) {
                Ok(name)
            } else {
                Err(refuse(format!(
                    "{name}: this id was given before; ids must differ"
                )))
            }
        };
        let mut trust = Trust {
            threshold,
            revocation: document.revocation.unwrap_or_default(),
            require_verity: document.require_verity.unwrap_or_default(),
            ..Trust::default()
        };
        for (place, entry) in document.keys.into_iter().enumerate() {
            let name = named("keys", place, &entry.id)?;
            let key = TrustKey::read(entry).map_err(|why| refuse(format!("{name}: {why}")))?;
            trust.keys.push(key);
        }
        let roots = document.roots.unwrap_or_default();
        roots::check_count("roots", roots.len()).map_err(refuse)?;
        for (place, entry) in roots.into_iter().enumerate() {
            let name = named("roots", place, &entry.id)?;
            let root = Root::read(entry).map_err(|why| refuse(format!("{name}: {why}")))?;
            trust.roots.push(root);
        }
        let authorities = document.timestamp_authorities.unwrap_or_default();
        roots::check_count("timestamp_authorities", authorities.len()).map_err(refuse)?;
        for (place, entry) in authorities.into_iter().enumerate() {
            let name = named("timestamp_authorities", place, &entry.id)?;
            let root = Root::authority(entry).map_err(|why| refuse(format!("{name}: {why}")))?;
            trust.timestamp_authorities.push(root);
        }
        let instances = document.sigstore.unwrap_or_default();
        sigstore::check_count(instances.len()).map_err(refuse)?;
        for (place, entry) in instances.into_iter().enumerate() {
            let name = named("sigstore", place, &entry.id)?;
            let instance = Sigstore::read(entry).map_err(|why| refuse(format!("{name}: {why}")))?;
            trust.sigstore.push(instance);
        }
        trust.intermediates =
            roots::intermediates(document.intermediates.unwrap_or_default()).map_err(refuse)?;
        trust.crls = roots::crls(document.crls.unwrap_or_default()).map_err(refuse)?;
        Ok(trust)
    }
}

/// The name of a key in a reason: id and algorithm.
pub fn describe(key: &TrustKey) -> String {
    let algorithm: Algorithm = key.key.algorithm;
    format!("{:?} ({})", key.id, algorithm.name())
}
