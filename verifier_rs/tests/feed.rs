//! One read gives every digest what a digest alone would be given, on one thread and on several.

use std::path::Path;

use _verifier::digest::{Sha384, Sha512};
use _verifier::error::Error;
use _verifier::hasher::Tree;
use _verifier::pool::pool;
use _verifier::source::{Progress, Sink, Source};
use sha2::{Digest, Sha256};

fn digests(path: &Path, from: u64, to: u64) -> Vec<Vec<u8>> {
    let source = Source::open(path).unwrap();
    let mut sinks = [
        Sink::Blake3(Tree::default()),
        Sink::Sha256(Sha256::new()),
        Sink::Sha512(Sha512::new()),
        Sink::Sha384(Sha384::new()),
    ];
    let mut told = 0;
    let mut report = |done| {
        told = done;
        Ok(())
    };
    let mut fed: Vec<&mut Sink> = sinks.iter_mut().collect();
    source
        .feed(from, to, &mut fed, &mut Progress::new(&mut report))
        .unwrap();
    sinks.iter().map(Sink::digest).collect()
}

#[test]
fn every_digest_sees_every_byte_once_and_in_order() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let path = folder.join("feed");
    for size in [0, 1, 1 << 20, (1 << 20) + 1, (11 << 20) + 4711] {
        let data: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
        std::fs::write(&path, &data).unwrap();
        for (from, to) in [(0, size), (size / 3, size - size / 5), (size, size)] {
            let part = &data[from..to];
            let expected = [
                blake3::hash(part).as_bytes().to_vec(),
                Sha256::digest(part).to_vec(),
                Sha512::digest(part).to_vec(),
                Sha384::digest(part).to_vec(),
            ];
            let (from, to) = (from as u64, to as u64);
            assert_eq!(digests(&path, from, to), expected, "{from}..{to} of {size}");
            // A thread of the pool reads alone.
            let inside = pool().unwrap().install(|| digests(&path, from, to));
            assert_eq!(inside, expected, "{from}..{to} of {size} in the pool");
        }
    }
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn a_file_that_shrinks_or_a_caller_that_has_enough_ends_the_read() {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("feed-short");
    std::fs::write(&path, vec![7; 40 << 20]).unwrap();
    let source = Source::open(&path).unwrap();
    let mut sink = Sink::Sha512(Sha512::new());
    let mut report = |_| Ok(());
    let short = source.feed(0, 50 << 20, &mut [&mut sink], &mut Progress::new(&mut report));
    assert!(matches!(short, Err(Error::Unreadable(_))), "{short:?}");
    let mut calls = 0;
    let mut report = |_| {
        calls += 1;
        Err(Error::Cancelled)
    };
    let mut progress = Progress::new(&mut report);
    std::thread::sleep(std::time::Duration::from_millis(150));
    let ended = source.feed(0, 40 << 20, &mut [&mut sink], &mut progress);
    assert!(matches!(ended, Err(Error::Cancelled)), "{ended:?}");
    assert_eq!(calls, 1);
    std::fs::remove_file(&path).unwrap();
}
