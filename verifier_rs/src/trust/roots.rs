//! The certificates at which chains may end, and what each of them is trusted for.

use der::asn1::ObjectIdentifier;
use serde::Deserialize;

use crate::trust::{Options, Purpose, RsaPadding};
use crate::x509::Certificate;
use crate::x509::path::{CODE_SIGNING, EMAIL_PROTECTION, Role};
use crate::x509::{crl::Crl, pem};

const MAX_ROOTS: usize = 1_000;
const MAX_INTERMEDIATES: usize = 1_000;
const MAX_CRLS: usize = 1_000;

/// Whether a chain counts of which no revocation list at hand speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Revocation {
    #[default]
    IfGiven,
    Required,
}

/// Extended key usages that a signer's certificate may have.
#[derive(Debug, PartialEq, Eq)]
pub struct Usages {
    /// Any usage, and certificates that name none.
    pub any: bool,
    named: Vec<ObjectIdentifier>,
}

impl Usages {
    fn parse(names: Option<Vec<String>>) -> Result<Self, String> {
        let Some(names) = names else {
            return Ok(Usages {
                any: false,
                named: vec![CODE_SIGNING],
            });
        };
        if names.is_empty() {
            return Err("usages: expected at least one, found none; leave it out for codeSigning".to_owned());
        }
        let mut usages = Usages {
            any: false,
            named: Vec::new(),
        };
        for name in names {
            match name.as_str() {
                "any" => usages.any = true,
                "codeSigning" => usages.named.push(CODE_SIGNING),
                "emailProtection" => usages.named.push(EMAIL_PROTECTION),
                other => usages.named.push(ObjectIdentifier::new(other).map_err(|_| {
                    format!("usages: expected codeSigning, emailProtection, any or an OID such as 1.2.3, found {other:?}")
                })?),
            }
        }
        Ok(usages)
    }

    pub fn allow(&self, usage: &ObjectIdentifier) -> bool {
        self.any || self.named.contains(usage)
    }

