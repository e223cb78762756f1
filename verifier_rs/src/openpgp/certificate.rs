//! OpenPGP certificates (RFC 9580 §10.1): a primary key, what it says of itself, and the subkeys that it binds.
//!
//! Every statement counts only with a valid signature by the primary key over SHA-256 or better. What others say of
//! it is passed over. The newest valid statement at the time that counts is the one that holds.

use crate::keys::{Algorithm, PublicKey, Strength};
use crate::openpgp::key::{KeyPacket, Scheme};
use crate::openpgp::packet::{
    PUBLIC_KEY, PUBLIC_SUBKEY, Packet, SIGNATURE, USER_ATTRIBUTE, USER_ID, packets,
};
use crate::openpgp::signature::{
    CERTIFICATION_REVOCATION, DIRECT_KEY, KEY_REVOCATION, PRIMARY_BINDING, SUBKEY_BINDING, SUBKEY_REVOCATION,
    Signature,
};
use crate::time;

/// Signatures by the primary key that are checked when a certificate is read.
const MAX_SELF_SIGNATURES: usize = 128;
/// The key flag "may sign data" (RFC 9580 §5.2.3.29).
const MAY_SIGN: u8 = 0x02;
/// Reasons that make a key worthless only from the revocation on: superseded, retired (RFC 9580 §5.2.3.31).
const SOFT: [u8; 2] = [1, 3];

/// The primary key or a subkey that can make signatures at all.
pub struct Part {
    pub fingerprint: String,
    pub primary: bool,
    pub scheme: Scheme,
    pub key: PublicKey,
    created: u32,
    bindings: Vec<Binding>,
    revocations: Vec<Revocation>,
}

/// What the primary key says of itself or of a subkey.
struct Binding {
    created: u32,
    expires: u32,
    key_expires: u32,
    /// Whether the key may sign data; if not, why.
    signs: Result<(), String>,
}

struct Revocation {
    created: u32,
    /// Whether nothing that the key ever signed counts.
    hard: bool,
}

/// A certificate whose own signatures were verified.
pub struct Certificate {
    pub fingerprint: String,
    pub user_ids: Vec<String>,
    /// The primary key first.
    pub parts: Vec<Part>,
}

impl Certificate {
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let packets = packets(bytes)?;
        let Some(first) = packets.first().filter(|packet| packet.tag == PUBLIC_KEY) else {
            return Err("expected an OpenPGP certificate, which begins with its primary key".to_owned());
        };
        if packets.iter().filter(|packet| packet.tag == PUBLIC_KEY).count() > 1 {
            return Err(
                "expected one OpenPGP certificate, found several; register each by itself".to_owned(),
            );
        }
        if packets.iter().any(|packet| matches!(packet.tag, 5 | 7)) {
            return Err(crate::keys::PRIVATE.to_owned());
        }
        Reader::new(first)?.read(packets.get(1..).unwrap_or_default())
    }

    /// The weakest of the keys that may sign.
    pub fn weakest(&self) -> Option<Algorithm> {
        let signers = self.parts.iter().filter(|part| part.signs().is_ok());
        signers
            .map(|part| part.key.algorithm)
            .max_by_key(|algorithm| algorithm.strength())
    }

    /// From when to when the primary key says that it is valid, in seconds since 1970.
    pub fn validity(&self) -> Option<(f64, Option<f64>)> {
        let primary = self.parts.first()?;
        let newest = primary.bindings.iter().max_by_key(|binding| binding.created)?;
        Some((f64::from(primary.created), primary.end(newest)))
    }

    /// Whether what `part` signed counts at `at` (seconds since 1970); if not, why.
    pub fn counts(&self, part: &Part, at: f64) -> Result<(), String> {
        if let Some(primary) = self.parts.first().filter(|_| !part.primary) {
            primary
                .alive(at)
                .map_err(|why| format!("its primary key {why}"))?;
        }
        let binding = part.alive(at).map_err(|why| format!("the key {why}"))?;
        binding.signs.clone()
    }
}

impl Part {
    /// When the key ends by this binding.
    fn end(&self, binding: &Binding) -> Option<f64> {
        (binding.key_expires > 0).then(|| f64::from(self.created) + f64::from(binding.key_expires))
    }

