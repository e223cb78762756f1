//! Name constraints (RFC 5280 §4.2.1.10): what a certificate authority may name.

use der::asn1::Ia5StringRef;
use der::oid::db::rfc3280::EMAIL_ADDRESS;
use x509_cert::ext::pkix::constraints::name::{GeneralSubtree, NameConstraints};
use x509_cert::ext::pkix::name::GeneralName;

use crate::x509::certificate::Certificate;
use crate::x509::name::Name;

/// Comparisons in one path, as many as a sane one never needs.
pub const MAX_COMPARISONS: usize = 100_000;

/// Names of one certificate as the constraints see them.
enum Named {
    Directory(Name),
    Mail(String),
    Dns(String),
    Uri(String),
    Ip(Vec<u8>),
    /// A kind that cannot be compared, by its number in GeneralName.
    Other(&'static str),
}

impl Named {
    fn kind(&self) -> &'static str {
        match self {
            Named::Directory(_) => "directory name",
            Named::Mail(_) => "mail address",
            Named::Dns(_) => "DNS name",
            Named::Uri(_) => "URI",
            Named::Ip(_) => "IP address",
            Named::Other(kind) => kind,
        }
    }

    fn text(&self) -> String {
        match self {
            Named::Directory(name) => name.text.clone(),
            Named::Mail(text) | Named::Dns(text) | Named::Uri(text) => text.clone(),
            Named::Ip(bytes) => bytes.iter().map(u8::to_string).collect::<Vec<_>>().join("."),
            Named::Other(_) => "(not readable)".to_owned(),
        }
    }
}

fn named(name: &GeneralName) -> Named {
    match name {
        GeneralName::DirectoryName(name) => Named::Directory(Name::of(name)),
        GeneralName::Rfc822Name(text) => Named::Mail(text.as_str().to_owned()),
        GeneralName::DnsName(text) => Named::Dns(text.as_str().to_owned()),
        GeneralName::UniformResourceIdentifier(text) => Named::Uri(text.as_str().to_owned()),
        GeneralName::IpAddress(bytes) => Named::Ip(bytes.as_bytes().to_owned()),
        GeneralName::OtherName(_) => Named::Other("other name"),
        GeneralName::EdiPartyName(_) => Named::Other("EDI party name"),
        GeneralName::RegisteredId(_) => Named::Other("registered id"),
    }
}

/// Everything that a certificate is named by: subject, mail addresses in it, alternative names.
fn names(certificate: &Certificate) -> Result<Vec<Named>, String> {
    let mut all = Vec::new();
    if !certificate.subject.is_empty() {
        all.push(Named::Directory(certificate.subject.clone()));
    }
    for attribute in certificate.raw_subject.iter() {
        if attribute.oid == EMAIL_ADDRESS {
            let text = attribute
                .value
                .decode_as::<Ia5StringRef<'_>>()
                .map_err(|error| format!("a mail address in its subject cannot be read ({error})"))?;
            all.push(Named::Mail(text.as_str().to_owned()));
        }
    }
    match &certificate.extensions.names {
        Some(Ok(alternative)) => all.extend(alternative.iter().map(named)),
        Some(Err(why)) => return Err(why.clone()),
        None => {}
    }
    Ok(all)
}

/// Whether all names of `certificate` are inside what `constraints` permit; if not, why. Counts into `work`.
pub fn check(
    constraints: &NameConstraints,
    certificate: &Certificate,
    work: &mut usize,
) -> Result<(), String> {
    let permitted = constraints.permitted_subtrees.as_deref().unwrap_or_default();
    let excluded = constraints.excluded_subtrees.as_deref().unwrap_or_default();
    for subtree in permitted.iter().chain(excluded) {
        if subtree.minimum != 0 || subtree.maximum.is_some() {
            return Err("they use minimum or maximum, which RFC 5280 forbids".to_owned());
        }
    }
    for name in names(certificate)? {
        *work = work
            .saturating_add(permitted.len())
            .saturating_add(excluded.len());
        if *work > MAX_COMPARISONS {
            return Err(format!("more than {MAX_COMPARISONS} comparisons would be needed"));
        }
        let mut asked = false;
        let mut inside = false;
        for subtree in permitted {
            if let Some(fits) = fits(&name, subtree, false)? {
                asked = true;
                inside = inside || fits;
            }
        }
        if asked && !inside {
            return Err(format!(
                "its {} {} is outside of what they permit",
                name.kind(),
                name.text()
            ));
        }
        for subtree in excluded {
            if fits(&name, subtree, true)? == Some(true) {
                return Err(format!("its {} {} is excluded", name.kind(), name.text()));
            }
        }
    }
    Ok(())
}

/// Whether the name lies in the subtree; `None` where they are of different kinds. Of a wildcard everything that it
/// can stand for has to lie in a permitted subtree, and nothing of it may lie in an excluded one.
fn fits(name: &Named, subtree: &GeneralSubtree, excluded: bool) -> Result<Option<bool>, String> {
    let base = named(&subtree.base);
    Ok(Some(match (name, &base) {
        (Named::Directory(name), Named::Directory(base)) => name.within(base),
        (Named::Mail(name), Named::Mail(base)) => mail(name, base)?,
        (Named::Dns(name), Named::Dns(base)) => dns(name, base, excluded)?,
        (Named::Uri(name), Named::Uri(base)) => uri(name, base)?,
        (Named::Ip(name), Named::Ip(base)) => ip(name, base)?,
        (Named::Other(name), Named::Other(base)) if name == base => {
            return Err(format!(
                "they speak of a kind of name that cannot be compared ({name})"
            ));
        }
        _ => return Ok(None),
    }))
}