    pub fn words(&self) -> String {
        if self.any {
            return "any usage".to_owned();
        }
        let name = |usage: &ObjectIdentifier| match *usage {
            CODE_SIGNING => "codeSigning".to_owned(),
            EMAIL_PROTECTION => "emailProtection".to_owned(),
            other => other.to_string(),
        };
        self.named.iter().map(name).collect::<Vec<_>>().join(" or ")
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RootEntry {
    pub id: String,
    certificate: String,
    purposes: Option<Vec<Purpose>>,
    usages: Option<Vec<String>>,
    subjects: Option<Vec<String>>,
    options: Option<Options>,
    not_before: Option<String>,
    not_after: Option<String>,
    distrusted_from: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthorityEntry {
    pub id: String,
    certificate: String,
}

/// A certificate at which a chain may end.
pub struct Root {
    pub id: String,
    pub certificate: Certificate,
    pub usages: Usages,
    purposes: Vec<Purpose>,
    /// How signers below it make bare detached signatures.
    pub options: Options,
    /// Subjects (RFC 4514) or key fingerprints of the only signers that count; all where empty.
    subjects: Vec<String>,
    not_before: Option<f64>,
    not_after: Option<f64>,
    distrusted_from: Option<f64>,
}

impl Root {
    pub fn read(entry: RootEntry) -> Result<Self, String> {
        super::check_id(&entry.id)?;
        let subjects = match entry.subjects {
            Some(subjects) if subjects.is_empty() => {
                return Err("subjects: expected at least one, found none; leave it out for all".to_owned());
            }
            subjects => subjects.unwrap_or_default(),
        };
        let not_before = super::moment("not_before", entry.not_before)?;
        let not_after = super::moment("not_after", entry.not_after)?;
        super::in_order(not_before, not_after)?;
        Ok(Root {
            id: entry.id,
            certificate: one(&entry.certificate)?,
            usages: Usages::parse(entry.usages)?,
            purposes: super::purposes(entry.purposes)?,
            subjects,
            options: consistent(entry.options.unwrap_or_default())?,
            not_before,
            not_after,
            distrusted_from: super::moment("distrusted_from", entry.distrusted_from)?,
        })
    }

    /// A time-stamp authority, or the root of one; its usage is fixed by RFC 3161.
    pub fn authority(entry: AuthorityEntry) -> Result<Self, String> {
        super::check_id(&entry.id)?;
        Ok(Self::bare(&entry.id, one(&entry.certificate)?))
    }

    /// A root about which nothing more is said: for all purposes, at any time, for code signing.
    pub fn bare(id: &str, certificate: Certificate) -> Self {
        Root {
            id: id.to_owned(),
            certificate,
            usages: Usages {
                any: false,
                named: vec![CODE_SIGNING],
            },
            purposes: Purpose::ALL.to_vec(),
            subjects: Vec::new(),
            options: Options::default(),
            not_before: None,
            not_after: None,
            distrusted_from: None,
        }
    }

    /// Whether the trust file lets this root speak for `leaf` in this role at `at`; if not, why.
    pub fn approved(&self, role: Role, leaf: &Certificate, at: f64) -> Result<(), String> {
        let Role::Signer(purpose) = role else {
            return Ok(());
        };
        let id = &self.id;
        if !self.purposes.contains(&purpose) {
            let purposes: Vec<_> = self.purposes.iter().map(|purpose| purpose.name()).collect();
            return Err(format!(
                "root {id:?} is approved for {}, not for {}",
                purposes.join(", "),
                purpose.name()
            ));
        }
        let named = |subject: &String| *subject == leaf.facts.subject || *subject == leaf.fingerprint;
        if !self.subjects.is_empty() && !self.subjects.iter().any(named) {
            return Err(format!(
                "root {id:?} is approved for certain signers only, and {} ({}) is none of them",
                leaf.title(),
                leaf.fingerprint
            ));
        }
        super::window(
            &format!("root {id:?}"),
            (self.not_before, self.not_after, self.distrusted_from),
            at,
        )
    }
}

/// Whether options fit a key is known when there is one; whether they fit each other, now.
fn consistent(options: Options) -> Result<Options, String> {
    if options.pss_salt.is_some() && options.rsa_padding != Some(RsaPadding::Pss) {
        return Err("options: pss_salt applies only with rsa_padding \"pss\"".to_owned());
    }
    Ok(options)
}

fn one(text: &str) -> Result<Certificate, String> {
    let mut certificates = pem::certificates(text).map_err(|why| format!("certificate: {why}"))?;
    match (certificates.pop(), certificates.len()) {
        (Some(only), 0) => match only.usable_key() {
            Ok(_) => Ok(only),
            Err(refusal) => Err(format!("certificate: {}", refusal.words)),
        },
        (_, more) => Err(format!(
            "certificate: expected one PEM block, found {}",
            more.saturating_add(1)
        )),
    }
}

/// Certificates that help to find a chain but end none.
pub fn intermediates(entries: Vec<String>) -> Result<Vec<Certificate>, String> {
    if entries.len() > MAX_INTERMEDIATES {
        return Err(format!(
            "intermediates: expected at most {MAX_INTERMEDIATES}, found {}",
            entries.len()
        ));
    }
    entries
        .iter()
        .enumerate()
        .map(|(place, text)| one(text).map_err(|why| format!("intermediates[{place}]: {why}")))
        .collect()
}

pub fn crls(entries: Vec<String>) -> Result<Vec<Crl>, String> {
    if entries.len() > MAX_CRLS {
        return Err(format!(
            "crls: expected at most {MAX_CRLS}, found {}",
            entries.len()
        ));
    }
    let read = |text: &String| {
        let blocks = pem::blocks(text, &["X509 CRL"], 1)?;
        let der = blocks
            .first()
            .ok_or("expected a PEM block X509 CRL, found none")?;
        Crl::from_der(der)
    };
    entries
        .iter()
        .enumerate()
        .map(|(place, text)| read(text).map_err(|why| format!("crls[{place}]: {why}")))
        .collect()
}

pub fn check_count(name: &str, count: usize) -> Result<(), String> {
    if count > MAX_ROOTS {
        return Err(format!("{name}: expected at most {MAX_ROOTS}, found {count}"));
    }
    Ok(())
}
