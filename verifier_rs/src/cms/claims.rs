//! What CMS signed data says about itself, for people: nothing here is proven.

use serde_json::{Map, Value, json};

use crate::cms::parse::{SignedData, SignerId, SignerInfo};
use crate::source::hex;
use crate::time;
use crate::x509::Certificate;

pub fn of(signed: &SignedData) -> Map<String, Value> {
    let signers = signed.signers.iter().map(|info| signer(signed, info));
    let certificates = signed.certificates.iter().map(certificate);
    let mut claims = Map::new();
    claims.insert("content_type".to_owned(), json!(signed.content_type.to_string()));
    claims.insert("signers".to_owned(), signers.collect());
    claims.insert("certificates".to_owned(), certificates.collect());
    claims
}

fn signer(signed: &SignedData, info: &SignerInfo) -> Value {
    let named = signed.certificates.iter().find(|found| info.id.names(found));
    let name = match (&info.id, named) {
        (_, Some(found)) => found.title(),
        (SignerId::Issued(_, serial), None) => format!("serial number {}", hex(serial)),
        (SignerId::KeyId(id), None) => format!("key identifier {}", hex(id)),
    };
    let claimed = match &info.attributes {
        Ok(Some(attributes)) => attributes.signing_time.map(time::format),
        _ => None,
    };
    json!({
        "signer": name,
        "digest": info.digest.as_ref().ok().map(|hash| hash.name()),
        "claimed_time": claimed,
        "time_stamps": info.tokens.len(),
    })
}

fn certificate(found: &Certificate) -> Value {
    json!({
        "subject": found.facts.subject,
        "issuer": found.facts.issuer,
        "not_before": time::format(found.facts.not_before),
        "not_after": time::format(found.facts.not_after),
        "serial": hex(&found.serial),
        "key": found.fingerprint,
    })
}
