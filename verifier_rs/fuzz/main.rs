//! libFuzzer's side: one program for all targets, chosen by `LOTGATE_FUZZ_TARGET`, so that the instrumented
//! verifier is compiled and linked once. `LOTGATE_FUZZ_TARGET=?` lists them.

#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;

#[path = "fuzz_targets/mod.rs"]
mod fuzz_targets;

static TARGET: OnceLock<fn(&[u8])> = OnceLock::new();

fn chosen() -> fn(&[u8]) {
    let name = std::env::var("LOTGATE_FUZZ_TARGET").unwrap_or_default();
    let found = fuzz_targets::ALL.iter().find(|(known, _)| *known == name);
    if let Some((_, run)) = found {
        return *run;
    }
    for (known, _) in fuzz_targets::ALL {
        println!("{known}");
    }
    std::process::exit(if name == "?" { 0 } else { 2 });
}

fuzz_target!(init: { TARGET.get_or_init(chosen); }, |data: &[u8]| {
    TARGET.get_or_init(chosen)(data);
});
