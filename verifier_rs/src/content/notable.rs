//! Printable strings that tell a reviewer something: what it was built with and from, where it talks to.

use std::sync::OnceLock;

use regex::Regex;
use serde_json::{Value, json};

use crate::content::anchors::Kind;
use crate::content::credentials::secrets;
use crate::content::scan::Scan;
use crate::content::text::{line_at, masked};
use crate::error::Result;
use crate::source::Source;

pub struct Rule {
    pub kind: &'static str,
    pub anchors: &'static [&'static str],
    /// What is taken from the line; it must lie around the anchor.
    pub expression: &'static str,
}

/// The row of e-mail addresses, whose single anchor is looked for apart.
pub const ADDRESS: usize = 0;
/// As much of a cut line as is shown before what it was found by.
const NEAR: usize = 40;
const MAX_STRINGS: usize = 200;
const MAX_LENGTH: usize = 200;
/// Places read before the longest are chosen.
const MAX_READ: usize = 10_000;

pub const RULES: &[Rule] = &[
    Rule {
        kind: "e-mail",
        anchors: &[],
        expression: r"[A-Za-z0-9][A-Za-z0-9._%+-]{2,63}@[A-Za-z0-9][A-Za-z0-9-]{1,62}(?:\.[A-Za-z0-9-]{2,62})*\.[a-z]{2,10}(?:$|[^A-Za-z0-9.-])",
    },
    Rule {
        kind: "address",
        anchors: &["p://", "s://", "t://", "h://"],
        expression: r#"[A-Za-z][A-Za-z0-9+.-]{1,15}://[^\s"'<>`{}|\\^]{3,200}"#,
    },
    Rule {
        kind: "build path",
        anchors: &[
            "/home/",
            "/build/",
            "/usr/src/",
            "/workspace/",
            "/jenkins/",
            "/Users/",
            ":\\Users\\",
            ":\\Work",
            ":\\build",
            "/buildroot",
            "/yocto/",
        ],
        expression: r#"(?:[A-Za-z]:)?[/\\][A-Za-z0-9._+@-]+(?:[/\\][A-Za-z0-9._+@-]+){1,30}"#,
    },
    Rule {
        kind: "built with",
        anchors: &[
            "GCC: (",
            "gcc version ",
            "clang version ",
            "ARM Compiler",
            "IAR ANSI",
            "IAR C/C++",
            "Keil",
            "Buildroot ",
            "Yocto",
            "OpenWrt ",
            "ESP-IDF",
            "Zephyr version",
        ],
        expression: r"[\x20-\x7e]*[0-9]+\.[0-9]+[\x20-\x7e]*",
    },
    Rule {
        kind: "component",
        anchors: &[
            "Linux version ",
            "U-Boot 20",
            "U-Boot SPL 20",
            "BusyBox v",
            "OpenSSL 0",
            "OpenSSL 1",
            "OpenSSL 3",
            "mbed TLS ",
            "Mbed TLS ",
            "wolfSSL ",
            "lwIP ",
            "FreeRTOS ",
            "Zephyr OS",
            "VxWorks",
            "ThreadX",
            "MCUboot",
            "dropbear_",
            "OpenSSH_",
            "libcurl/",
            "nginx/",
            "lighttpd/",
            "GoAhead",
            "uC/OS",
            "SQLite ",
            "zlib ",
            "dnsmasq-",
            "hostapd v",
            "wpa_supplicant v",
            "net-snmp",
            "NET-SNMP version",
        ],
        expression: r"[\x20-\x7e]*[0-9]+\.[0-9]+[\x20-\x7e]*",
    },
    Rule {
        kind: "version",
        anchors: &[
            "version",
            "firmware v",
            "fw_ver",
            "release ",
            "built on",
            "build date",
            "copyright",
        ],
        expression: r"[\x20-\x7e]*(?:[0-9]+\.[0-9]+|(?:19|20)[0-9]{2})[\x20-\x7e]*",
    },
];

/// Longest first, each once.
pub fn strings(source: &Source, scan: &Scan) -> Result<Vec<Value>> {
    static COMPILED: OnceLock<Vec<Option<Regex>>> = OnceLock::new();
    let expressions = COMPILED.get_or_init(|| {
        RULES
            .iter()
            .map(|rule| Regex::new(rule.expression).ok())
            .collect()
    });
    let mut kept: Vec<(String, &str, u64)> = Vec::new();
    let mut read = 0_usize;
    for place in &scan.places {
        let Kind::Notable(row) = place.kind else { continue };
        let (Some(rule), Some(Some(expression))) = (RULES.get(row), expressions.get(row)) else {
            continue;
        };
        read = read.saturating_add(1);
        if read > MAX_READ {
            break;
        }
        let Some(line) = line_at(source, place.offset)? else {
            continue;
        };
        let around = expression
            .find_iter(&line.text)
            .find(|found| found.start() <= line.at && line.at < found.end());
        let Some(found) = around else { continue };
        // Of a line that is cut, what it is a password of may be cut off.
        let from = if line.whole {
            found.start()
        } else {
            found.start().max(line.at.saturating_sub(NEAR))
        };
        let text = masked(&line.text, from, found.end(), &secrets(&line.text));
        let text: String = text.trim().chars().take(MAX_LENGTH).collect();
        let offset = line.offset.saturating_add(u64::try_from(from).unwrap_or(0));
        // Short runs are what random bytes look like.
        if text.len() >= 8 {
            kept.push((text, rule.kind, offset));
        }
    }
    kept.sort_by(|a, b| (b.0.len(), &a.0, a.2).cmp(&(a.0.len(), &b.0, b.2)));
    kept.dedup_by(|a, b| a.0 == b.0);
    kept.truncate(MAX_STRINGS);
    Ok(kept
        .into_iter()
        .map(|(text, kind, offset)| json!({"kind": kind, "offset": offset, "text": text}))
        .collect())
}
