//! From a signer's certificate to an approved root (RFC 5280 §6), as things stood at the time that counts.

use der::asn1::ObjectIdentifier;
use der::oid::db::rfc5912;

use crate::keys::{Algorithm, CertificateFacts, Strength};
use crate::time;
use crate::trust::roots::{Revocation, Root};
use crate::trust::{Purpose, Trust};
use crate::verdict::{Moment, TimeSource};
use crate::x509::certificate::Certificate;
use crate::x509::constraints;
use crate::x509::crl::{Standing, standing};
use crate::x509::refusal::{Reason, Refusal};

/// Certificates between the signer's and the root.
const MAX_BETWEEN: usize = 8;
/// Signatures of certificates checked for one path: cross-signing without end stops here.
const MAX_SIGNATURES: usize = 100;
/// Certificates looked at for one path.
const MAX_STEPS: usize = 100_000;

pub const CODE_SIGNING: ObjectIdentifier = rfc5912::ID_KP_CODE_SIGNING;
pub const EMAIL_PROTECTION: ObjectIdentifier = rfc5912::ID_KP_EMAIL_PROTECTION;
const TIME_STAMPING: ObjectIdentifier = rfc5912::ID_KP_TIME_STAMPING;
const ANY: ObjectIdentifier = rfc5912::ANY_EXTENDED_KEY_USAGE;

/// What the certificate at the begin of the chain signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Signer(Purpose),
    /// RFC 3161 §2.3: the usage timeStamping, critical and alone.
    TimeStamp,
}

/// A chain that counts.
#[derive(Debug)]
pub struct Path {
    /// From the signer's certificate to the root.
    pub chain: Vec<CertificateFacts>,
    /// The kinds of the keys in it, in the same order.
    pub algorithms: Vec<Algorithm>,
    /// The id of the root in the trust file.
    pub root_id: String,
    /// What a reader should know although it does not refuse: expired since, revoked later, no list at hand.
    pub notes: Vec<String>,
}

/// Find a chain from `leaf` over `candidates` and the trust file's own certificates to a root that counts for `role`
/// at `moment`. `now` is when the evidence was received: what ran out between the two is a note.
pub fn check<'a>(
    leaf: &'a Certificate,
    candidates: impl IntoIterator<Item = &'a Certificate>,
    trust: &'a Trust,
    role: Role,
    moment: &'a Moment,
    now: f64,
) -> Result<Path, Refusal> {
    signer(leaf, role, moment)?;
    let mut search = Search {
        candidates: candidates.into_iter().chain(&trust.intermediates).collect(),
        roots: match role {
            Role::Signer(_) => &trust.roots,
            Role::TimeStamp => &trust.timestamp_authorities,
        },
        trust,
        role,
        moment,
        now,
        signatures: 0,
        steps: 0,
        best: None,
    };
    if let Some(root) = search.roots.iter().find(|root| root.certificate.der == leaf.der) {
        return search.finish(&[leaf], root);
    }
    match search.extend(&mut vec![leaf]) {
        Some(path) => Ok(path),
        None => Err(search.best.unwrap_or_else(|| {
            Refusal::new(
                Reason::UnknownIssuer,
                format!("nobody is known who issued {}", leaf.title()),
            )
        })),
    }
}

/// What the signer's own certificate must be, whatever its chain.
fn signer(leaf: &Certificate, role: Role, moment: &Moment) -> Result<(), Refusal> {
    let title = leaf.title();
    usable(leaf)?;
    if leaf.authority() {
        return Err(Refusal::new(
            Reason::Authority,
            format!(
                "the signer's certificate {title} is that of a certificate authority (CA:TRUE); an authority issues \
                 certificates, its key must not sign anything else"
            ),
        ));
    }
    let may_sign = leaf.extensions.key_usage.is_none_or(|usage| {
        usage.digital_signature() || (role == Role::TimeStamp && usage.non_repudiation())
    });
    if !may_sign {
        return Err(Refusal::new(
            Reason::KeyUsage,
            format!(
                "the signer's certificate {title} is not for signatures (keyUsage without digitalSignature)"
            ),
        ));
    }
    if role == Role::TimeStamp {
        let exact =
            |(usages, critical): &(Vec<ObjectIdentifier>, bool)| *critical && *usages == [TIME_STAMPING];
        if !leaf.extensions.usages.as_ref().is_some_and(exact) {
            return Err(Refusal::new(
                Reason::Usage,
                format!(
                    "the certificate {title} is not that of a time-stamp authority: it needs the extended key usage \
                     timeStamping, critical and alone (RFC 3161 §2.3)"
                ),
            ));
        }
    }
    in_time(leaf, moment)
}

