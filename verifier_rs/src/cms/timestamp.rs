//! Time stamps (RFC 3161, RFC 5816): that something existed at a time, said by an authority of the trust file.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use der::Tag;
use der::asn1::ObjectIdentifier;
use spki::AlgorithmIdentifierRef;

use crate::cms::attributes::SignedAttributes;
use crate::cms::ber;
use crate::cms::parse::{SignedData, SignerInfo};
use crate::file::Request;
use crate::keys::method::digest_of;
use crate::outcome::{Finding, Outcome};
use crate::time;
use crate::trust::{Hash, Trust};
use crate::verdict::{Moment, TimeSource, sentence};
use crate::x509::path::{self, Role};
use crate::x509::scheme;
use crate::x509::tlv::{Item, only, primitive};
use crate::x509::{Certificate, Reason, Refusal};

/// A token or response is small, whatever it stamps.
pub const MAX_TOKEN: usize = 256 * 1024;
/// Clocks may differ by this many seconds before a stamp of the future is refused.
const SKEW: f64 = 300.0;

/// id-ct-TSTInfo
const TST_INFO: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.1.4");

/// A time stamp that was read, and not yet believed.
pub struct Token {
    signed: SignedData,
    /// Of what was stamped.
    pub hash: Hash,
    imprint: Vec<u8>,
    /// Seconds since 1970.
    pub generated: f64,
    /// Seconds around it.
    accuracy: f64,
    nonce: Option<Vec<u8>>,
}

/// Why a stamp does not count.
#[derive(Debug)]
pub struct Unproven {
    pub outcome: Outcome,
    /// A clause without a full stop.
    pub why: String,
}

impl From<Refusal> for Unproven {
    fn from(refusal: Refusal) -> Self {
        // That nobody here knows the authority says nothing against the stamp.
        let outcome = match refusal.reason {
            Reason::UnknownIssuer => Outcome::Warn,
            _ => Outcome::Fail,
        };
        Unproven {
            outcome,
            why: refusal.words,
        }
    }
}

fn fail(why: impl Into<String>) -> Unproven {
    Unproven {
        outcome: Outcome::Fail,
        why: why.into(),
    }
}

