//! SWUpdate packages: a cpio archive whose first member, sw-description, binds all others by their SHA-256, and whose
//! second, sw-description.sig, signs the first. After swupdate's doc/source/swupdate.rst and signed_images.rst.

pub mod description;
pub mod libconfig;
mod verify;

use crate::error::Result;
use crate::formats;
use crate::formats::archive::cpio::{Member, members};
use crate::formats::archive::{Fault, split};
use crate::formats::swupdate::description::Description;
use crate::source::Source;

pub const DESCRIPTION: &str = "sw-description";
pub const SIGNATURE: &str = "sw-description.sig";
const MAX_DESCRIPTION: u64 = 1024 * 1024;
const MAX_SIGNATURE: u64 = 256 * 1024;

/// A package whose structure can be read. Nothing in it is proven yet.
#[derive(Debug)]
pub struct Package {
    /// In the order of the archive, sw-description and its signature among them.
    pub members: Vec<Member>,
    /// The bytes of sw-description, which are what is signed.
    pub text: Vec<u8>,
    pub description: Description,
    pub signature: Option<Vec<u8>>,
}

/// Read the package in `source`, to be verified when its bytes are hashed.
pub fn parse(source: &Source) -> Result<formats::Parsed> {
    Ok(match split(package(source))? {
        Ok(package) => Ok(Box::new(verify::Swupdate::new(package))),
        Err(why) => Err(why),
    })
}

/// Parse the structure; only the headers, sw-description and its signature are read.
pub fn package(source: &Source) -> std::result::Result<Package, Fault> {
    let members = members(source)?;
    // 1. sw-description is first, its signature second.
    let first = members.first().map(|member| member.name.as_str());
    if first != Some(DESCRIPTION) {
        return Err(Fault::Bad(format!(
            "expected the member {DESCRIPTION:?} first, found {}",
            first.map_or_else(|| "none".to_owned(), |name| format!("{name:?}"))
        )));
    }
    let place = members.iter().position(|member| member.name == SIGNATURE);
    if place.is_some_and(|place| place != 1) {
        return Err(Fault::Bad(format!(
            "the member {SIGNATURE:?} must be the second one, right behind {DESCRIPTION:?}"
        )));
    }
    let text = match members.first() {
        Some(member) => content(source, member, MAX_DESCRIPTION)?,
        None => Vec::new(),
    };
    let signature = match place.and_then(|place| members.get(place)) {
        Some(member) => Some(content(source, member, MAX_SIGNATURE)?),
        None => None,
    };
    // 2. it says what there is to install.
    let description = description::parse(&text)?;
    if description.entries.is_empty() {
        return Err(Fault::Bad(
            "sw-description names no file: there is nothing to install".to_owned(),
        ));
    }
    Ok(Package {
        members,
        text,
        description,
        signature,
    })
}

fn content(source: &Source, member: &Member, limit: u64) -> std::result::Result<Vec<u8>, Fault> {
    let size = member.to.saturating_sub(member.from);
    if size > limit {
        return Err(Fault::Bad(format!(
            "the member {:?} has {size} bytes, expected at most {limit}",
            member.name
        )));
    }
    let length = usize::try_from(size).unwrap_or_default();
    Ok(source.read_exact(member.from, length)?)
}