/// What every certificate of a chain must be.
fn usable(certificate: &Certificate) -> Result<(), Refusal> {
    let title = certificate.title();
    if let Some(unknown) = certificate.extensions.unknown {
        return Err(Refusal::new(
            Reason::UnknownExtension,
            format!("the certificate {title} has the critical extension {unknown}, which is not known here"),
        ));
    }
    if certificate.extensions.explicit_policy {
        return Err(Refusal::new(
            Reason::UnknownExtension,
            format!(
                "the certificate {title} wants certificate policies checked (policyConstraints); that is not done here"
            ),
        ));
    }
    let key = certificate.usable_key()?;
    if key.algorithm.strength() == Strength::Broken {
        return Err(Refusal::new(
            Reason::Algorithm,
            format!("the key of {title}: {}", key.algorithm.weakness()),
        ));
    }
    Ok(())
}

fn in_time(certificate: &Certificate, moment: &Moment) -> Result<(), Refusal> {
    let (title, facts) = (certificate.title(), &certificate.facts);
    let counts = moment.words();
    if moment.at < facts.not_before {
        return Err(Refusal::new(
            Reason::NotYetValid,
            format!(
                "the certificate of {title} is valid only from {}; the time that counts is {counts}",
                time::format(facts.not_before)
            ),
        ));
    }
    if moment.at > facts.not_after {
        let hint = match moment.source {
            TimeSource::Receipt => ", and no trusted time stamp shows that it was made earlier",
            TimeSource::Timestamp { .. } => "",
        };
        return Err(Refusal::new(
            Reason::Expired,
            format!(
                "the certificate of {title} expired on {}: it had expired at signing, as the time that counts is \
                 {counts}{hint}",
                time::format(facts.not_after)
            ),
        ));
    }
    Ok(())
}

/// What a certificate must be that issued another one.
fn authority(certificate: &Certificate, moment: &Moment) -> Result<(), Refusal> {
    let title = certificate.title();
    usable(certificate)?;
    if !certificate.authority() {
        return Err(Refusal::new(
            Reason::Authority,
            format!(
                "{title} issued a certificate, but its own does not make it an authority (basicConstraints)"
            ),
        ));
    }
    if certificate
        .extensions
        .key_usage
        .is_some_and(|usage| !usage.key_cert_sign())
    {
        return Err(Refusal::new(
            Reason::KeyUsage,
            format!("{title} may not issue certificates (keyUsage without keyCertSign)"),
        ));
    }
    in_time(certificate, moment)
}

struct Search<'a> {
    candidates: Vec<&'a Certificate>,
    roots: &'a [Root],
    trust: &'a Trust,
    role: Role,
    moment: &'a Moment,
    now: f64,
    signatures: usize,
    steps: usize,
    /// Of all refusals on the way the one that came furthest.
    best: Option<Refusal>,
}

impl<'a> Search<'a> {
    fn remember(&mut self, refusal: Refusal) {
        if self.best.as_ref().is_none_or(|best| best.reason < refusal.reason) {
            self.best = Some(refusal);
        }
    }

    /// Whether there is still work left to spend; says so once.
    fn spent(&mut self) -> bool {
        let spent = self.signatures > MAX_SIGNATURES || self.steps > MAX_STEPS;
        if spent {
            self.best = Some(Refusal::new(
                Reason::TooComplex,
                format!(
                    "its certificates cross each other in too many ways: after {MAX_SIGNATURES} signatures no chain \
                     was found"
                ),
            ));
        }
        spent
    }