impl Token {
    /// Read a TimeStampResp or a bare TimeStampToken, in DER or BER.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() > MAX_TOKEN {
            return Err(format!(
                "expected at most {MAX_TOKEN} bytes, found {}",
                bytes.len()
            ));
        }
        let der = ber::to_der(bytes)?;
        let outer = only(&der, Tag::Sequence, "the time stamp")?;
        let mut parts = outer.open()?;
        let first = parts.any("the time stamp")?;
        let signed = if first.tag == Tag::Sequence {
            granted(&first)?;
            let token = parts.expect(Tag::Sequence, "the token")?;
            parts.end("the response")?;
            SignedData::parse(token.whole)?
        } else {
            SignedData::parse(&der)?
        };
        if signed.content_type != TST_INFO {
            return Err(format!(
                "expected the content TSTInfo, found {}",
                signed.content_type
            ));
        }
        let info = signed.content.as_deref().ok_or("the token holds no TSTInfo")?;
        let info = only(info, Tag::Sequence, "TSTInfo")?;
        let mut parts = info.open()?;
        let version: u8 = parts.expect(Tag::Integer, "the version")?.read("the version")?;
        if version != 1 {
            return Err(format!("expected version 1 of TSTInfo, found {version}"));
        }
        parts.expect(Tag::ObjectIdentifier, "the policy")?;
        let mut imprint = parts.expect(Tag::Sequence, "the message imprint")?.open()?;
        let algorithm: AlgorithmIdentifierRef<'_> = imprint
            .expect(Tag::Sequence, "the imprint's algorithm")?
            .read("the imprint's algorithm")?;
        let hashed = imprint.expect(Tag::OctetString, "the imprint")?.value.to_owned();
        imprint.end("the message imprint")?;
        parts.expect(Tag::Integer, "the serial number")?;
        let generated = parts.expect(Tag::GeneralizedTime, "genTime")?;
        let generated = general_time(generated.value).ok_or("genTime is not a time in UTC")?;
        let accuracy = match parts.optional(Tag::Sequence, "the accuracy")? {
            Some(item) => accuracy(&item)?,
            None => 0.0,
        };
        parts.optional(Tag::Boolean, "ordering")?;
        let nonce = parts
            .optional(Tag::Integer, "the nonce")?
            .map(|item| item.value.to_owned());
        // tsa and extensions say nothing that we rely on; a critical extension would.
        parts.optional(crate::x509::tlv::tagged(0), "the authority's name")?;
        if let Some(extensions) = parts.optional(crate::x509::tlv::tagged(1), "the extensions")? {
            no_critical(&extensions)?;
        }
        parts.end("TSTInfo")?;
        Ok(Token {
            hash: scheme::hash(&algorithm).map_err(|refusal| refusal.words)?,
            imprint: hashed,
            generated,
            accuracy,
            nonce,
            signed,
        })
    }

    /// Whether it is over something with this digest (by `self.hash`).
    pub fn over(&self, digest: &[u8]) -> bool {
        !digest.is_empty() && self.imprint == digest
    }

    /// The time that it proves, if everything about it counts. Whether it is over the right thing is `over`'s to say.
    pub fn verify(&self, trust: &Trust, now: f64, nonce: Option<&[u8]>) -> Result<Moment, Unproven> {
        // 1. exactly one signer, the authority (RFC 3161 §2.4.2).
        let [signer] = self.signed.signers.as_slice() else {
            return Err(fail(format!(
                "expected one signer, found {}",
                self.signed.signers.len()
            )));
        };
        if let Some(wanted) = nonce
            && self.nonce.as_deref() != Some(wanted)
        {
            return Err(fail("its nonce is not the one that was asked for"));
        }
        // 2. its signed attributes bind TSTInfo, and name its certificate.
        let attributes = match &signer.attributes {
            Ok(Some(attributes)) => attributes,
            Ok(None) => return Err(fail("it has no signed attributes")),
            Err(why) => return Err(fail(why.as_str())),
        };
        if attributes.content_type != TST_INFO {
            return Err(fail("its signed attributes are about another type of content"));
        }
        let info = self.signed.content.as_deref().unwrap_or_default();
        let hash = signer.digest.clone()?;
        if attributes.message_digest != digest_of(hash, &[info]) {
            return Err(fail("its content is not what the authority signed"));
        }
        let authorities = &trust.timestamp_authorities;
        let given = self.signed.certificates.iter();
        let candidates = given.chain(authorities.iter().map(|authority| &authority.certificate));
        let mut leaves = candidates.filter(|certificate| signer.id.names(certificate));
        let Some(leaf) = leaves.find(|leaf| names(attributes, leaf)) else {
            return Err(fail(
                "none of its certificates is the one that the authority signed to be its own (ESSCertID, RFC 5816 \
                 §2.2.1)",
            ));
        };
        // 3. the authority's signature.
        let holds =
            signer
                .scheme
                .clone()?
                .verify(leaf.usable_key()?, &attributes.message, &signer.signature)?;
        if !holds {
            return Err(fail(format!("it is not signed with the key of {}", leaf.title())));
        }
        // 4. its chain, at the time that it says.
        let (from, until) = (self.generated - self.accuracy, self.generated + self.accuracy);
        if from > now + SKEW {
            return Err(fail(format!(
                "it is dated {}, after the time of receipt, {}",
                time::format(self.generated),
                time::format(now)
            )));
        }
        if from < leaf.facts.not_before || until > leaf.facts.not_after {
            return Err(fail(format!(
                "it is dated {} (within {} s), outside of the validity of the authority's certificate {}, {} to {}",
                time::format(self.generated),
                self.accuracy,
                leaf.title(),
                time::format(leaf.facts.not_before),
                time::format(leaf.facts.not_after)
            )));
        }
        let claimed = Moment {
            at: until,
            source: TimeSource::Timestamp {
                authority: leaf.title(),
            },
        };
        let found = path::check(
            leaf,
            &self.signed.certificates,
            trust,
            Role::TimeStamp,
            &claimed,
            now,
        )?;
        Ok(Moment {
            at: until,
            source: TimeSource::Timestamp {
                authority: found.root_id,
            },
        })
    }
}

