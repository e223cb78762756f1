//! The printable text around a place.

use crate::error::Result;
use crate::source::Source;

const BEFORE: u64 = 160;
const AROUND: usize = 512;
/// As much of a line as is shown.
const SHOWN: usize = 120;

/// A run of printable ASCII, as long as it goes (within some hundred bytes).
pub struct Line {
    /// Where it begins in the file.
    pub offset: u64,
    pub text: String,
    /// Where the place is in it.
    pub at: usize,
    /// Whether it ends where the text in the file ends, and not where the window does.
    pub whole: bool,
}

fn printable(byte: u8) -> bool {
    (0x20..0x7f).contains(&byte) || byte == b'\t'
}

/// The line that a place lies in; `None` where the byte there is not printable.
pub fn line_at(source: &Source, offset: u64) -> Result<Option<Line>> {
    let start = offset.saturating_sub(BEFORE);
    let mut window = [0_u8; AROUND];
    let got = source.read_some(&mut window, start)?;
    let window = window.get(..got).unwrap_or_default();
    let at = usize::try_from(offset.saturating_sub(start)).unwrap_or(usize::MAX);
    let (Some(before), Some(after)) = (window.get(..at), window.get(at..)) else {
        return Ok(None);
    };
    let back = before.iter().rev().take_while(|byte| printable(**byte)).count();
    let ahead = after.iter().take_while(|byte| printable(**byte)).count();
    if ahead == 0 {
        return Ok(None);
    }
    let first = at.saturating_sub(back);
    let bytes = window.get(first..at.saturating_add(ahead)).unwrap_or_default();
    let cut_before = back == before.len() && start > 0;
    let cut_after = ahead == after.len() && got == AROUND;
    Ok(Some(Line {
        offset: start.saturating_add(u64::try_from(first).unwrap_or(0)),
        text: String::from_utf8_lossy(bytes).into_owned(),
        at: back,
        whole: !cut_before && !cut_after,
    }))
}

/// What is shown of `text`: the part around `from..to`, and of the secrets in it how long they are.
pub fn shown(text: &str, from: usize, to: usize, secrets: &[(usize, usize)]) -> String {
    let spare = SHOWN.saturating_sub(to.saturating_sub(from)) / 2;
    let last = to.saturating_add(spare).min(text.len());
    let body = masked(text, from.saturating_sub(spare), last, secrets).replace('\t', " ");
    let body: String = body.chars().take(SHOWN.saturating_mul(2)).collect();
    body.trim().to_owned()
}

/// `text` from `first` to `last`, and instead of each secret (in the order of the text) how long it is.
pub fn masked(text: &str, first: usize, last: usize, secrets: &[(usize, usize)]) -> String {
    let mut body = String::new();
    let mut at = first;
    for &(begin, end) in secrets {
        if end <= at || last <= begin {
            continue;
        }
        body.push_str(text.get(at..begin).unwrap_or_default());
        body.push_str(&format!("<{} characters>", end.saturating_sub(begin)));
        at = end;
    }
    body.push_str(text.get(at..last).unwrap_or_default());
    body
}
