//! YARA rules, by boreal: compiled without includes and without modules that look outside the image.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use boreal::compiler::{CompilerBuilder, CompilerParams};
use boreal::memory::{FragmentedMemory, MemoryParams, Region, RegionDescription};
use boreal::module::{Math, String_};
use boreal::scanner::{EvaluatedRule, FragmentedScanMode, ScanError, ScanParams};
use boreal::{MetadataValue, Scanner};
use serde_json::Value;

use crate::content::finding::{Check, Found, Level, RULES, not_applicable};
use crate::error::{Error, Result};
use crate::outcome::{Finding, Outcome};
use crate::pool::pool;
use crate::source::{Progress, Source};

/// An image up to this size is looked at as one run of bytes; a larger one in pieces, where `filesize` and
/// `uint32(…)` are not defined.
pub const MAX_WHOLE: u64 = 32 * 1024 * 1024;
const REGION: u64 = 8 * 1024 * 1024;
/// So far a region reads into the next one: longer matches may be missed where they meet.
const OVERLAP: u64 = 4096;
const MAX_SOURCES: usize = 512;
const MAX_TEXT: usize = 8 * 1024 * 1024;
/// Matches of one string that are counted, and matches of one rule that are listed.
const MAX_MATCHES: u32 = 100;
const MAX_LISTED: usize = 10;
/// Rule sets that stay compiled.
const MAX_CACHED: usize = 4;
/// Seconds that an evaluation takes at most: this, and one more for each of these bytes.
const SECONDS: u64 = 20;
const BYTES_A_SECOND: u64 = 10 * 1024 * 1024;

/// A file of rules: its name, which says where a match comes from, and its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleFile {
    pub name: String,
    pub text: String,
}

/// Compiled rules, ready for any number of images.
pub struct Compiled {
    scanner: Scanner,
    pub rules: usize,
}

type Cache = Mutex<Vec<(blake3::Hash, Arc<Compiled>)>>;
static CACHE: Cache = Mutex::new(Vec::new());

fn digest(files: &[RuleFile]) -> blake3::Hash {
    let mut state = blake3::Hasher::new();
    for part in files.iter().flat_map(|file| [&file.name, &file.text]) {
        let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
        state.update(&length.to_le_bytes()).update(part.as_bytes());
    }
    state.finalize()
}

/// Compile rules, or take what was compiled from the same text before. The error names file and line.
pub fn compile(files: &[RuleFile]) -> Result<Arc<Compiled>> {
    let digest = digest(files);
    let mut cache = CACHE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, compiled)) = cache.iter().find(|(known, _)| *known == digest) {
        return Ok(Arc::clone(compiled));
    }
    let compiled = Arc::new(build(files)?);
    if cache.len() >= MAX_CACHED {
        cache.remove(0);
    }
    cache.push((digest, Arc::clone(&compiled)));
    Ok(compiled)
}

fn build(files: &[RuleFile]) -> Result<Compiled> {
    let size = files
        .iter()
        .fold(0_usize, |sum, file| sum.saturating_add(file.text.len()));
    if files.len() > MAX_SOURCES || size > MAX_TEXT {
        return Err(Error::Rules(format!(
            "expected at most {MAX_SOURCES} files of rules with {MAX_TEXT} bytes together, found {} with {size}",
            files.len()
        )));
    }
    // Not `new`: its default modules may look at the clock, and at whatever later versions add.
    let builder = CompilerBuilder::default().add_module(Math).add_module(String_);
    let mut compiler = builder.build();
    compiler.set_params(CompilerParams::default().disable_includes(true));
    for file in files {
        compiler
            .add_rules_str_in_namespace(&file.text, &file.name)
            .map_err(|error| Error::Rules(located(&file.name, &error.to_string())))?;
    }
    let mut scanner = compiler.finalize();
    let rules = scanner.rules().count();
    scanner.set_scan_params(
        ScanParams::default()
            .compute_full_matches(true)
            .match_max_length(64)
            .string_max_nb_matches(MAX_MATCHES)
            .fragmented_scan_mode(FragmentedScanMode::single_pass()),
    );
    Ok(Compiled { scanner, rules })
}

