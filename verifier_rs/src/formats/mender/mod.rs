//! Mender artifacts, format 3: a tar archive with a signed manifest that binds the header and every file inside the
//! compressed payloads by SHA-256. After mender-artifact's Documentation/artifact-format-v3.md.

pub mod header;
pub mod manifest;
pub mod payload;
mod verify;

use serde::Deserialize;

use crate::error::Result;
use crate::formats;
use crate::formats::archive::tar::{self, Tar};
use crate::formats::archive::unpack::Compression;
use crate::formats::archive::{Fault, Window, split};
use crate::formats::mender::manifest::Manifest;
use crate::source::Source;

const MAX_MANIFEST: u64 = 1024 * 1024;
const MAX_SIGNATURE: u64 = 16 * 1024;

/// A range of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub name: String,
    pub from: u64,
    pub to: u64,
}

/// A tar archive inside, perhaps compressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inner {
    pub member: Member,
    pub compression: Compression,
}

/// An artifact whose structure can be read. Nothing in it is proven yet.
#[derive(Debug)]
pub struct Artifact {
    pub members: Vec<Member>,
    /// The content of the member `version`.
    pub version: Vec<u8>,
    /// The bytes of `manifest`, which are what is signed.
    pub text: Vec<u8>,
    pub manifest: Manifest,
    pub signature: Option<Vec<u8>>,
    /// Covers what a device may add; never signed.
    pub augment: Option<Manifest>,
    pub header: Inner,
    pub header_augment: Option<Inner>,
    pub payloads: Vec<Inner>,
}

#[derive(Deserialize)]
struct Version {
    format: String,
    version: u64,
}

/// Whether a tar archive that begins like this is an artifact, perhaps with its members in another order.
pub fn begins(start: &[u8]) -> bool {
    let name = String::from_utf8_lossy(tar::first_name(start).unwrap_or_default());
    let content = start.get(512..).unwrap_or_default();
    match &*name {
        "version" => content.windows(6).any(|part| part == b"mender"),
        "manifest" | "manifest-augment" => content.get(64..66) == Some(b"  "),
        other => {
            other == "manifest.sig" || other.starts_with("header.tar") || other.starts_with("data/0000.tar")
        }
    }
}

/// Read the artifact in `source`, to be verified when its bytes are hashed.
pub fn parse(source: &Source) -> Result<formats::Parsed> {
    Ok(match split(artifact(source))? {
        Ok(artifact) => Ok(Box::new(verify::Mender::new(artifact))),
        Err(why) => Err(why),
    })
}

/// The members that an artifact has, in their order.
struct Reader<'a> {
    tar: Tar<Window<'a>>,
    next: Option<tar::Entry>,
    members: Vec<Member>,
}

impl Reader<'_> {
    fn advance(&mut self) -> std::result::Result<(), Fault> {
        self.next = self.tar.entry()?;
        Ok(())
    }

    /// The next member, if it has this name.
    fn optional(&mut self, name: &str, limit: u64) -> std::result::Result<Option<Vec<u8>>, Fault> {
        if self.next.as_ref().is_none_or(|entry| entry.name != name) {
            return Ok(None);
        }
        let content = self
            .tar
            .content(limit)
            .map_err(|fault| fault.within(&format!("the member {name:?}")))?;
        self.keep()?;
        Ok(Some(content))
    }

    fn required(&mut self, name: &str, limit: u64) -> std::result::Result<Vec<u8>, Fault> {
        self.optional(name, limit)?.ok_or_else(|| self.expected(name))
    }

    /// The next member, if it is this archive, compressed or not.
    fn inner(&mut self, stem: &str) -> std::result::Result<Option<Inner>, Fault> {
        let extension = self.next.as_ref().and_then(|entry| entry.name.strip_prefix(stem));
        let Some(extension) = extension else {
            return Ok(None);
        };
        let compression = Compression::of(extension).ok_or_else(|| {
            Fault::Bad(format!(
                "{stem}{extension}: this compression is not supported (known are .gz, .xz and .zst), so nothing \
                 inside can be verified"
            ))
        })?;
        let member = self.keep()?;
        Ok(member.map(|member| Inner { member, compression }))
    }

    fn keep(&mut self) -> std::result::Result<Option<Member>, Fault> {
        let Some(entry) = self.next.take() else {
            return Ok(None);
        };
        self.advance()?;
        let member = Member {
            to: entry.from.saturating_add(entry.size),
            name: entry.name,
            from: entry.from,
        };
        self.members.push(member.clone());
        Ok(Some(member))
    }

    fn expected(&self, name: &str) -> Fault {
        let found = self.next.as_ref().map_or_else(
            || "the end of the archive".to_owned(),
            |entry| format!("{:?}", entry.name),
        );
        Fault::Bad(format!(
            "expected the member {name:?} next, found {found}; the order of an artifact's members is fixed"
        ))
    }
}

/// Parse the structure; only the manifests and the headers of the outer archive are read.
pub fn artifact(source: &Source) -> std::result::Result<Artifact, Fault> {
    let mut reader = Reader {
        tar: Tar::new(Window::new(source, 0, source.size())),
        next: None,
        members: Vec::new(),
    };
    reader.advance()?;
    // 1. the format, which says what the rest means.
    let version = reader.required("version", MAX_SIGNATURE)?;
    let format: Version = serde_json::from_slice(&version)
        .map_err(|error| Fault::Bad(format!("the member \"version\" cannot be read: {error}")))?;
    if format.format != "mender" || format.version != 3 {
        return Err(Fault::Bad(format!(
            "expected format \"mender\" version 3, found {:?} version {}",
            format.format, format.version
        )));
    }
    // 2. the manifest, its signature, and what may be added to it.
    let text = reader.required("manifest", MAX_MANIFEST)?;
    let manifest = Manifest::parse(&text).map_err(|why| format!("manifest, {why}"))?;
    let signature = reader.optional("manifest.sig", MAX_SIGNATURE)?;
    let augment = reader.optional("manifest-augment", MAX_MANIFEST)?;
    let augment =
        augment.map(|text| Manifest::parse(&text).map_err(|why| format!("manifest-augment, {why}")));
    let augment = augment.transpose()?;
    // 3. the headers.
    let header = reader.inner("header.tar")?;
    let header = header.ok_or_else(|| reader.expected("header.tar.gz"))?;
    let header_augment = reader.inner("header-augment.tar")?;
    if augment.is_some() != header_augment.is_some() {
        return Err(Fault::Bad(
            "manifest-augment and header-augment come together, found one without the other".to_owned(),
        ));
    }
    // 4. the payloads, numbered, up to the end.
    let mut payloads = Vec::new();
    while reader.next.is_some() {
        let stem = format!("data/{:04}.tar", payloads.len());
        let payload = reader.inner(&stem)?;
        payloads.push(payload.ok_or_else(|| reader.expected(&format!("{stem}.gz")))?);
    }
    if payloads.is_empty() {
        return Err(reader.expected("data/0000.tar.gz"));
    }
    Ok(Artifact {
        members: reader.members,
        version,
        text,
        manifest,
        signature,
        augment,
        header,
        header_augment,
        payloads,
    })
}
