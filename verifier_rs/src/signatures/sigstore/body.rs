//! What an entry of the log is about: the very signature, certificate and digest of the bundle (CVE-2022-36056).

use base64::Engine;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::encoding::{STANDARD, either};
use crate::json;
use crate::protobuf::Node;
use crate::signatures::sigstore::bundle::{Content, Entry, hash};
use crate::source::hex;
use crate::trust::Hash;
use crate::x509::Certificate;

/// What the bundle says, for each kind of entry to be compared with.
pub struct Said<'a> {
    pub certificate: &'a Certificate,
    pub content: &'a Content,
    /// What was signed: the file or the encoded statement, by the hash of the signature.
    pub hash: Hash,
    pub digest: &'a [u8],
}

fn compare(same: bool, what: &str) -> Result<(), String> {
    if same {
        Ok(())
    } else {
        Err(format!("the log's entry is about another {what}"))
    }
}

/// Whether the entry is about what the bundle says; if not, why.
pub fn check(entry: &Entry, said: &Said<'_>) -> Result<(), String> {
    let document = Value::Object(json::object(&entry.body).map_err(|why| format!("the log's entry: {why}"))?);
    let body = Node::of(&document);
    let (kind, version) = (body.need("kind")?.text()?, body.need("apiVersion")?.text()?);
    if kind != entry.kind || version != entry.version {
        return Err(format!(
            "the log's entry is of another kind than the bundle says, {}",
            crate::statements::shown(&format!("{kind} {version}"))
        ));
    }
    let spec = body.need("spec")?;
    match (kind, version, said.content) {
        ("hashedrekord", "0.0.1", Content::Message { .. }) => hashed(&spec, said),
        ("hashedrekord", "0.0.2", _) => hashed_v2(&spec.need("hashedRekordV002")?, said),
        ("dsse", "0.0.1", Content::Statement { envelope, .. }) => {
            payload(&spec.need("payloadHash")?, &envelope.payload)?;
            let list = spec.list("signatures")?;
            let only = single(&list)?;
            compare(
                only.need("signature")?.bytes()? == said.content.signature(),
                "signature",
            )?;
            pem(&only.need("verifier")?, said)
        }
        ("dsse", "0.0.2", Content::Statement { envelope, .. }) => {
            let spec = spec.need("dsseV002")?;
            let named = spec.need("payloadHash")?;
            let same = named.need("algorithm")?.text()? == "SHA2_256"
                && named.need("digest")?.bytes()? == Sha256::digest(&envelope.payload).as_slice();
            compare(same, "statement")?;
            let list = spec.list("signatures")?;
            signature_v2(single(&list)?, said)
        }
        ("intoto", "0.0.2", Content::Statement { envelope, .. }) => {
            let content = spec.need("content")?;
            payload(&content.need("payloadHash")?, &envelope.payload)?;
            let list = content.need("envelope")?.list("signatures")?;
            let only = single(&list)?;
            // The signature in base64 as it stood in the envelope, in base64 once more.
            let twice = only.need("sig")?.bytes()?;
            let once = std::str::from_utf8(&twice).ok().and_then(either);
            compare(once.as_deref() == Some(said.content.signature()), "signature")?;
            pem(&only.need("publicKey")?, said)
        }
        _ => Err(format!(
            "entries {} of logs are not supported for this kind of bundle; expected hashedrekord, dsse or intoto",
            crate::statements::shown(&format!("{kind} {version}"))
        )),
    }
}

fn single<'a, 'b>(list: &'a [Node<'b>]) -> Result<&'a Node<'b>, String> {
    match list {
        [only] => Ok(only),
        _ => Err(format!(
            "the log's entry has {} signatures, expected one",
            list.len()
        )),
    }
}

fn hashed(spec: &Node<'_>, said: &Said<'_>) -> Result<(), String> {
    let named = spec.need("data")?.need("hash")?;
    let name = match said.hash {
        Hash::Sha256 => "sha256",
        Hash::Sha384 => "sha384",
        Hash::Sha512 => "sha512",
    };
    let same = named.need("algorithm")?.text()? == name && named.need("value")?.text()? == hex(said.digest);
    compare(same, "file")?;
    let signature = spec.need("signature")?;
    compare(
        signature.need("content")?.bytes()? == said.content.signature(),
        "signature",
    )?;
    pem(&signature.need("publicKey")?.need("content")?, said)
}

fn hashed_v2(spec: &Node<'_>, said: &Said<'_>) -> Result<(), String> {
    let named = spec.need("data")?;
    let same = hash(named.need("algorithm")?.text()?) == Some(said.hash)
        && named.need("digest")?.bytes()? == said.digest;
    compare(same, "file or statement")?;
    signature_v2(&spec.need("signature")?, said)
}

fn signature_v2(node: &Node<'_>, said: &Said<'_>) -> Result<(), String> {
    compare(
        node.need("content")?.bytes()? == said.content.signature(),
        "signature",
    )?;
    let certificate = node
        .need("verifier")?
        .need("x509Certificate")?
        .need("rawBytes")?
        .bytes()?;
    compare(certificate == said.certificate.der, "certificate")
}

fn payload(named: &Node<'_>, payload: &[u8]) -> Result<(), String> {
    let same = named.need("algorithm")?.text()? == "sha256"
        && named.need("value")?.text()? == hex(&Sha256::digest(payload));
    compare(same, "statement")
}

/// One certificate as PEM, in base64. Its lines may be of any length: it is only compared.
fn pem(node: &Node<'_>, said: &Said<'_>) -> Result<(), String> {
    let bytes = node.bytes()?;
    let text = std::str::from_utf8(&bytes).map_err(|_| node.wrong("expected PEM"))?;
    let inner = text
        .trim()
        .strip_prefix("-----BEGIN CERTIFICATE-----")
        .and_then(|rest| rest.strip_suffix("-----END CERTIFICATE-----"))
        .ok_or_else(|| node.wrong("expected a certificate as PEM"))?;
    let joined: String = inner.split_ascii_whitespace().collect();
    compare(
        STANDARD
            .decode(joined)
            .is_ok_and(|der| der == said.certificate.der),
        "certificate",
    )
}