/// The time that a token or response over `message` proves, where everything about it counts. `nonce` is the content
/// of the INTEGER that was asked with.
pub fn verify_over(
    token: &[u8],
    message: &[u8],
    trust: &Trust,
    now: f64,
    nonce: Option<&[u8]>,
) -> Result<Moment, Unproven> {
    let token = Token::parse(token).map_err(|why| Unproven {
        outcome: Outcome::Unreadable,
        why: format!("it cannot be read: {why}"),
    })?;
    if !token.over(&digest_of(token.hash, &[message])) {
        return Err(fail("it is over something else"));
    }
    token.verify(trust, now, nonce)
}

/// PKIStatusInfo: granted, or granted with changes.
fn granted(status: &Item<'_>) -> Result<(), String> {
    let number: i32 = status
        .open()?
        .expect(Tag::Integer, "the status")?
        .read("the status")?;
    match number {
        0 | 1 => Ok(()),
        other => Err(format!("the authority did not grant it (status {other})")),
    }
}

fn accuracy(item: &Item<'_>) -> Result<f64, String> {
    let mut parts = item.open()?;
    let mut sum = 0.0;
    if let Some(seconds) = parts.optional(Tag::Integer, "seconds")? {
        sum += f64::from(seconds.read::<u32>("seconds")?);
    }
    for (number, scale) in [(0, 1e3), (1, 1e6)] {
        if let Some(item) = parts.optional(primitive(number), "a fraction of a second")? {
            let [high @ .., low] = item.value else {
                return Err("a fraction of a second is empty".to_owned());
            };
            let value = match high {
                [] => u16::from(*low),
                [high] => u16::from(*high) << 8 | u16::from(*low),
                _ => return Err("a fraction of a second is a whole one".to_owned()),
            };
            if !(1..=999).contains(&value) {
                return Err("a fraction of a second is not between 1 and 999".to_owned());
            }
            sum += f64::from(value) / scale;
        }
    }
    parts.end("the accuracy")?;
    Ok(sum)
}

/// GeneralizedTime as RFC 3161 §2.4.2 has it: UTC, and fractions of a second without trailing zeros.
fn general_time(bytes: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(bytes).ok()?.strip_suffix('Z')?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if whole.len() != 14 || text.ends_with(['0', '.']) && text.len() != 14 {
        return None;
    }
    let part = |from: usize, to: usize| whole.get(from..to);
    let mut readable = format!(
        "{}-{}-{}T{}:{}:{}",
        part(0, 4)?,
        part(4, 6)?,
        part(6, 8)?,
        part(8, 10)?,
        part(10, 12)?,
        part(12, 14)?
    );
    if !fraction.is_empty() {
        readable.push('.');
        readable.push_str(fraction);
    }
    time::parse(&format!("{readable}Z"))
}

fn no_critical(extensions: &Item<'_>) -> Result<(), String> {
    let mut list = extensions.open()?;
    while !list.is_empty() {
        let mut parts = list.expect(Tag::Sequence, "an extension")?.open()?;
        let kind = parts.expect(Tag::ObjectIdentifier, "an extension's type")?;
        let kind: ObjectIdentifier = kind.read("an extension's type")?;
        if parts
            .optional(Tag::Boolean, "critical")?
            .is_some_and(|item| item.value != [0])
        {
            return Err(format!(
                "it has the critical extension {kind}, which is not known here"
            ));
        }
    }
    Ok(())
}

/// Whether the signer signed that this certificate is its own: ESSCertID by SHA-1, ESSCertIDv2 by SHA-2.
fn names(attributes: &SignedAttributes, leaf: &Certificate) -> bool {
    let first =
        |der: &Option<Vec<u8>>| -> Option<Result<bool, String>> { der.as_ref().map(|der| ess(der, leaf)) };
    match (
        first(&attributes.signing_certificate_v2),
        first(&attributes.signing_certificate),
    ) {
        (Some(Ok(v2)), Some(Ok(v1))) => v2 && v1,
        (Some(Ok(only)), None) | (None, Some(Ok(only))) => only,
        _ => false,
    }
}

