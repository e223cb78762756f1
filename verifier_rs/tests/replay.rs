//! Every seed of the fuzz targets, and every input that once broke a parser, through the same entries as libFuzzer's.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

#[path = "../fuzz/fuzz_targets/mod.rs"]
mod fuzz_targets;

const MAX_SEED: u64 = 64 * 1024;
/// libFuzzer calls ten seconds a hang; nothing of 64 KiB may come near it, on a busy machine either.
const MAX_TIME: Duration = Duration::from_secs(10);

fn files(kind: &str, target: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz")
        .join(kind)
        .join(target);
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn seeds_and_past_crashes_are_read_without_a_panic() {
    for (target, run) in fuzz_targets::ALL {
        let seeds = files("corpus", target);
        assert!(!seeds.is_empty(), "{target}: no seed in fuzz/corpus/{target}");
        for file in &seeds {
            let size = file.metadata().unwrap().len();
            assert!(
                size <= MAX_SEED,
                "{}: {size} bytes, expected at most {MAX_SEED}",
                file.display()
            );
        }
        for file in seeds.into_iter().chain(files("crashes", target)) {
            let began = Instant::now();
            println!("{}", file.display()); // named where it panics
            run(&fs::read(&file).unwrap());
            assert!(
                began.elapsed() < MAX_TIME,
                "{}: took {:?}",
                file.display(),
                began.elapsed()
            );
        }
    }
}

#[test]
fn every_folder_belongs_to_a_target() {
    for kind in ["corpus", "crashes"] {
        for folder in files(kind, "") {
            let name = folder.file_name().unwrap().to_str().unwrap();
            assert!(
                fuzz_targets::ALL.iter().any(|(target, _)| *target == name) || folder.is_file(),
                "fuzz/{kind}/{name}: no such target in fuzz/fuzz_targets/mod.rs"
            );
        }
    }
}