    /// Whether `issuer` signed `certificate`.
    fn issued(&mut self, certificate: &Certificate, issuer: &Certificate) -> Result<(), Refusal> {
        self.signatures = self.signatures.saturating_add(1);
        let title = certificate.title();
        let key = issuer.usable_key()?;
        match certificate.signed.by(key) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Refusal::new(
                Reason::BadSignature,
                format!(
                    "the certificate {title} names {} as its issuer, but is not signed with its key",
                    issuer.title()
                ),
            )),
            Err(refusal) => Err(Refusal::new(
                refusal.reason,
                format!("the certificate {title}: {}", refusal.words),
            )),
        }
    }

    /// Depth first, the depth bounded by `MAX_BETWEEN`.
    fn extend(&mut self, path: &mut Vec<&'a Certificate>) -> Option<Path> {
        let last = *path.last()?;
        let mut known = false;
        for root in self.roots {
            if self.spent() {
                return None;
            }
            if root.certificate.subject.same(&last.issuer) && !last.issuer.is_empty() {
                known = true;
                match self
                    .issued(last, &root.certificate)
                    .and_then(|()| self.finish(path, root))
                {
                    Ok(found) => return Some(found),
                    Err(refusal) => self.remember(refusal),
                }
            }
        }
        let mut circle = false;
        let mut issuers: Vec<&'a Certificate> = Vec::new();
        for &candidate in &self.candidates {
            self.steps = self.steps.saturating_add(1);
            if candidate.subject.same(&last.issuer) && !last.issuer.is_empty() {
                let again = |seen: &&Certificate| {
                    seen.fingerprint == candidate.fingerprint && seen.subject.same(&candidate.subject)
                };
                if path.iter().any(again) {
                    circle = true;
                } else {
                    issuers.push(candidate);
                }
            }
        }
        // Those first that the certificate names by their key.
        let named =
            |issuer: &&Certificate| match (&last.extensions.authority_key, &issuer.extensions.subject_key) {
                (Some(wanted), Some(found)) => wanted != found,
                _ => true,
            };
        issuers.sort_by_key(named);
        if issuers.is_empty() && !known {
            let words = if circle {
                "its certificates lead in a circle, to no approved root".to_owned()
            } else {
                format!(
                    "no approved root and none of the certificates at hand is {}, who issued {}",
                    if last.facts.issuer.is_empty() {
                        "the one without a name"
                    } else {
                        &last.facts.issuer
                    },
                    last.title()
                )
            };
            self.remember(Refusal::new(Reason::UnknownIssuer, words));
        }
        for issuer in issuers {
            if self.spent() {
                return None;
            }
            if path.len() > MAX_BETWEEN {
                self.remember(Refusal::new(
                    Reason::TooComplex,
                    format!("more than {MAX_BETWEEN} certificates stand between the signer and a root"),
                ));
                return None;
            }
            let fit = self
                .issued(last, issuer)
                .and_then(|()| authority(issuer, self.moment));
            if let Err(refusal) = fit {
                self.remember(refusal);
                continue;
            }
            path.push(issuer);
            let found = self.extend(path);
            path.pop();
            if found.is_some() {
                return found;
            }
        }
        None
    }

    /// Everything that concerns the chain as a whole, once it reaches a root.
    fn finish(&self, path: &[&Certificate], root: &Root) -> Result<Path, Refusal> {
        let mut chain: Vec<&Certificate> = path.to_vec();
        if !chain
            .iter()
            .any(|certificate| certificate.der == root.certificate.der)
        {
            authority(&root.certificate, self.moment)?;
            chain.push(&root.certificate);
        }
        lengths(&chain)?;
        name_constraints(&chain)?;
        if let Role::Signer(_) = self.role {
            usage(&chain, root)?;
        }
        let mut notes = self.revocation(&chain)?;
        for certificate in &chain {
            if certificate.facts.not_after < self.now {
                notes.push(format!(
                    "The certificate of {} was valid at the time that counts and has expired since, on {}.",
                    certificate.title(),
                    time::format(certificate.facts.not_after)
                ));
            }
        }
        if let Some(leaf) = chain.first() {
            root.approved(self.role, leaf, self.moment.at)
                .map_err(|words| Refusal::new(Reason::NotApproved, words))?;
        }
        Ok(Path {
            chain: chain
                .iter()
                .map(|certificate| certificate.facts.clone())
                .collect(),
            algorithms: chain
                .iter()
                .filter_map(|certificate| certificate.key.as_ref().ok().map(|key| key.algorithm))
                .collect(),
            root_id: root.id.clone(),
            notes,
        })
    }

    fn revocation(&self, chain: &[&Certificate]) -> Result<Vec<String>, Refusal> {
        let mut notes = Vec::new();
        for pair in chain.windows(2) {
            let [certificate, issuer] = pair else { continue };
            let title = certificate.title();
            match standing(&self.trust.crls, certificate, issuer, self.moment.at) {
                Standing::Good => {}
                Standing::Revoked(revoked) => notes.push(revoked.judge(&title, self.moment.at)?),
                Standing::Unknown(why) => {
                    let because = why.first().cloned().unwrap_or_else(|| {
                        format!("the trust file has no revocation list by {}", issuer.title())
                    });
                    if self.trust.revocation == Revocation::Required {
                        return Err(Refusal::new(
                            Reason::RevocationUnknown,
                            format!("whether the certificate of {title} was revoked is not known: {because}"),
                        ));
                    }
                    if !why.is_empty() {
                        notes.push(format!(
                            "Whether the certificate of {title} was revoked is not known: {because}."
                        ));
                    }
                }
            }
        }
        Ok(notes)
    }
}

