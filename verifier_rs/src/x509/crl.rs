//! Certificate revocation lists (RFC 5280 §5) that the trust file gives.

use std::collections::HashMap;

use der::Decode;
use der::asn1::GeneralizedTime;
use der::oid::db::rfc5280;
use x509_cert::crl::{RevokedCert, TbsCertList};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::CrlReason;
use x509_cert::ext::pkix::crl::IssuingDistributionPoint;

use crate::time;
use crate::x509::certificate::{Certificate, Signed};
use crate::x509::name::Name;
use crate::x509::refusal::{Reason, Refusal};

/// How a certificate was revoked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Revoked {
    /// When it stopped counting: the date of revocation or, earlier, that of the compromise (seconds since 1970).
    pub from: f64,
    pub reason: CrlReason,
}

/// One list, well formed and of a kind that we understand whole.
pub struct Crl {
    pub issuer: Name,
    this_update: f64,
    next_update: f64,
    signed: Signed,
    revoked: HashMap<Vec<u8>, Revoked>,
    /// Only about certificates of authorities, or only about those of others.
    only: Option<bool>,
}

/// What the lists at hand say of one certificate.
#[derive(Debug, PartialEq)]
pub enum Standing {
    /// A list that covers the moment does not name it.
    Good,
    Revoked(Revoked),
    /// No list covers it; why, where there is one that could have.
    Unknown(Vec<String>),
}

impl Crl {
    pub fn from_der(der: &[u8]) -> Result<Self, String> {
        let signed = Signed::read(der, "the revocation list")?;
        let body = TbsCertList::from_der(&signed.message)
            .map_err(|error| format!("not a revocation list in DER ({error})"))?;
        let next_update = body
            .next_update
            .ok_or("the revocation list does not say when the next one comes (RFC 5280 §5.1.2.5)")?;
        let mut only = None;
        for extension in body.crl_extensions.iter().flatten() {
            match extension.extn_id {
                rfc5280::ID_CE_ISSUING_DISTRIBUTION_POINT => {
                    let value = extension.extn_value.as_bytes();
                    let point = IssuingDistributionPoint::from_der(value)
                        .map_err(|error| format!("its distribution point cannot be read ({error})"))?;
                    only = scope(&point)?;
                }
                rfc5280::ID_CE_DELTA_CRL_INDICATOR => {
                    return Err("it is a delta list; give the complete one".to_owned());
                }
                _ => known(extension, "the revocation list")?,
            }
        }
        let mut revoked = HashMap::new();
        for entry in body.revoked_certificates.iter().flatten() {
            revoked.insert(entry.serial_number.as_bytes().to_owned(), read_entry(entry)?);
        }
        Ok(Crl {
            issuer: Name::of(&body.issuer),
            this_update: body.this_update.to_unix_duration().as_secs_f64(),
            next_update: next_update.to_unix_duration().as_secs_f64(),
            signed,
            revoked,
            only,
        })
    }

    /// Whether the authority that issued the certificates made this list too.
    fn by(&self, issuer: &Certificate) -> Result<(), String> {
        let title = issuer.title();
        if issuer.extensions.key_usage.is_some_and(|usage| !usage.crl_sign()) {
            return Err(format!("{title} may not sign revocation lists (keyUsage)"));
        }
        let key = issuer.usable_key().map_err(|refusal| refusal.words)?;
        match self.signed.by(key) {
            Ok(true) => Ok(()),
            Ok(false) => Err(format!(
                "the revocation list in the name of {title} is not signed by its key"
            )),
            Err(refusal) => Err(format!("the revocation list of {title}: {}", refusal.words)),
        }
    }
}

fn scope(point: &IssuingDistributionPoint) -> Result<Option<bool>, String> {
    if point.indirect_crl || point.only_some_reasons.is_some() || point.only_contains_attribute_certs {
        return Err("it covers only some certificates or reasons; give a complete list".to_owned());
    }
    if point.distribution_point.is_some() {
        return Err("it covers only one distribution point; give a complete list".to_owned());
    }
    Ok(
        match (point.only_contains_ca_certs, point.only_contains_user_certs) {
            (true, true) => return Err("it covers nothing".to_owned()),
            (true, false) => Some(true),
            (false, true) => Some(false),
            (false, false) => None,
        },
    )
}

fn known(extension: &Extension, what: &str) -> Result<(), String> {
    if extension.critical {
        return Err(format!(
            "{what} has the critical extension {}, which is not known",
            extension.extn_id
        ));
    }
    Ok(())
}