/// SigningCertificate and SigningCertificateV2 (RFC 5035 §3, §5): the first entry is the signer's.
fn ess(der: &[u8], leaf: &Certificate) -> Result<bool, String> {
    let mut entries = only(der, Tag::Sequence, "signingCertificate")?
        .open()?
        .expect(Tag::Sequence, "the certificates")?
        .open()?;
    let mut entry = entries.expect(Tag::Sequence, "ESSCertID")?.open()?;
    let algorithm = entry.optional(Tag::Sequence, "the hash algorithm")?;
    let named = entry.expect(Tag::OctetString, "the certificate's hash")?.value;
    let issuer = entry.optional(Tag::Sequence, "issuer and serial number")?;
    entry.end("ESSCertID")?;
    let computed = match algorithm {
        Some(item) => {
            let hash = scheme::hash(&item.read::<AlgorithmIdentifierRef<'_>>("the hash algorithm")?)
                .map_err(|refusal| refusal.words)?;
            digest_of(hash, &[&leaf.der])
        }
        None if named.len() == 20 => digest(&SHA1_FOR_LEGACY_USE_ONLY, &leaf.der).as_ref().to_owned(),
        None => digest_of(Hash::Sha256, &[&leaf.der]),
    };
    let same_serial = match issuer {
        None => true,
        Some(item) => {
            let mut parts = item.open()?;
            parts.expect(Tag::Sequence, "the issuer")?;
            let serial = parts.expect(Tag::Integer, "the serial number")?;
            serial.value == leaf.serial
        }
    };
    Ok(named == computed && same_serial)
}

/// The time that a stamp over this signer's signature proves, and what to say of it; `None` where there is none.
pub fn over_signature(signer: &SignerInfo, request: &Request<'_>) -> Option<(Option<Moment>, Finding)> {
    let mut best: Option<(Option<Moment>, Finding)> = None;
    for token in &signer.tokens {
        let judged = judge(token, "over the signature", &signer.signature, request);
        let better = match (&best, &judged.0) {
            (None, _) | (Some((None, _)), Some(_)) => true,
            (Some((Some(known), _)), Some(found)) => found.at < known.at,
            _ => false,
        };
        if better {
            best = Some(judged);
        }
    }
    best
}

fn judge(token: &[u8], where_to: &str, message: &[u8], request: &Request<'_>) -> (Option<Moment>, Finding) {
    let found = match Token::parse(token) {
        Ok(token) if token.over(&digest_of(token.hash, &[message])) => token,
        Ok(_) => {
            let why = Finding::new(
                Outcome::Fail,
                format!("The time stamp {where_to} is over something else."),
            );
            return (None, why);
        }
        Err(why) => {
            let words = format!("The time stamp {where_to} cannot be read: {why}.");
            return (None, Finding::new(Outcome::Unreadable, words));
        }
    };
    finding(&found, where_to, request)
}

/// What to say of a stamp that is over the right thing.
pub fn finding(token: &Token, where_to: &str, request: &Request<'_>) -> (Option<Moment>, Finding) {
    if request.trust.timestamp_authorities.is_empty() {
        let words = format!(
            "The time stamp {where_to} was not verified: the trust file names no time-stamp authority. The time of \
             receipt counts."
        );
        return (None, Finding::new(Outcome::NotApplicable, words));
    }
    match token.verify(request.trust, request.at, None) {
        Ok(moment) => {
            let words = format!(
                "The time stamp {where_to} proves that it existed at {}.",
                moment.words()
            );
            (Some(moment), Finding::new(Outcome::Pass, words))
        }
        Err(Unproven { outcome, why }) => {
            let words = format!(
                "The time stamp {where_to} does not count: {}. The time of receipt counts instead.",
                why
            );
            (None, Finding::new(outcome, sentence(words)))
        }
    }
}
