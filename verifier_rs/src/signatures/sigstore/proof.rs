//! Whether a bundle's certificate counts under one Sigstore instance of the trust file: its entry in the log, the times
//! that are proven, its chain at each of them, its certificate log, whom it names.

use der::asn1::ObjectIdentifier;
use der::{Decode, Tag};
use x509_cert::ext::pkix::name::GeneralName;

use crate::cms::timestamp::Token;
use crate::file::Request;
use crate::keys::method::digest_of;
use crate::signatures::sigstore::bundle::Bundle;
use crate::signatures::sigstore::{log, sct};
use crate::source::hex;
use crate::time;
use crate::trust::sigstore::{Identity, Log, Sigstore};
use crate::verdict::{Moment, TimeSource};
use crate::x509::path::{self, Role};
use crate::x509::tlv::only;
use crate::x509::{Certificate, Path, Refusal, extension};

/// Fulcio's issuer of the identity, as DER; the older extension has the bare text.
const ISSUER: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.1.8");
const ISSUER_V1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.1.1");
/// A user name, as an otherName.
const USER_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.1.7");
/// Clocks may differ by this many seconds before a log's time of the future is refused.
const SKEW: f64 = 300.0;

/// A certificate that counts.
pub struct Proven {
    pub moment: Moment,
    pub path: Path,
    pub log: String,
}

/// Why it does not; of several instances the one counts at which it came furthest.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub struct Refused {
    step: Step,
    pub words: String,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    UnknownLog,
    Log,
    Time,
    Chain,
    Approval,
    CertificateLog,
    Identity,
}

fn at(step: Step) -> impl FnOnce(String) -> Refused {
    move |words| Refused { step, words }
}

/// The whole proof, step by step. Whether the signature holds, and whether the log's entry is about it, is not asked
/// here.
pub fn check(bundle: &Bundle, instance: &Sigstore, request: &Request<'_>) -> Result<Proven, Refused> {
    let log = known_log(bundle, instance).map_err(at(Step::UnknownLog))?;
    log::check(&bundle.entry, log)
        .map_err(|why| format!("the log's entry does not count: {why}"))
        .map_err(at(Step::Log))?;
    let moments = times(bundle, log, instance, request).map_err(at(Step::Time))?;
    let mut found = None;
    for moment in moments {
        let chain = chain(bundle, instance, request, &moment).map_err(at(Step::Chain))?;
        instance
            .approved(request.purpose, moment.at)
            .map_err(at(Step::Approval))?;
        found.get_or_insert((moment, chain));
    }
    let Some((moment, (path, issuer))) = found else {
        return Err(at(Step::Time)("no time is proven".to_owned()));
    };
    sct::check(&bundle.certificate, issuer, instance).map_err(at(Step::CertificateLog))?;
    identity(&bundle.certificate, instance).map_err(at(Step::Identity))?;
    Ok(Proven {
        moment,
        path,
        log: log.name.clone(),
    })
}

fn known_log<'a>(bundle: &Bundle, instance: &'a Sigstore) -> Result<&'a Log, String> {
    let named = |log: &&Log| log.id == bundle.entry.log;
    instance.logs.iter().find(named).ok_or_else(|| {
        format!(
            "the log {} is none of the trusted root of {:?}",
            hex(&bundle.entry.log),
            instance.id
        )
    })
}

/// Every time that is proven, time stamps first; at least one. A time stamp that does not count is refused, not passed
/// over.
fn times(
    bundle: &Bundle,
    log: &Log,
    instance: &Sigstore,
    request: &Request<'_>,
) -> Result<Vec<Moment>, String> {
    let mut moments = Vec::new();
    for stamp in &bundle.stamps {
        let token = Token::parse(stamp).map_err(|why| format!("its time stamp cannot be read: {why}"))?;
        if !token.over(&digest_of(token.hash, &[bundle.content.signature()])) {
            return Err("its time stamp is over something else than its signature".to_owned());
        }
        let mut refused = None;
        let moment = instance.clocks.iter().find_map(|clock| {
            let proven = match token.verify(&clock.trust, request.at, None) {
                Ok(moment) => moment,
                Err(unproven) => {
                    refused.get_or_insert(unproven.why);
                    return None;
                }
            };
            if clock.validity.holds(token.generated) {
                return Some(proven);
            }
            refused = Some(format!(
                "its authority counts for another time than {}",
                time::format(token.generated)
            ));
            None
        });
        moments.push(moment.ok_or_else(|| {
            let why = refused.unwrap_or_else(|| "the trusted root names no time-stamp authority".to_owned());
            format!("its time stamp does not count: {why}")
        })?);
    }
    // Whatever time a log writes down, only its promise signs it.
    if let (Some(_), Some(seconds)) = (&bundle.entry.promise, bundle.entry.integrated) {
        let seconds = u32::try_from(seconds).map_or(f64::INFINITY, f64::from);
        moments.push(Moment {
            at: seconds,
            source: TimeSource::Timestamp {
                authority: format!("log {}", log.name),
            },
        });
    }
    if moments.is_empty() {
        return Err(
            "nothing proves when it was made: it has neither a time stamp nor a signed entry timestamp"
                .to_owned(),
        );
    }
    for moment in &moments {
        if moment.at > request.at + SKEW {
            return Err(format!(
                "it is dated {}, after the time of receipt, {}",
                moment.words(),
                time::format(request.at)
            ));
        }
        if !log.validity.holds(moment.at) {
            return Err(format!("log {} does not count at {}", log.name, moment.words()));
        }
    }
    Ok(moments)
}