/// boreal says `mem:LINE:COLUMN: error: …`; people know the file by its name.
fn located(name: &str, message: &str) -> String {
    let text = message.strip_prefix("mem:").unwrap_or(message);
    format!("rules {name}:{text}")
}

/// An image in regions that are read when they are looked at.
struct Regions<'a> {
    source: &'a Source,
    next: u64,
    region: Option<u64>,
    buffer: Vec<u8>,
    stop: &'a AtomicBool,
    failed: &'a AtomicBool,
}

impl fmt::Debug for Regions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Regions at {}", self.next)
    }
}

impl FragmentedMemory for Regions<'_> {
    fn next(&mut self, _: &MemoryParams) -> Option<RegionDescription> {
        let start = self.next;
        if start >= self.source.size() || self.stop.load(Ordering::Relaxed) {
            return None;
        }
        self.next = start.saturating_add(REGION);
        self.region = Some(start);
        let end = self.next.saturating_add(OVERLAP).min(self.source.size());
        Some(RegionDescription {
            start: usize::try_from(start).ok()?,
            length: usize::try_from(end.saturating_sub(start)).ok()?,
        })
    }

    fn fetch(&mut self, _: &MemoryParams) -> Option<Region<'_>> {
        let start = self.region?;
        let end = start
            .saturating_add(REGION)
            .saturating_add(OVERLAP)
            .min(self.source.size());
        let length = usize::try_from(end.saturating_sub(start)).ok()?;
        self.buffer.resize(length, 0);
        if self.source.read_some(&mut self.buffer, start).ok() != Some(length) {
            // A region that is passed over would be a part nobody looked at.
            self.failed.store(true, Ordering::Relaxed);
            return None;
        }
        Some(Region {
            start: usize::try_from(start).ok()?,
            mem: &self.buffer,
        })
    }

    fn reset(&mut self) {
        self.next = 0;
        self.region = None;
    }
}

fn allowed(size: u64) -> Duration {
    Duration::from_secs(SECONDS.saturating_add(size / BYTES_A_SECOND))
}