/// A host name in small letters; anything else cannot be compared and is refused.
fn host(text: &str, what: &str) -> Result<String, String> {
    let text = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    if !text.is_empty() && text.len() <= 253 && text.split('.').all(label) {
        Ok(text)
    } else {
        Err(format!(
            "its {what} {text:?} is not a host name that can be compared"
        ))
    }
}

fn below(name: &str, base: &str) -> bool {
    name.strip_suffix(base).is_some_and(|front| front.ends_with('.'))
}

/// `example.com` covers itself and every name below it.
fn dns(name: &str, base: &str, excluded: bool) -> Result<bool, String> {
    let (name, wildcard) = match name.strip_prefix("*.") {
        Some(parent) => (host(parent, "DNS name")?, true),
        None => (host(name, "DNS name")?, false),
    };
    if base.is_empty() {
        return Ok(true);
    }
    let base = host(base.strip_prefix('.').unwrap_or(base), "DNS constraint")?;
    Ok(name == base || below(&name, &base) || (excluded && wildcard && below(&base, &name)))
}

/// A mailbox, a host, or with a leading dot every host below a domain.
fn mail(name: &str, base: &str) -> Result<bool, String> {
    let (local, at) = name
        .rsplit_once('@')
        .ok_or_else(|| format!("its mail address {name:?} has no @"))?;
    let at = host(at, "mail address")?;
    if let Some((wanted, base)) = base.rsplit_once('@') {
        return Ok(local == wanted && at == host(base, "mail constraint")?);
    }
    match base.strip_prefix('.') {
        Some(base) => Ok(below(&at, &host(base, "mail constraint")?)),
        None if base.is_empty() => Ok(true),
        None => Ok(at == host(base, "mail constraint")?),
    }
}

/// The host of the URI: exactly, or with a leading dot every host below a domain. Without a host it is refused.
fn uri(name: &str, base: &str) -> Result<bool, String> {
    let no_host = || format!("its URI {name:?} has no host name that can be compared");
    let (_, rest) = name.split_once("://").ok_or_else(no_host)?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let (_, authority) = authority.rsplit_once('@').unwrap_or(("", authority));
    let named = authority.split_once(':').map_or(authority, |(host, _)| host);
    if named.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Err(no_host());
    }
    let named = host(named, "URI").map_err(|_| no_host())?;
    match base.strip_prefix('.') {
        Some(base) => Ok(below(&named, &host(base, "URI constraint")?)),
        None if base.is_empty() => Ok(true),
        None => Ok(named == host(base, "URI constraint")?),
    }
}

/// Address and mask, both of 4 or both of 16 bytes.
fn ip(name: &[u8], base: &[u8]) -> Result<bool, String> {
    if !matches!(name.len(), 4 | 16) {
        return Err("its IP address is neither of 4 nor of 16 bytes".to_owned());
    }
    let (address, mask) = match base.len() {
        8 | 32 => base.split_at(base.len() >> 1),
        _ => return Err("an IP constraint is neither of 8 nor of 32 bytes".to_owned()),
    };
    if address.len() != name.len() {
        return Ok(false);
    }
    let mut bytes = name.iter().zip(address).zip(mask);
    Ok(bytes.all(|((name, address), mask)| name & mask == address & mask))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_is_compared_by_its_parent() {
        assert_eq!(dns("*.example.com", "example.com", false), Ok(true));
        assert_eq!(dns("*.example.com", "host.example.com", false), Ok(false));
        assert_eq!(dns("*.example.com", "host.example.com", true), Ok(true));
        assert_eq!(dns("evilexample.com", "example.com", false), Ok(false));
        assert_eq!(dns("a.example.com.", ".EXAMPLE.com", false), Ok(true));
        assert!(dns("a..example.com", "example.com", false).is_err());
        assert!(dns("a.*.example.com", "example.com", false).is_err());
    }

    #[test]
    fn a_uri_is_compared_by_its_host_only() {
        assert_eq!(
            uri("https://user@a.example.com:8443/x@evil", ".example.com"),
            Ok(true)
        );
        assert_eq!(uri("https://evil.com/?.example.com", ".example.com"), Ok(false));
        assert_eq!(uri("https://example.com/", "example.com"), Ok(true));
        assert_eq!(uri("https://a.example.com/", "example.com"), Ok(false));
        for without in [
            "urn:x:y",
            "https://192.0.2.1/",
            "https://[2001:db8::1]/",
            "https:///x",
        ] {
            assert!(uri(without, "example.com").is_err(), "{without}");
        }
    }

    #[test]
    fn a_mailbox_a_host_and_a_domain() {
        assert_eq!(mail("a@Example.com", "example.com"), Ok(true));
        assert_eq!(mail("a@sub.example.com", "example.com"), Ok(false));
        assert_eq!(mail("a@sub.example.com", ".example.com"), Ok(true));
        assert_eq!(mail("b@example.com", "a@example.com"), Ok(false));
        assert!(mail("nobody", "example.com").is_err());
    }

    #[test]
    fn an_address_and_its_mask() {
        assert_eq!(ip(&[10, 1, 2, 3], &[10, 0, 0, 0, 255, 0, 0, 0]), Ok(true));
        assert_eq!(ip(&[11, 1, 2, 3], &[10, 0, 0, 0, 255, 0, 0, 0]), Ok(false));
        assert_eq!(ip(&[0; 16], &[10, 0, 0, 0, 255, 0, 0, 0]), Ok(false));
        assert!(ip(&[1, 2, 3], &[10, 0, 0, 0, 255, 0, 0, 0]).is_err());
    }
}
