//! A public key as a supplier sends it: one key in one of the encodings that tools write, read strictly.

use der::{Decode, Encode, SliceReader};
use x509_cert::Certificate;

use crate::keys::{CertificateFacts, PublicKey, minisign, ssh};
use crate::openpgp;

/// Far more than the longest key or certificate that makes sense.
const MAX_TEXT: usize = 64 * 1024;

pub(crate) const PRIVATE: &str = "this is a private key: it must never be uploaded or shared. Treat it as \
    disclosed, make a new pair, and give the public key (openssl pkey -in KEY -pubout)";

/// What its own tool calls a key: for people who compare, and for finding the key of a signature. It proves nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint {
    /// The encoding it came in, as `KeyInfo.kind` names it.
    pub kind: &'static str,
    pub name: String,
    /// The number that minisign and signify give their keys.
    pub number: Option<[u8; 8]>,
}

/// A key and, where it came in one, its certificate.
pub struct Enrolled {
    pub key: PublicKey,
    pub certificate: Option<CertificateFacts>,
    pub hint: Option<Hint>,
}

impl From<(PublicKey, Hint)> for Enrolled {
    fn from((key, hint): (PublicKey, Hint)) -> Self {
        Enrolled {
            key,
            certificate: None,
            hint: Some(hint),
        }
    }
}

/// Read one key: PEM, an OpenSSH line, a minisign or signify key. The message says what was found instead.
pub fn read(text: &str) -> Result<Enrolled, String> {
    if text.len() > MAX_TEXT {
        return Err(format!(
            "expected at most {MAX_TEXT} bytes of text, found {}",
            text.len()
        ));
    }
    if text.contains("PRIVATE KEY-----") || text.contains("PRIVATE KEY BLOCK-----") {
        return Err(PRIVATE.to_owned());
    }
    let text = text.trim();
    if text.starts_with("-----BEGIN PGP ") {
        return openpgp::read(text).map(Enrolled::from);
    }
    if ssh::detect(text) {
        return ssh::read(text).map(Enrolled::from);
    }
    if minisign::detect(text) {
        return minisign::read(text).map(Enrolled::from);
    }
    if text.starts_with("---- BEGIN SSH2 PUBLIC KEY") {
        return Err("an RFC 4716 key: convert it with 'ssh-keygen -i -f KEY'".to_owned());
    }
    pem(text)
}

/// One PEM block: a public key or a certificate.
fn pem(text: &str) -> Result<Enrolled, String> {
    let blocks = text.matches("-----BEGIN ").count();
    if blocks != 1 {
        return Err(format!("expected exactly one PEM block, found {blocks}"));
    }
    if !text.starts_with("-----BEGIN ") || !text.ends_with("-----") {
        return Err("expected nothing before or after the PEM block, found other text".to_owned());
    }
    let (label, der) = der::pem::decode_vec(text.as_bytes())
        .map_err(|error| format!("the PEM block cannot be decoded ({error})"))?;
    match label {
        "PUBLIC KEY" => Ok(Enrolled {
            key: PublicKey::from_spki(&der)?,
            certificate: None,
            hint: None,
        }),
        "CERTIFICATE" => certificate(&der),
        "RSA PUBLIC KEY" => Err("a PKCS#1 RSA key: convert it with \
             'openssl rsa -RSAPublicKey_in -in KEY -pubout'"
            .to_owned()),
        other => Err(format!(
            "expected a PEM block PUBLIC KEY or CERTIFICATE, found {other}"
        )),
    }
}

fn certificate(der: &[u8]) -> Result<Enrolled, String> {
    let mut reader = SliceReader::new(der).map_err(|error| error.to_string())?;
    let certificate = Certificate::decode(&mut reader)
        .and_then(|certificate| der::Reader::finish(reader).map(|()| certificate))
        .map_err(|error| format!("not an X.509 certificate in DER ({error})"))?;
    let body = certificate.tbs_certificate();
    let spki = body
        .subject_public_key_info()
        .to_der()
        .map_err(|error| format!("the certificate's key cannot be read ({error})"))?;
    let validity = body.validity();
    Ok(Enrolled {
        key: PublicKey::from_spki(&spki)?,
        certificate: Some(CertificateFacts {
            subject: body.subject().to_string(),
            issuer: body.issuer().to_string(),
            not_before: validity.not_before.to_unix_duration().as_secs_f64(),
            not_after: validity.not_after.to_unix_duration().as_secs_f64(),
        }),
        hint: None,
    })
}