fn read_entry(entry: &RevokedCert) -> Result<Revoked, String> {
    let mut revoked = Revoked {
        from: entry.revocation_date.to_unix_duration().as_secs_f64(),
        reason: CrlReason::Unspecified,
    };
    for extension in entry.crl_entry_extensions.iter().flatten() {
        let value = extension.extn_value.as_bytes();
        match extension.extn_id {
            rfc5280::ID_CE_CRL_REASONS => {
                revoked.reason = CrlReason::from_der(value)
                    .map_err(|error| format!("a reason in it cannot be read ({error})"))?;
            }
            rfc5280::ID_CE_INVALIDITY_DATE => {
                let date = GeneralizedTime::from_der(value)
                    .map_err(|error| format!("an invalidity date in it cannot be read ({error})"))?;
                revoked.from = revoked.from.min(date.to_unix_duration().as_secs_f64());
            }
            _ => known(extension, "an entry of the revocation list")?,
        }
    }
    Ok(revoked)
}

/// What these lists say of `certificate`, issued by `issuer`. A list that is too old still revokes what it names; only
/// one that was still good at `at` says that nothing was revoked.
pub fn standing(lists: &[Crl], certificate: &Certificate, issuer: &Certificate, at: f64) -> Standing {
    let mut why = Vec::new();
    let mut good = false;
    let mut worst: Option<Revoked> = None;
    for list in lists.iter().filter(|list| list.issuer.same(&certificate.issuer)) {
        if list
            .only
            .is_some_and(|authorities| authorities != certificate.authority())
        {
            continue;
        }
        if let Err(words) = list.by(issuer) {
            why.push(words);
            continue;
        }
        if let Some(revoked) = list.revoked.get(&certificate.serial) {
            worst = Some(worst.map_or(*revoked, |known| known.graver(*revoked)));
        }
        if list.this_update > certificate.facts.not_after {
            why.push(format!(
                "the revocation list of {} was made when the certificate had expired, and may name it no longer",
                issuer.title()
            ));
        } else if list.next_update < at {
            why.push(format!(
                "the revocation list of {} was good until {}",
                issuer.title(),
                time::format(list.next_update)
            ));
        } else {
            good = true;
        }
    }
    match worst {
        Some(revoked) => Standing::Revoked(revoked),
        None if good => Standing::Good,
        None => Standing::Unknown(why),
    }
}

impl Revoked {
    /// Whether its key was in other hands: then no date of a signature can be relied on.
    pub fn compromised(&self) -> bool {
        matches!(self.reason, CrlReason::KeyCompromise | CrlReason::CaCompromise)
    }

    fn graver(self, other: Revoked) -> Revoked {
        match (self.compromised(), other.compromised()) {
            (true, false) => self,
            (false, true) => other,
            _ if other.from < self.from => other,
            _ => self,
        }
    }

    fn words(&self) -> &'static str {
        match self.reason {
            CrlReason::Unspecified => "no reason given",
            CrlReason::KeyCompromise => "its key was compromised",
            CrlReason::CaCompromise => "its authority was compromised",
            CrlReason::AffiliationChanged => "affiliation changed",
            CrlReason::Superseded => "superseded",
            CrlReason::CessationOfOperation => "cessation of operation",
            CrlReason::CertificateHold => "on hold",
            CrlReason::RemoveFromCRL => "removed from the list",
            CrlReason::PrivilegeWithdrawn => "privilege withdrawn",
            CrlReason::AaCompromise => "its attribute authority was compromised",
        }
    }

    /// Whether a signature of `at` by this certificate still counts: a note, or the refusal.
    pub fn judge(&self, title: &str, at: f64) -> Result<String, Refusal> {
        let (from, reason) = (time::format(self.from), self.words());
        if self.compromised() {
            return Err(Refusal::new(
                Reason::Revoked,
                format!(
                    "the certificate of {title} is revoked from {from} ({reason}): nothing it ever signed counts"
                ),
            ));
        }
        if self.from <= at {
            return Err(Refusal::new(
                Reason::Revoked,
                format!(
                    "the certificate of {title} was revoked from {from} ({reason}), before the time that counts, {}",
                    time::format(at)
                ),
            ));
        }
        Ok(format!(
            "The certificate of {title} was revoked later, from {from} ({reason}); at the time that counts it was good."
        ))
    }
}