/// pathLenConstraint (RFC 5280 §4.2.1.9): certificates below that do not issue themselves a new one.
fn lengths(chain: &[&Certificate]) -> Result<(), Refusal> {
    let mut below: usize = 0;
    for (place, certificate) in chain.iter().enumerate().skip(1) {
        let basic = certificate.extensions.basic.as_ref();
        if let Some(most) = basic.and_then(|basic| basic.path_len_constraint)
            && below > usize::from(most)
        {
            return Err(Refusal::new(
                Reason::PathLength,
                format!(
                    "{} allows {most} further authorities below it (pathLenConstraint), the chain has {below}",
                    certificate.title()
                ),
            ));
        }
        if !certificate.self_issued() && place < chain.len() {
            below = below.saturating_add(1);
        }
    }
    Ok(())
}

fn name_constraints(chain: &[&Certificate]) -> Result<(), Refusal> {
    let mut work = 0;
    for (place, authority) in chain.iter().enumerate() {
        let Some(constraints) = &authority.extensions.constraints else {
            continue;
        };
        for (below, certificate) in chain.iter().enumerate().take(place) {
            if below > 0 && certificate.self_issued() {
                continue;
            }
            constraints::check(constraints, certificate, &mut work).map_err(|why| {
                Refusal::new(
                    Reason::NameConstraint,
                    format!(
                        "the name constraints of {} do not allow the certificate {}: {why}",
                        authority.title(),
                        certificate.title()
                    ),
                )
            })?;
        }
    }
    Ok(())
}

/// The signer's certificate has a usage that the root is trusted for, and no authority on the way excludes it.
fn usage(chain: &[&Certificate], root: &Root) -> Result<(), Refusal> {
    let Some((leaf, issuers)) = chain.split_first() else {
        return Ok(());
    };
    let refuse = |found: String| {
        Refusal::new(
            Reason::Usage,
            format!(
                "the certificate of {} is not for this: root {:?} is trusted for {}, its extended key usage is {found}",
                leaf.title(),
                root.id,
                root.usages.words()
            ),
        )
    };
    let Some((usages, _)) = &leaf.extensions.usages else {
        return if root.usages.any {
            Ok(())
        } else {
            Err(refuse("absent".to_owned()))
        };
    };
    let between = issuers
        .split_last()
        .map(|(_, between)| between)
        .unwrap_or_default();
    let permitted = |usage: &ObjectIdentifier| {
        between.iter().all(|issuer| match &issuer.extensions.usages {
            Some((allowed, _)) => allowed.contains(usage) || allowed.contains(&ANY),
            None => true,
        })
    };
    let fits: Vec<_> = usages.iter().filter(|usage| root.usages.allow(usage)).collect();
    if fits.is_empty() {
        let found: Vec<String> = usages.iter().map(ToString::to_string).collect();
        return Err(refuse(found.join(", ")));
    }
    if fits.into_iter().any(permitted) {
        Ok(())
    } else {
        Err(refuse(
            "not among those that its authority may certify".to_owned(),
        ))
    }
}
