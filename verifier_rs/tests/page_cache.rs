//! What a check reads once does not stay in the page cache, and what others had there is not pushed out.

use std::fs::File;
use std::io::{IoSliceMut, Write};
use std::path::{Path, PathBuf};

use _verifier::source::{Progress, hash_file};
use rustix::fs::{Advice, fadvise};
use rustix::io::{ReadWriteFlags, preadv2};

const SIZE: usize = 100 << 20;

/// How many of a hundred places of the file are in memory.
fn cached(file: &File) -> usize {
    (0..100)
        .filter(|nth| {
            let mut byte = [0];
            let at = (SIZE as u64 / 100) * nth;
            preadv2(
                file,
                &mut [IoSliceMut::new(&mut byte)],
                at,
                ReadWriteFlags::NOWAIT,
            )
            .is_ok()
        })
        .count()
}

fn hash(path: &Path) {
    let mut report = |_| Ok(());
    hash_file(path, &mut Progress::new(&mut report)).unwrap();
}

struct Gone(PathBuf);

impl Drop for Gone {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A file that is on the disk, and as far as one can tell not in memory.
fn cold_file(name: &str) -> (Gone, File) {
    let path = Gone(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name));
    let mut file = File::create(&path.0).unwrap();
    file.write_all(&vec![7; SIZE]).unwrap();
    file.sync_all().unwrap();
    let file = File::open(&path.0).unwrap();
    fadvise(&file, 0, None, Advice::DontNeed).unwrap();
    (path, file)
}

#[test]
fn the_page_cache_is_left_as_it_was_found() {
    // Another file, because looking makes the kernel fetch what it did not have.
    if cached(&cold_file("page-cache-probe").1) > 10 {
        println!("skipped: this file system keeps its files in memory, or does not say");
        return;
    }
    let (path, file) = cold_file("page-cache");
    hash(&path.0);
    let cold = cached(&file);
    assert!(cold < 30, "{cold} of 100 places stayed in memory");
    drop(std::fs::read(&path.0).unwrap());
    assert_eq!(cached(&file), 100);
    hash(&path.0);
    assert!(cached(&file) > 95, "what was there before was pushed out");
}
