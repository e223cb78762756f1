//! Sigstore instances that count: a trusted root (protobuf-specs, `sigstore_trustroot.proto`) and whose signatures
//! under it are approved.

use serde::Deserialize;
use serde_json::Value;

use crate::json::Kept;
use crate::keys::method::Method;
use crate::keys::{Algorithm, PublicKey};
use crate::protobuf::Node;
use crate::time;
use crate::trust::roots::Root;
use crate::trust::{Options, Purpose, Trust};
use crate::x509::Certificate;

const MAX_INSTANCES: usize = 64;
const MAX_IDENTITIES: usize = 1_000;
/// Certificates of one authority.
const MAX_CHAIN: usize = 8;
const MEDIA_TYPES: [&str; 2] = [
    "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
    "application/vnd.dev.sigstore.trustedroot.v0.2+json",
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    pub id: String,
    trusted_root: Kept,
    identities: Vec<Identity>,
    purposes: Option<Vec<Purpose>>,
    builders: Option<Vec<String>>,
    not_before: Option<String>,
    not_after: Option<String>,
    distrusted_from: Option<String>,
}

/// Who may sign: whom the certificate names, and who vouched for that. Both are compared byte for byte.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    pub issuer: String,
    pub subject: String,
}

/// One instance of Sigstore and the identities whose signatures count.
pub struct Sigstore {
    pub id: String,
    pub identities: Vec<Identity>,
    /// Who may be named as builder (or verifier) in what these identities sign.
    pub builders: Vec<String>,
    /// Issue certificates (Fulcio).
    pub authorities: Vec<Authority>,
    /// Logs of certificates (RFC 6962).
    pub certificate_logs: Vec<Log>,
    /// Logs of signatures (Rekor).
    pub logs: Vec<Log>,
    /// Time-stamp authorities (RFC 3161).
    pub clocks: Vec<Authority>,
    purposes: Vec<Purpose>,
    not_before: Option<f64>,
    not_after: Option<f64>,
    distrusted_from: Option<f64>,
}

/// When a part of a trusted root counts; both ends belong to it.
pub struct Validity {
    from: f64,
    until: Option<f64>,
}

impl Validity {
    pub fn holds(&self, at: f64) -> bool {
        self.from <= at && self.until.is_none_or(|until| at <= until)
    }

    fn read(node: &Node<'_>) -> Result<Self, String> {
        node.only(&["start", "end"])?;
        let moment = |node: &Node<'_>| {
            time::parse(node.text()?)
                .ok_or_else(|| node.wrong("expected RFC 3339 such as 2026-01-31T12:00:00Z"))
        };
        let from = moment(&node.need("start")?)?;
        let until = node.get("end")?.map(|end| moment(&end)).transpose()?;
        if until.is_some_and(|until| until < from) {
            return Err(node.wrong("it ends before it starts"));
        }
        Ok(Validity { from, until })
    }
}

/// An authority: the trust that its chain alone gives.
pub struct Authority {
    pub validity: Validity,
    pub trust: Trust,
}

impl Authority {
    /// The certificates that may have issued a signer's.
    pub fn certificates(&self) -> impl Iterator<Item = &Certificate> {
        let roots = self.trust.roots.iter().map(|root| &root.certificate);
        self.trust.intermediates.iter().chain(roots)
    }
}

/// A log and its key.
pub struct Log {
    /// The host in its address.
    pub name: String,
    pub id: Vec<u8>,
    /// Or why we cannot check what it signs.
    pub key: Result<(PublicKey, Method), String>,
    pub validity: Validity,
}

