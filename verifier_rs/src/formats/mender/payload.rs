//! The archives inside an artifact: unpacked as they are read, each file hashed.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::formats::archive::tar::Tar;
use crate::formats::archive::unpack::Unpacked;
use crate::formats::archive::{Fault, Window};
use crate::formats::mender::Inner;
use crate::source::Source;

const BUFFER: usize = 256 * 1024;
/// Of all contents of one header that are kept.
const MAX_KEPT: u64 = 1024 * 1024;

/// A file inside one of the archives.
#[derive(Debug, PartialEq, Eq)]
pub struct File {
    pub name: String,
    pub size: u64,
    pub sha256: [u8; 32],
}

fn walk(
    source: &Source,
    inner: &Inner,
    mut each: impl FnMut(&mut Tar<Unpacked<'_>>, String, u64) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let walked = || {
        let window = Window::new(source, inner.member.from, inner.member.to);
        let mut tar = Tar::new(Unpacked::new(window, inner.compression)?);
        while let Some(entry) = tar.entry()? {
            each(&mut tar, entry.name, entry.size)?;
        }
        tar.into_input().finish()
    };
    let mut walked = walked;
    walked().map_err(|fault| fault.within(&inner.member.name))
}

/// Every file in it, with its digest.
pub fn files(source: &Source, inner: &Inner) -> Result<Vec<File>, Fault> {
    let mut files = Vec::new();
    let mut buffer = vec![0; BUFFER];
    walk(source, inner, |tar, name, size| {
        let mut state = Sha256::new();
        loop {
            let got = tar.read(&mut buffer)?;
            if got == 0 {
                break;
            }
            state.update(buffer.get(..got).unwrap_or_default());
        }
        let sha256 = state.finalize().into();
        files.push(File { name, size, sha256 });
        Ok(())
    })?;
    Ok(files)
}

/// Every file in it, with its content; `None` where that is not kept.
pub fn contents(
    source: &Source,
    inner: &Inner,
    keep: impl Fn(&str) -> bool,
) -> Result<BTreeMap<String, Option<Vec<u8>>>, Fault> {
    let mut contents = BTreeMap::new();
    let mut left = MAX_KEPT;
    walk(source, inner, |tar, name, size| {
        let content = if keep(&name) {
            let content = tar.content(left)?;
            left = left.saturating_sub(size);
            Some(content)
        } else {
            None
        };
        contents.insert(name, content);
        Ok(())
    })?;
    Ok(contents)
}