/// What the rules say about the image. Runs beside the caller's thread, which tells progress and may stop it.
pub fn examine(source: &Source, rules: Option<&Compiled>, progress: &mut Progress<'_>) -> Result<Check> {
    let Some(rules) = rules.filter(|rules| rules.rules > 0) else {
        return Ok(not_applicable(RULES, "No YARA rules are set up."));
    };
    let stop = AtomicBool::new(false);
    let failed = AtomicBool::new(false);
    let mut scanner = rules.scanner.clone();
    let params = scanner
        .scan_params()
        .clone()
        .timeout_duration(Some(allowed(source.size())));
    scanner.set_scan_params(params);
    let (done, answer) = channel();
    let scanner = &scanner;
    let mut result = Err(Error::Cancelled);
    pool()?.in_place_scope(|scope| {
        let (stop, failed) = (&stop, &failed);
        scope.spawn(move |_| {
            let _ = done.send(run(source, scanner, stop, failed));
        });
        let mut told = Ok(());
        result = loop {
            match answer.recv_timeout(Duration::from_millis(100)) {
                Ok(finished) => break told.and(finished),
                Err(RecvTimeoutError::Disconnected) => break Err(lost()),
                Err(RecvTimeoutError::Timeout) if told.is_ok() => {
                    told = progress.advance(0);
                    stop.store(told.is_err(), Ordering::Relaxed);
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        };
    });
    let (found, ended) = result?;
    if failed.load(Ordering::Relaxed) {
        source.ensure_unchanged()?;
        return Err(lost());
    }
    let mut check = Check::of(
        RULES,
        found,
        Finding::new(Outcome::Pass, format!("None of {} rules matches.", rules.rules)),
    );
    if let Some(why) = ended {
        let found = if check.found.is_empty() {
            String::new()
        } else {
            format!(" Until then: {}", check.finding.reason)
        };
        let worse = if check.finding.outcome == Outcome::Fail {
            Outcome::Fail
        } else {
            Outcome::Unreadable
        };
        check.finding = Finding::new(worse, format!("{why}{found}"));
    }
    Ok(check)
}

fn lost() -> Error {
    Error::Unreadable("the evaluation of the rules ended without a result".to_owned())
}

type Answer = Result<(Vec<Found>, Option<String>)>;

fn run(source: &Source, scanner: &Scanner, stop: &AtomicBool, failed: &AtomicBool) -> Answer {
    let (scanned, overlap) = if source.size() <= MAX_WHOLE {
        let length = usize::try_from(source.size()).unwrap_or(0);
        (scanner.scan_mem(&source.read_exact(0, length)?), false)
    } else {
        let regions = Regions {
            source,
            next: 0,
            region: None,
            buffer: Vec::new(),
            stop,
            failed,
        };
        (scanner.scan_fragmented(regions), true)
    };
    let (result, ended) = match scanned {
        Ok(result) => (result, None),
        Err((ScanError::Timeout, result)) => {
            let limit = allowed(source.size()).as_secs();
            (
                result,
                Some(format!(
                    "The rules were not all evaluated within {limit} s: simplify them."
                )),
            )
        }
        Err((error, result)) => (
            result,
            Some(format!("The rules were not all evaluated: {error}.")),
        ),
    };
    let found = result
        .rules
        .iter()
        .map(|rule| found(scanner, rule, overlap))
        .collect();
    Ok((found, ended))
}

fn found(scanner: &Scanner, rule: &EvaluatedRule<'_>, overlap: bool) -> Found {
    let mut level = Level::Warn;
    let mut described = String::new();
    for metadata in rule.metadatas {
        let MetadataValue::Bytes(value) = metadata.value else {
            continue;
        };
        let value = String::from_utf8_lossy(scanner.get_bytes_symbol(value)).into_owned();
        match scanner.get_string_symbol(metadata.name) {
            "description" => described = value.chars().filter(|c| !c.is_control()).take(300).collect(),
            // What the rule's writer holds it for; anything else is a warning.
            "severity" => {
                level = match value.to_ascii_lowercase().as_str() {
                    "fail" | "critical" | "high" => Level::Fail,
                    "note" | "info" | "informational" => Level::Note,
                    _ => Level::Warn,
                }
            }
            _ => {}
        }
    }
    let mut places: Vec<(u64, u64, &str)> = rule
        .matches
        .iter()
        .flat_map(|string| {
            string.matches.iter().map(|found| {
                let at = u64::try_from(found.base.saturating_add(found.offset)).unwrap_or(0);
                (at, u64::try_from(found.length).unwrap_or(0), string.name)
            })
        })
        .collect();
    places.sort_unstable();
    if overlap {
        places.dedup(); // seen in both regions that meet there
    }
    let (offset, length, _) = places.first().copied().unwrap_or((0, 0, ""));
    let listed: Vec<Value> = places
        .iter()
        .take(MAX_LISTED)
        .map(|(offset, length, name)| serde_json::json!({"offset": offset, "length": length, "string": format!("${name}")}))
        .collect();
    let words = if described.is_empty() {
        String::new()
    } else {
        format!(": {described}")
    };
    Found::new(
        level,
        offset,
        length,
        format!("the rule {} matches{words}", rule.name),
    )
    .with("rule", rule.name)
    .with("file", rule.namespace)
    .with("description", described)
    .with("matches", listed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Vec<RuleFile> {
        vec![RuleFile {
            name: "buyer.yar".to_owned(),
            text: text.to_owned(),
        }]
    }

    #[test]
    fn an_error_names_file_and_line() {
        let error = compile(&file("rule a {\n condition:\n  unknown_word\n}"))
            .err()
            .unwrap();
        assert!(error.to_string().starts_with("rules buyer.yar:3:"), "{error}");
    }

    #[test]
    fn rules_cannot_look_outside_the_image() {
        for text in [
            "include \"/etc/passwd\"",
            "import \"time\"\nrule a { condition: time.now() > 0 }",
            "import \"console\"\nrule a { condition: console.log(\"x\") }",
        ] {
            assert!(compile(&file(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn equal_text_is_compiled_once() {
        let text = file("rule once { condition: true }");
        let first = compile(&text).unwrap();
        assert!(Arc::ptr_eq(&first, &compile(&text).unwrap()));
        assert_eq!(first.rules, 1);
    }
}