impl Sigstore {
    pub fn read(entry: Entry) -> Result<Self, String> {
        super::check_id(&entry.id)?;
        if entry.identities.is_empty() || entry.identities.len() > MAX_IDENTITIES {
            return Err(format!(
                "identities: expected 1 to {MAX_IDENTITIES}, found {}",
                entry.identities.len()
            ));
        }
        let empty = |identity: &Identity| identity.issuer.is_empty() || identity.subject.is_empty();
        if entry.identities.iter().any(empty) {
            return Err(
                "identities: issuer and subject must not be empty; there are no wild cards".to_owned(),
            );
        }
        let not_before = super::moment("not_before", entry.not_before)?;
        let not_after = super::moment("not_after", entry.not_after)?;
        super::in_order(not_before, not_after)?;
        let Kept(root) = &entry.trusted_root;
        let mut read = Sigstore {
            purposes: super::purposes(entry.purposes)?,
            builders: super::builders(entry.builders)?,
            identities: entry.identities,
            authorities: Vec::new(),
            certificate_logs: Vec::new(),
            logs: Vec::new(),
            clocks: Vec::new(),
            not_before,
            not_after,
            distrusted_from: super::moment("distrusted_from", entry.distrusted_from)?,
            id: entry.id,
        };
        read.take(root).map_err(|why| format!("trusted_root: {why}"))?;
        Ok(read)
    }

    fn take(&mut self, root: &Value) -> Result<(), String> {
        let root = Node::of(root);
        root.only(&[
            "mediaType",
            "tlogs",
            "certificateAuthorities",
            "ctlogs",
            "timestampAuthorities",
        ])?;
        let kind = root.need("mediaType")?;
        if !MEDIA_TYPES.contains(&kind.text()?) {
            return Err(kind.wrong(&format!("expected {}", MEDIA_TYPES.join(" or "))));
        }
        for node in root.list("certificateAuthorities")? {
            self.authorities.push(Authority::issuing(&node, &self.id)?);
        }
        for node in root.list("timestampAuthorities")? {
            self.clocks.push(Authority::stamping(&node, &self.id)?);
        }
        let logs = |name: &str| {
            let nodes = root.list(name)?;
            nodes.iter().map(Log::read).collect::<Result<Vec<_>, String>>()
        };
        self.logs = logs("tlogs")?;
        self.certificate_logs = logs("ctlogs")?;
        for (name, missing) in [
            ("certificateAuthorities", self.authorities.is_empty()),
            ("tlogs", self.logs.is_empty()),
            ("ctlogs", self.certificate_logs.is_empty()),
        ] {
            if missing {
                return Err(format!("{name}: expected at least one, found none"));
            }
        }
        Ok(())
    }

    /// Whether the trust file lets this instance speak for `purpose` at `at`; if not, why.
    pub fn approved(&self, purpose: Purpose, at: f64) -> Result<(), String> {
        let id = &self.id;
        if !self.purposes.contains(&purpose) {
            let purposes: Vec<_> = self.purposes.iter().map(|purpose| purpose.name()).collect();
            return Err(format!(
                "Sigstore instance {id:?} is approved for {}, not for {}",
                purposes.join(", "),
                purpose.name()
            ));
        }
        super::window(
            &format!("Sigstore instance {id:?}"),
            (self.not_before, self.not_after, self.distrusted_from),
            at,
        )
    }
}