    fn alive(&self, at: f64) -> Result<&Binding, String> {
        let revoked = self
            .revocations
            .iter()
            .find(|one| one.hard || f64::from(one.created) <= at);
        if let Some(one) = revoked {
            let from = time::format(f64::from(one.created));
            return Err(match one.hard {
                true => format!("is revoked (on {from}, for a reason by which nothing it signed counts)"),
                false => format!("is revoked from {from}"),
            });
        }
        let in_force = |binding: &&Binding| {
            let from = f64::from(binding.created);
            from <= at && (binding.expires == 0 || at < from + f64::from(binding.expires))
        };
        let binding = self
            .bindings
            .iter()
            .filter(in_force)
            .max_by_key(|binding| binding.created)
            .ok_or_else(|| format!("is not bound by an accepted signature at {}", time::format(at)))?;
        match self.end(binding) {
            Some(end) if at >= end => Err(format!("expired on {}", time::format(end))),
            _ => Ok(binding),
        }
    }

    /// Whether the newest binding lets the key sign.
    fn signs(&self) -> Result<(), String> {
        let newest = self.bindings.iter().max_by_key(|binding| binding.created);
        newest.map_or_else(
            || Err("no accepted signature binds it".to_owned()),
            |binding| binding.signs.clone(),
        )
    }

    pub fn created(&self) -> f64 {
        f64::from(self.created)
    }
}

/// What the signatures that come next are over.
enum Subject {
    Primary,
    UserId {
        data: Vec<u8>,
        bindings: Vec<Binding>,
        revoked: bool,
    },
    Subkey(Box<KeyPacket>, Box<Part>),
    /// Nothing that concerns signing.
    Other,
}

struct Reader {
    hashed: Vec<u8>,
    primary: Part,
    subkeys: Vec<Part>,
    user_ids: Vec<String>,
    checked: usize,
    /// Why a statement of the primary key does not count, for when none is left.
    refused: Vec<String>,
}

fn part(packet: &mut KeyPacket, primary: bool) -> Result<Part, String> {
    let nothing = Err("the key was taken".to_owned());
    let (scheme, key) = std::mem::replace(&mut packet.key, nothing)?;
    Ok(Part {
        fingerprint: packet.fingerprint(),
        primary,
        scheme,
        key,
        created: packet.created,
        bindings: Vec::new(),
        revocations: Vec::new(),
    })
}

impl Reader {
    fn new(first: &Packet<'_>) -> Result<Self, String> {
        let mut key = KeyPacket::parse(first.body)?;
        let primary =
            part(&mut key, true).map_err(|why| format!("the primary key of the certificate: {why}"))?;
        if primary.key.algorithm.strength() == Strength::Broken {
            return Err(format!(
                "the primary key of the certificate: {}",
                primary.key.algorithm.weakness()
            ));
        }
        Ok(Reader {
            hashed: key.hashed(),
            primary,
            subkeys: Vec::new(),
            user_ids: Vec::new(),
            checked: 0,
            refused: Vec::new(),
        })
    }