/// A chain to an authority that counted at that time, and who issued the signer's certificate.
fn chain<'a>(
    bundle: &Bundle,
    instance: &'a Sigstore,
    request: &Request<'_>,
    moment: &Moment,
) -> Result<(Path, &'a Certificate), String> {
    let leaf = &bundle.certificate;
    let role = Role::Signer(request.purpose);
    let mut refused: Option<Refusal> = None;
    let mut counting = instance.authorities.iter();
    while let Some(authority) = counting.find(|authority| authority.validity.holds(moment.at)) {
        match path::check(leaf, [], &authority.trust, role, moment, request.at) {
            Ok(path) => {
                let issued = |issuer: &&Certificate| {
                    let key = issuer.usable_key();
                    key.is_ok_and(|key| leaf.signed.by(key) == Ok(true))
                };
                let issuer = authority.certificates().find(issued);
                return Ok((path, issuer.ok_or("nobody is known who issued the certificate")?));
            }
            Err(refusal) => {
                if refused.as_ref().is_none_or(|best| best.reason < refusal.reason) {
                    refused = Some(refusal);
                }
            }
        }
    }
    Err(refused.map_or_else(
        || {
            format!(
                "no certificate authority of the trusted root counts at {}",
                moment.words()
            )
        },
        |refusal| refusal.words,
    ))
}

/// Exactly one name, vouched for by an issuer; both as the trust file has them.
fn identity(leaf: &Certificate, instance: &Sigstore) -> Result<(), String> {
    let signs = leaf
        .extensions
        .key_usage
        .is_some_and(|usage| usage.digital_signature());
    if !signs {
        return Err("the certificate's key usage does not name digitalSignature".to_owned());
    }
    let subject = subject(leaf)?;
    let issuer = issuer(leaf)?;
    let same = |one: &&Identity| one.subject == subject && one.issuer == issuer;
    if instance.identities.iter().any(|one| same(&one)) {
        return Ok(());
    }
    let shown = crate::statements::shown;
    let by_another = instance.identities.iter().any(|one| one.subject == subject);
    Err(if by_another {
        format!(
            "the identity {:?} is approved, but not as vouched for by the issuer {:?}",
            shown(&subject),
            shown(&issuer)
        )
    } else {
        format!(
            "the identity {:?} (issuer {:?}) is none of those that are approved for {:?}",
            shown(&subject),
            shown(&issuer),
            instance.id
        )
    })
}

/// The one alternative name: a URI, an e-mail address or a user name.
pub fn subject(leaf: &Certificate) -> Result<String, String> {
    let names = match &leaf.extensions.names {
        Some(Ok(names)) => names.as_slice(),
        Some(Err(why)) => return Err(format!("the certificate's names: {why}")),
        None => &[],
    };
    let [only_name] = names else {
        return Err(format!(
            "the certificate has {} alternative names, expected one",
            names.len()
        ));
    };
    match only_name {
        GeneralName::UniformResourceIdentifier(uri) => Ok(uri.as_str().to_owned()),
        GeneralName::Rfc822Name(address) => Ok(address.as_str().to_owned()),
        GeneralName::OtherName(other) if other.type_id == USER_NAME => other
            .value
            .decode_as::<der::asn1::Utf8StringRef<'_>>()
            .map(|name| name.as_str().to_owned())
            .map_err(|error| format!("the certificate's user name cannot be read ({error})")),
        _ => Err("the certificate's name is no URI, e-mail address or user name".to_owned()),
    }
}

/// Who vouched for the identity; where both extensions say so, they must agree.
pub fn issuer(leaf: &Certificate) -> Result<String, String> {
    let body = &leaf.signed.message;
    let text = |bytes: &[u8]| {
        String::from_utf8(bytes.to_owned()).map_err(|_| "the certificate's issuer is no UTF-8".to_owned())
    };
    let old = extension::value(body, ISSUER_V1)?;
    let old = old.as_deref().map(text).transpose()?;
    let Some(value) = extension::value(body, ISSUER)? else {
        return old.ok_or_else(|| "the certificate does not say who vouched for its identity".to_owned());
    };
    let item = only(&value, Tag::Utf8String, "the issuer")?;
    let new = der::asn1::Utf8StringRef::from_der(item.whole)
        .map_err(|error| format!("the certificate's issuer cannot be read ({error})"))?;
    match old {
        Some(old) if old != new.as_str() => {
            Err("the certificate names two different issuers of its identity".to_owned())
        }
        _ => Ok(new.as_str().to_owned()),
    }
}