impl Authority {
    fn parts(node: &Node<'_>) -> Result<(Validity, Vec<Certificate>), String> {
        node.only(&["subject", "uri", "certChain", "validFor", "operator"])?;
        let chain = node.need("certChain")?;
        chain.only(&["certificates"])?;
        let entries = chain.list("certificates")?;
        if entries.is_empty() || entries.len() > MAX_CHAIN {
            return Err(chain.wrong(&format!(
                "expected 1 to {MAX_CHAIN} certificates, found {}",
                entries.len()
            )));
        }
        let read = |entry: &Node<'_>| {
            entry.only(&["rawBytes"])?;
            let bytes = entry.need("rawBytes")?;
            Certificate::from_der(&bytes.bytes()?).map_err(|why| bytes.wrong(&why))
        };
        let certificates = entries.iter().map(read).collect::<Result<_, String>>()?;
        Ok((Validity::read(&node.need("validFor")?)?, certificates))
    }

    /// The root stands last, those below it before it.
    fn issuing(node: &Node<'_>, id: &str) -> Result<Self, String> {
        let (validity, mut intermediates) = Self::parts(node)?;
        let roots = intermediates.pop().map(|last| Root::bare(id, last));
        let trust = Trust {
            roots: roots.into_iter().collect(),
            intermediates,
            ..Trust::default()
        };
        Ok(Authority { validity, trust })
    }

    /// The authority's own certificate stands first and is pinned; where an authority over it stands alone, that is
    /// the root.
    fn stamping(node: &Node<'_>, id: &str) -> Result<Self, String> {
        let (validity, certificates) = Self::parts(node)?;
        let first = certificates.into_iter().next();
        let trust = Trust {
            timestamp_authorities: first.map(|first| Root::bare(id, first)).into_iter().collect(),
            ..Trust::default()
        };
        Ok(Authority { validity, trust })
    }
}

impl Log {
    fn read(node: &Node<'_>) -> Result<Self, String> {
        node.only(&[
            "baseUrl",
            "hashAlgorithm",
            "publicKey",
            "logId",
            "checkpointKeyId",
            "operator",
        ])?;
        let hash = node.need("hashAlgorithm")?;
        if hash.text()? != "SHA2_256" {
            return Err(hash.wrong("expected SHA2_256"));
        }
        let key = node.need("publicKey")?;
        key.only(&["rawBytes", "keyDetails", "validFor"])?;
        let log = node.need("logId")?;
        log.only(&["keyId"])?;
        let id = log.need("keyId")?;
        let bytes = id.bytes()?;
        if !(4..=64).contains(&bytes.len()) {
            return Err(id.wrong(&format!("expected 4 to 64 bytes, found {}", bytes.len())));
        }
        let address = node.need("baseUrl")?.text()?;
        let host = address.split_once("://").map_or(address, |(_, rest)| rest);
        Ok(Log {
            name: host.split('/').next().unwrap_or_default().to_owned(),
            id: bytes,
            key: public_key(&key)?,
            validity: Validity::read(&key.need("validFor")?)?,
        })
    }
}

/// A key of a kind that we do not know makes no trusted root unreadable: what it signs is refused.
fn public_key(node: &Node<'_>) -> Result<Result<(PublicKey, Method), String>, String> {
    let details = node.need("keyDetails")?.text()?;
    let fits: fn(Algorithm) -> bool = match details {
        "PKIX_ECDSA_P256_SHA_256" => |found| found == Algorithm::EcdsaP256,
        "PKIX_ECDSA_P384_SHA_384" => |found| found == Algorithm::EcdsaP384,
        "PKIX_ED25519" => |found| found == Algorithm::Ed25519,
        "PKIX_RSA_PKCS1V15_2048_SHA256"
        | "PKIX_RSA_PKCS1V15_3072_SHA256"
        | "PKIX_RSA_PKCS1V15_4096_SHA256" => |found| matches!(found, Algorithm::Rsa { .. }),
        other => return Ok(Err(format!("keys of type {other:?} are not supported"))),
    };
    let bytes = node.need("rawBytes")?;
    let key = PublicKey::from_spki(&bytes.bytes()?).map_err(|why| bytes.wrong(&why))?;
    if !fits(key.algorithm) {
        return Err(node.wrong(&format!("it is no {details} key, but {}", key.algorithm.name())));
    }
    let method = Method::of(&key, &Options::default()).map_err(|why| node.wrong(&why))?;
    Ok(Ok((key, method)))
}

/// As `roots::check_count`, for instances.
pub fn check_count(count: usize) -> Result<(), String> {
    if count > MAX_INSTANCES {
        return Err(format!(
            "sigstore: expected at most {MAX_INSTANCES}, found {count}"
        ));
    }
    Ok(())
}
