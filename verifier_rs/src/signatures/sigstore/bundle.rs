//! A bundle (protobuf-specs, `sigstore_bundle.proto`) as ProtoJSON, versions 0.1 to 0.3; nothing in it is worth
//! anything yet.

use serde_json::Value;

use crate::json;
use crate::protobuf::Node;
use crate::statements::dsse::Envelope;
use crate::statements::in_toto::Facts;
use crate::trust::Hash;
use crate::x509::Certificate;

/// A bundle is small, apart from the statement in it.
pub const MAX_BUNDLE: usize = 16 * 1024 * 1024;
/// Certificates that come along with the signer's.
const MAX_CHAIN: usize = 8;
pub const MAX_STAMPS: usize = 8;
/// A tree of 2⁶⁴ leaves has no longer path.
const MAX_PATH: usize = 64;
const MEDIA_TYPES: [(&str, Version); 4] = [
    (
        "application/vnd.dev.sigstore.bundle+json;version=0.1",
        Version::V1,
    ),
    (
        "application/vnd.dev.sigstore.bundle+json;version=0.2",
        Version::V2,
    ),
    (
        "application/vnd.dev.sigstore.bundle+json;version=0.3",
        Version::V3,
    ),
    ("application/vnd.dev.sigstore.bundle.v0.3+json", Version::V3),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    V1,
    V2,
    V3,
}

impl Version {
    pub fn name(self) -> &'static str {
        match self {
            Version::V1 => "0.1",
            Version::V2 => "0.2",
            Version::V3 => "0.3",
        }
    }
}

pub struct Bundle {
    pub version: Version,
    /// The signer's.
    pub certificate: Certificate,
    pub content: Content,
    pub entry: Entry,
    /// Time stamps over the signature.
    pub stamps: Vec<Vec<u8>>,
}

pub enum Content {
    /// A signature over a file.
    Message {
        digest: Option<(Hash, Vec<u8>)>,
        signature: Vec<u8>,
    },
    /// A signed statement about files.
    Statement {
        envelope: Box<Envelope>,
        facts: Box<Facts>,
    },
}

impl Content {
    pub fn signature(&self) -> &[u8] {
        match self {
            Content::Message { signature, .. } => signature,
            Content::Statement { envelope, .. } => envelope
                .signatures
                .first()
                .map(|signature| signature.value.as_slice())
                .unwrap_or_default(),
        }
    }
}

/// What the log of signatures wrote down.
pub struct Entry {
    pub index: u64,
    pub log: Vec<u8>,
    pub kind: String,
    pub version: String,
    /// Seconds since 1970; proven by the promise alone.
    pub integrated: Option<u64>,
    /// The signed entry timestamp.
    pub promise: Option<Vec<u8>>,
    pub proof: Option<Proof>,
    pub body: Vec<u8>,
}

pub struct Proof {
    pub index: u64,
    pub size: u64,
    pub root: Vec<u8>,
    pub hashes: Vec<Vec<u8>>,
    pub checkpoint: String,
}

/// What protobuf-specs calls the hash algorithms that are strong enough.
pub fn hash(name: &str) -> Option<Hash> {
    match name {
        "SHA2_256" => Some(Hash::Sha256),
        "SHA2_384" => Some(Hash::Sha384),
        "SHA2_512" => Some(Hash::Sha512),
        _ => None,
    }
}

impl Bundle {
    pub fn read(content: &[u8]) -> Result<Self, String> {
        if content.len() > MAX_BUNDLE {
            return Err(format!(
                "expected at most {MAX_BUNDLE} bytes, found {}",
                content.len()
            ));
        }
        let document = Value::Object(json::object(content)?);
        let bundle = Node::of(&document);
        bundle.only(&[
            "mediaType",
            "verificationMaterial",
            "messageSignature",
            "dsseEnvelope",
        ])?;
        let kind = bundle.need("mediaType")?;
        let version = MEDIA_TYPES.iter().find(|(name, _)| Ok(*name) == kind.text());
        let (_, version) =
            *version.ok_or_else(|| kind.wrong("expected a Sigstore bundle of version 0.1, 0.2 or 0.3"))?;
        let material = bundle.need("verificationMaterial")?;
        material.only(&[
            "x509CertificateChain",
            "certificate",
            "publicKey",
            "tlogEntries",
            "timestampVerificationData",
        ])?;
        let entries = material.list("tlogEntries")?;
        let [entry] = entries.as_slice() else {
            return Err(material.wrong(&format!(
                "expected one entry of a log in tlogEntries, found {}",
                entries.len()
            )));
        };
        let entry = Entry::read(entry)?;
        if entry.proof.is_none() && (version > Version::V1 || entry.promise.is_none()) {
            return Err(material.wrong(&format!(
                "a bundle of version {} needs an inclusion proof, found none",
                version.name()
            )));
        }
        Ok(Bundle {
            version,
            certificate: certificate(&material, version)?,
            content: Content::read(&bundle)?,
            entry,
            stamps: stamps(&material)?,
        })
    }
}