    fn read(mut self, packets: &[Packet<'_>]) -> Result<Certificate, String> {
        let mut subject = Subject::Primary;
        for packet in packets {
            if packet.tag == SIGNATURE {
                self.signature(packet.body, &mut subject)?;
                continue;
            }
            let next = match packet.tag {
                USER_ID => {
                    self.user_ids
                        .push(String::from_utf8_lossy(packet.body).into_owned());
                    let length = u32::try_from(packet.body.len()).unwrap_or(u32::MAX);
                    Subject::UserId {
                        data: [&[0xb4], length.to_be_bytes().as_slice(), packet.body].concat(),
                        bindings: Vec::new(),
                        revoked: false,
                    }
                }
                PUBLIC_SUBKEY => {
                    let mut key = KeyPacket::parse(packet.body)?;
                    match part(&mut key, false) {
                        Ok(part) => Subject::Subkey(Box::new(key), Box::new(part)),
                        Err(_) => Subject::Other,
                    }
                }
                USER_ATTRIBUTE => Subject::Other,
                // RFC 9580 §4.3: tags from 40 on may be passed over, others not.
                tag if tag >= 40 => Subject::Other,
                tag => {
                    return Err(format!(
                        "a packet of type {tag} has no place in an OpenPGP certificate"
                    ));
                }
            };
            self.close(std::mem::replace(&mut subject, next));
        }
        self.close(subject);
        let certificate = Certificate {
            fingerprint: self.primary.fingerprint.clone(),
            user_ids: self.user_ids,
            parts: std::iter::once(self.primary).chain(self.subkeys).collect(),
        };
        if certificate.parts.iter().all(|part| part.signs().is_err()) {
            let mut why: Vec<_> = certificate
                .parts
                .iter()
                .filter_map(|part| part.signs().err())
                .collect();
            why.extend(self.refused);
            why.dedup();
            why.truncate(4);
            return Err(format!(
                "no key of the OpenPGP certificate may sign: {}",
                why.join("; ")
            ));
        }
        Ok(certificate)
    }

    /// A subject with all its signatures read.
    fn close(&mut self, subject: Subject) {
        match subject {
            Subject::UserId {
                bindings,
                revoked: false,
                ..
            } => self.primary.bindings.extend(bindings),
            Subject::Subkey(_, part) => self.subkeys.push(*part),
            _ => {}
        }
    }

    fn signature(&mut self, body: &[u8], subject: &mut Subject) -> Result<(), String> {
        // Version 3, or a later one: it binds nothing, and is by another as far as we can tell.
        if body.first() != Some(&4) || matches!(subject, Subject::Other) {
            return Ok(());
        }
        let signature = Signature::parse(body)?;
        if signature.issuers.is_empty() || !signature.could_be_by(&self.primary.fingerprint) {
            return Ok(());
        }
        self.checked = self.checked.saturating_add(1);
        if self.checked > MAX_SELF_SIGNATURES {
            return Err(format!(
                "expected at most {MAX_SELF_SIGNATURES} signatures of the primary key over its certificate, found more"
            ));
        }
        let data: Vec<u8> = match subject {
            Subject::UserId { data, .. } => data.clone(),
            Subject::Subkey(key, _) => key.hashed(),
            Subject::Primary | Subject::Other => Vec::new(),
        };
        let held = signature.verify(self.primary.scheme, &self.primary.key, &[&self.hashed, &data]);
        let revokes = matches!(
            signature.kind,
            KEY_REVOCATION | SUBKEY_REVOCATION | CERTIFICATION_REVOCATION
        );
        // A revocation that we cannot check is taken as one; a statement that we cannot check is none.
        let unchecked = signature.hash.is_err() || signature.unknown.is_some();
        if let Err(why) = held
            && !(revokes && unchecked)
        {
            self.refused
                .push(format!("a signature over it does not count: {why}"));
            return Ok(());
        }
        match subject {
            Subject::Primary => match signature.kind {
                DIRECT_KEY => self.primary.bindings.push(own(&signature)),
                KEY_REVOCATION => self.primary.revocations.push(revocation(&signature)),
                _ => {}
            },
            Subject::UserId {
                bindings, revoked, ..
            } => {
                if signature.certifies() {
                    bindings.push(own(&signature));
                } else if signature.kind == CERTIFICATION_REVOCATION {
                    *revoked = true;
                }
            }
            Subject::Subkey(key, part) => match signature.kind {
                SUBKEY_BINDING => {
                    let binding = Binding {
                        signs: self.signs(&signature, key, part),
                        ..own(&signature)
                    };
                    part.bindings.push(binding);
                }
                SUBKEY_REVOCATION => part.revocations.push(revocation(&signature)),
                _ => {}
            },
            Subject::Other => {}
        }
        Ok(())
    }

    /// A subkey must consent to be bound: else anyone could claim another's signing key as his own subkey.
    fn signs(&self, binding: &Signature, subkey: &KeyPacket, part: &Part) -> Result<(), String> {
        own(binding).signs?;
        if part.key.algorithm.strength() == Strength::Broken {
            return Err(part.key.algorithm.weakness());
        }
        let back = binding.embedded.iter().find(|one| one.kind == PRIMARY_BINDING);
        let back = back.ok_or("the signing subkey did not sign back that it belongs to this certificate")?;
        back.verify(part.scheme, &part.key, &[&self.hashed, &subkey.hashed()])
            .map_err(|why| format!("the signature back by the signing subkey does not count: {why}"))
    }
}

fn own(signature: &Signature) -> Binding {
    let signs = match signature.flags {
        Some(flags) if flags & MAY_SIGN != 0 => Ok(()),
        Some(_) => Err("its flags do not let it sign".to_owned()),
        None => Err("it has no flags that let it sign".to_owned()),
    };
    Binding {
        created: signature.created,
        expires: signature.expires,
        key_expires: signature.key_expires,
        signs,
    }
}

fn revocation(signature: &Signature) -> Revocation {
    Revocation {
        created: signature.created,
        hard: signature.reason.is_none_or(|reason| !SOFT.contains(&reason)),
    }
}