fn certificate(material: &Node<'_>, version: Version) -> Result<Certificate, String> {
    let given = ["x509CertificateChain", "certificate", "publicKey"];
    let found: Vec<&str> = given
        .into_iter()
        .filter(|name| matches!(material.get(name), Ok(Some(_))))
        .collect();
    let read = |node: &Node<'_>| {
        node.only(&["rawBytes"])?;
        let bytes = node.need("rawBytes")?;
        Certificate::from_der(&bytes.bytes()?).map_err(|why| bytes.wrong(&why))
    };
    match found.as_slice() {
        ["certificate"] => read(&material.need("certificate")?),
        ["x509CertificateChain"] if version < Version::V3 => {
            let chain = material.need("x509CertificateChain")?;
            chain.only(&["certificates"])?;
            let entries = chain.list("certificates")?;
            if entries.is_empty() || entries.len() > MAX_CHAIN {
                return Err(chain.wrong(&format!(
                    "expected 1 to {MAX_CHAIN} certificates, found {}",
                    entries.len()
                )));
            }
            let mut certificates = entries.iter().map(read).collect::<Result<Vec<_>, String>>()?;
            if certificates
                .iter()
                .any(|one| one.self_issued() && one.authority())
            {
                return Err(chain.wrong("it holds a root; roots come from the trust file only"));
            }
            Ok(certificates.swap_remove(0))
        }
        ["x509CertificateChain"] => Err(material.wrong("version 0.3 has one certificate, not a chain")),
        ["publicKey"] => Err(material.wrong(
            "it is signed with a key of its own and no certificate, which is not supported; give the signature alone \
             and approve the key",
        )),
        _ => Err(material.wrong(&format!("expected one certificate, found {found:?}"))),
    }
}

fn stamps(material: &Node<'_>) -> Result<Vec<Vec<u8>>, String> {
    let Some(data) = material.get("timestampVerificationData")? else {
        return Ok(Vec::new());
    };
    data.only(&["rfc3161Timestamps"])?;
    let stamps = data.list("rfc3161Timestamps")?;
    if stamps.len() > MAX_STAMPS {
        return Err(data.wrong(&format!(
            "expected at most {MAX_STAMPS} time stamps, found {}",
            stamps.len()
        )));
    }
    let read = |stamp: &Node<'_>| {
        stamp.only(&["signedTimestamp"])?;
        stamp.need("signedTimestamp")?.bytes()
    };
    stamps.iter().map(read).collect()
}

impl Content {
    fn read(bundle: &Node<'_>) -> Result<Self, String> {
        match (bundle.get("messageSignature")?, bundle.get("dsseEnvelope")?) {
            (Some(message), None) => {
                message.only(&["messageDigest", "signature"])?;
                let digest = message.get("messageDigest")?.map(|node| {
                    node.only(&["algorithm", "digest"])?;
                    let name = node.need("algorithm")?;
                    let hash = hash(name.text()?)
                        .ok_or_else(|| name.wrong("expected SHA2_256, SHA2_384 or SHA2_512"))?;
                    Ok::<_, String>((hash, node.need("digest")?.bytes()?))
                });
                let signature = message.need("signature")?;
                let bytes = signature.bytes()?;
                if bytes.is_empty() {
                    return Err(signature.wrong("it is empty"));
                }
                Ok(Content::Message {
                    digest: digest.transpose()?,
                    signature: bytes,
                })
            }
            (None, Some(node)) => {
                node.only(&["payload", "payloadType", "signatures"])?;
                let text = node.value().to_string();
                let envelope = Envelope::parse(text.as_bytes()).map_err(|finding| finding.reason)?;
                if envelope.signatures.len() != 1 {
                    return Err(node.wrong(&format!(
                        "expected one signature, found {}",
                        envelope.signatures.len()
                    )));
                }
                // The bytes that are verified are the bytes that are parsed.
                let facts = Facts::read(&envelope.payload)?;
                Ok(Content::Statement {
                    envelope: Box::new(envelope),
                    facts: Box::new(facts),
                })
            }
            _ => Err("expected either messageSignature or dsseEnvelope".to_owned()),
        }
    }
}

impl Entry {
    fn read(node: &Node<'_>) -> Result<Self, String> {
        node.only(&[
            "logIndex",
            "logId",
            "kindVersion",
            "integratedTime",
            "inclusionPromise",
            "inclusionProof",
            "canonicalizedBody",
        ])?;
        let log = node.need("logId")?;
        log.only(&["keyId"])?;
        let kind = node.need("kindVersion")?;
        kind.only(&["kind", "version"])?;
        let promise = node.get("inclusionPromise")?.map(|promise| {
            promise.only(&["signedEntryTimestamp"])?;
            promise.need("signedEntryTimestamp")?.bytes()
        });
        let integrated = node.get("integratedTime")?.map(|time| time.number());
        let index = node.get("logIndex")?.map(|index| index.number());
        Ok(Entry {
            // ProtoJSON may leave out what is 0.
            index: index.transpose()?.unwrap_or_default(),
            log: log.need("keyId")?.bytes()?,
            kind: kind.need("kind")?.text()?.to_owned(),
            version: kind.need("version")?.text()?.to_owned(),
            integrated: integrated.transpose()?.filter(|time| *time != 0),
            promise: promise.transpose()?,
            proof: node
                .get("inclusionProof")?
                .map(|proof| Proof::read(&proof))
                .transpose()?,
            body: node.need("canonicalizedBody")?.bytes()?,
        })
    }
}

impl Proof {
    fn read(node: &Node<'_>) -> Result<Self, String> {
        node.only(&["logIndex", "rootHash", "treeSize", "hashes", "checkpoint"])?;
        let checkpoint = node.need("checkpoint")?;
        checkpoint.only(&["envelope"])?;
        let hashes = node.list("hashes")?;
        if hashes.len() > MAX_PATH {
            return Err(node.wrong(&format!(
                "expected at most {MAX_PATH} hashes, found {}",
                hashes.len()
            )));
        }
        let index = node.get("logIndex")?.map(|index| index.number());
        Ok(Proof {
            index: index.transpose()?.unwrap_or_default(),
            size: node.need("treeSize")?.number()?,
            root: node.need("rootHash")?.bytes()?,
            hashes: hashes.iter().map(Node::bytes).collect::<Result<_, _>>()?,
            checkpoint: checkpoint.need("envelope")?.text()?.to_owned(),
        })
    }
}
