//! Passwords, tokens and ways in that are built into an image: by rules over its printable text.
//!
//! Every unit carries the same image, so what is found here is known to whoever has one. Each rule has anchors,
//! which lead to a line, and an expression that must hold there around the anchor; a group `s` is the secret
//! itself and is never shown.

use std::sync::OnceLock;

use regex::Regex;

use crate::content::anchors::Kind;
use crate::content::finding::{CREDENTIALS, Check, Found, Level};
use crate::content::scan::Scan;
use crate::content::text::{Line, line_at, shown};
use crate::error::Result;
use crate::outcome::{Finding, Outcome};
use crate::source::Source;

pub struct Rule {
    pub name: &'static str,
    /// What it is, for people; the line follows in quotes.
    pub what: &'static str,
    pub anchors: &'static [&'static str],
    pub expression: &'static str,
}

pub const RULES: &[Rule] = &[
    Rule {
        name: "default_login",
        what: "a well-known default login",
        anchors: &[
            "admin:",
            "apc:",
            "device:",
            "cyber:",
            "userid:",
            "liebert:",
            "operator:",
            "installer:",
        ],
        expression: r"(?i)(?:^|[^\w.:/@-])(?:administrator|admin|apc|device|cyber|localadmin|userid|liebert|operator|installer):(?:admin|administrator|password|passw0rd|passwd|1234|12345|123456|admin123|apc|cyber|localadmin|liebert|default|changeme|operator|installer|solar)(?:$|[^\w.:/@-])",
    },
    Rule {
        name: "default_root",
        what: "a well-known default login of root",
        anchors: &["root:"],
        // "root:root" is also how owners of files are written: it counts only where it stands alone.
        expression: r#"^["']?root:root["']?$|(?:^|[^\w.:/@-])root:(?:admin|toor|password|passwd|1234|12345|123456|default|changeme|calvin|0penBmc)(?:$|[^\w.:/@-])"#,
    },
    Rule {
        name: "password_hash",
        what: "the password hash of an account",
        anchors: &[":$1$", ":$5$", ":$6$", ":$y$", ":$2a$", ":$2b$", ":$2y$", ":$7$"],
        expression: r"(?:^|[^\w-])[a-z_][a-z0-9_-]{0,31}:(?P<s>\$(?:1|5|6|y|7|2[aby])\$[./A-Za-z0-9$=,]{20,}):",
    },
    Rule {
        name: "password_hash_des",
        what: "the DES password hash of an account",
        anchors: &["root:", "admin:"],
        expression: r"(?:^|[^\w-])(?:root|admin):(?P<s>[./A-Za-z0-9]{13}):\d*:\d*:",
    },
    Rule {
        name: "empty_password",
        what: "an account without a password",
        anchors: &["root::", "admin::"],
        expression: r"(?:^|[^\w:])(?:root|admin)::\d*:\d*:",
    },
    Rule {
        name: "password_assigned",
        what: "a password or secret written into the image",
        anchors: &[
            "password",
            "passwd",
            "passphrase",
            "secret",
            "api_key",
            "apikey",
            "token",
            "psk=",
        ],
        expression: r#"(?i)(?:^|[^\w])(?:[a-z0-9]{1,24}[_.-]){0,4}(?:password|passwd|passphrase|wpa_passphrase|secret|secret_?key|jwt_?secret|client_?secret|api_?key|auth_?token|access_?token|psk)(?:["'] ?: ?["']|=["']?)(?P<s>[A-Za-z0-9!#*+./@^_~-]{6,64})(?:["']|\s|$)"#,
    },
    Rule {
        name: "aws_key",
        what: "an AWS access key id",
        anchors: &["AKIA", "ASIA"],
        expression: r"(?:^|[^A-Za-z0-9])(?P<s>(?:AKIA|ASIA)[A-Z2-7]{16})(?:$|[^A-Za-z0-9])",
    },
    Rule {
        name: "service_token",
        what: "an access token of an online service",
        anchors: &[
            "ghp_",
            "github_pat_",
            "glpat-",
            "xoxb-",
            "xoxp-",
            "AIza",
            "sk_live_",
        ],
        expression: r"(?:^|[^A-Za-z0-9])(?P<s>ghp_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{60,}|glpat-[A-Za-z0-9_-]{20,}|xox[bp]-[0-9A-Za-z-]{20,}|AIza[0-9A-Za-z_-]{35}|sk_live_[0-9A-Za-z]{24,})",
    },
    Rule {
        name: "cloud_device_key",
        what: "the shared access key of a cloud connection",
        anchors: &["SharedAccessKey=", "AccountKey="],
        expression: r"(?:SharedAccessKey|AccountKey)=(?P<s>[A-Za-z0-9+/]{32,}={0,2})",
    },
    Rule {
        name: "bearer_token",
        what: "a signed token (JWT)",
        anchors: &["eyJ0", "eyJh", "eyJr"],
        expression: r"(?:^|[^\w-])(?P<s>eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{16,})",
    },
    Rule {
        name: "url_login",
        what: "an address with user and password in it",
        anchors: &["p://", "s://", "t://", "h://"],
        expression: r"(?:^|[^\w])[a-z][a-z0-9+.-]{1,15}://[A-Za-z0-9._-]{1,64}:(?P<s>[A-Za-z0-9!#*+.^_~-]{3,64})@[A-Za-z0-9.-]{3,}",
    },
    Rule {
        name: "snmp_community",
        what: "a default SNMP community",
        anchors: &["rocommunity", "rwcommunity", "com2sec", "community"],
        expression: r#"(?i)(?:^|[^\w])(?:r[ow]community6?\s+["']?(?:public|private)|com2sec6?\s+\S+\s+\S+\s+["']?(?:public|private)|(?:snmp[\w.-]*)?community["']?\s?[=:]\s?["']?(?:public|private))(?:$|[^\w])"#,
    },
    Rule {
        name: "wireguard_key",
        what: "a WireGuard private key",
        anchors: &["PrivateKey"],
        expression: r"PrivateKey\s?=\s?(?P<s>[A-Za-z0-9+/]{43}=)",
    },
    Rule {
        name: "authorised_ssh_key",
        what: "an SSH public key, whose owner may be let in",
        anchors: &["ssh-rsa AAAA", "ssh-ed25519 AAAA", "ecdsa-sha2-nistp"],
        expression: r"(?:ssh-rsa|ssh-ed25519|ecdsa-sha2-nistp\d{3}) AAAA[A-Za-z0-9+/]{60,}",
    },
    Rule {
        name: "ssh_root_login",
        what: "an SSH server that lets root in, or anyone without a password",
        anchors: &["PermitRootLogin", "PermitEmptyPasswords"],
        expression: r"^\s*(?:PermitRootLogin|PermitEmptyPasswords)\s+yes\b",
    },
    Rule {
        name: "telnet_server",
        what: "a telnet server",
        anchors: &["telnetd"],
        expression: r"(?:^|[^\w])(?:u|in\.)?telnetd(?:$|[^\w.])",
    },
    Rule {
        name: "debug_server",
        what: "a debug server",
        anchors: &["gdbserver", "tcf-agent"],
        expression: r"(?:^|[^\w])(?:gdbserver|tcf-agent)(?:$|[^\w.])",
    },
    Rule {
        name: "debug_door",
        what: "words of a debug or service door",
        anchors: &[
            "jtag",
            "swd ",
            "debug menu",
            "debug shell",
            "debug console",
            "debug password",
            "backdoor",
            "back door",
            "factory menu",
            "factory shell",
            "factory login",
            "engineering m",
            "manufacturing m",
            "hidden menu",
            "service password",
            "root shell",
        ],
        expression: r"(?i)(?:^|[^\w])(?:(?:jtag|swd) (?:is )?(?:enabled|unlocked|unlock|open)|(?:debug|factory|hidden|engineering|manufacturing) (?:menu|shell|login|password|mode enabled)|debug console (?:enabled|open)|back ?door|service password|root shell)(?:$|[^\w])",
    },
];

/// Values that are no secret: placeholders and the names of things.
const PLACEHOLDERS: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "required",
    "optional",
    "string",
    "boolean",
    "integer",
    "unknown",
    "default",
    "example",
    "undefined",
    "disabled",
    "enabled",
    "invalid",
    "missing",
    "incorrect",
    "expired",
    "private",
    "public",
    "secret",
    "changed",
    "current-password",
    "new-password",
    "username",
    "xxxxxx",
    "******",
    "......",
    "----",
];

/// Findings of one rule that are kept; more of the same tell nothing more.
const MAX_OF_RULE: usize = 25;

fn expressions() -> &'static [Option<Regex>] {
    static COMPILED: OnceLock<Vec<Option<Regex>>> = OnceLock::new();
    COMPILED.get_or_init(|| {
        RULES
            .iter()
            .map(|rule| Regex::new(rule.expression).ok())
            .collect()
    })
}

pub fn examine(source: &Source, scan: &Scan) -> Result<Check> {
    let mut found: Vec<Found> = Vec::new();
    let mut kept = vec![0_usize; RULES.len()];
    let mut last = vec![None::<u64>; RULES.len()];
    for place in &scan.places {
        let Kind::Credential(row) = place.kind else {
            continue;
        };
        let (Some(rule), Some(Some(expression)), Some(kept), Some(last)) = (
            RULES.get(row),
            expressions().get(row),
            kept.get_mut(row),
            last.get_mut(row),
        ) else {
            continue;
        };
        if *kept >= MAX_OF_RULE {
            continue;
        }
        let Some(line) = line_at(source, place.offset)? else {
            continue;
        };
        let Some(item) = apply(rule, expression, &line) else {
            continue;
        };
        // Two anchors of one rule lead to one finding.
        if *last == Some(item.offset) {
            continue;
        }
        *last = Some(item.offset);
        *kept = kept.saturating_add(1);
        found.push(item);
    }
    Ok(Check::of(
        CREDENTIALS,
        found,
        Finding::new(
            Outcome::Pass,
            "No default login, built-in secret or debug door in the text of the image.",
        ),
    ))
}

fn apply(rule: &Rule, expression: &Regex, line: &Line) -> Option<Found> {
    let captures = expression.captures_iter(&line.text).find(|captures| {
        captures
            .get(0)
            .is_some_and(|all| all.start() <= line.at && line.at < all.end())
    })?;
    let all = captures.get(0)?;
    let stands_alone = expression.as_str().starts_with('^');
    if stands_alone && !line.whole {
        return None;
    }
    let secret = captures.name("s");
    if let Some(secret) = secret {
        let value = secret.as_str().to_ascii_lowercase();
        let first = value.chars().next()?;
        let placeholder = PLACEHOLDERS.contains(&value.as_str())
            || value.chars().all(|c| c == first)
            || value.contains("example")
            || value.contains("your");
        if placeholder {
            return None;
        }
        // What is assigned to a name may be a name itself, a path or a word: a secret has more than letters.
        if rule.name == "password_assigned" && !telling(secret.as_str()) {
            return None;
        }
    }
    let quote = shown(&line.text, all.start(), all.end(), &secrets(&line.text));
    let at = line
        .offset
        .saturating_add(u64::try_from(all.start()).unwrap_or(0));
    let length = u64::try_from(all.len()).unwrap_or(0);
    Some(
        Found::new(Level::Warn, at, length, format!("{} (\"{quote}\")", rule.what))
            .with("rule", rule.name)
            .with("text", quote),
    )
}

/// Where secrets stand in a text, by every rule, in its order: whoever quotes the text leaves them out. A
/// placeholder that is taken for one costs nothing.
pub fn secrets(text: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for expression in expressions().iter().flatten() {
        let mut from = 0;
        // What ends one may begin the next, so that each is looked for right behind the last secret.
        while let Some(captures) = expression.captures_at(text, from) {
            let Some(secret) = captures.name("s") else { break };
            found.push((secret.start(), secret.end()));
            from = secret.end();
        }
    }
    found.sort_unstable();
    found
}

/// Whether a value looks like a secret and not like a word, a path or a name in a program.
fn telling(value: &str) -> bool {
    let digits = value.chars().any(|c| c.is_ascii_digit());
    let letters = value.chars().any(|c| c.is_ascii_alphabetic());
    let marks = value.chars().any(|c| "!#*+^~@".contains(c));
    let path = value.contains('/') || value.contains("..") || value.contains("->");
    !path && (digits || marks) && (letters || value.len() >= 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hit(name: &str, text: &str) -> Option<String> {
        let row = RULES.iter().position(|rule| rule.name == name)?;
        let rule = &RULES[row];
        let expression = expressions()[row].as_ref()?;
        let low = text.to_ascii_lowercase();
        rule.anchors.iter().find_map(|anchor| {
            let at = low.find(&anchor.to_ascii_lowercase())?;
            let line = Line {
                offset: 0,
                text: text.to_owned(),
                at,
                whole: true,
            };
            apply(rule, expression, &line).map(|found| found.what)
        })
    }

    #[test]
    fn every_expression_compiles() {
        assert!(expressions().iter().all(Option::is_some));
    }

    #[test]
    fn built_in_secrets_are_found_and_not_shown() {
        for (rule, text) in [
            ("default_login", "login admin:admin"),
            ("default_login", "USERID:PASSW0RD"),
            ("default_login", "apc:apc"),
            ("default_root", "root:root"),
            (
                "password_hash",
                "root:$1$GTN.gpri$DlSyKvZKMR9A9Uj9e9wR3/:15502:0:99999:7:::",
            ),
            ("password_hash_des", "root:XUS3pkmPeUZ6M:0:0:root:/root:/bin/sh"),
            ("empty_password", "root::0:0:99999:7:::"),
            ("password_assigned", "wifi_password=Sup3rS3cret!"),
            ("password_assigned", r#"{"api_key": "d41d8cd98f00b204"}"#),
            ("aws_key", "key AKIAJ3QH2XKLMNOP2345"),
            ("snmp_community", "rocommunity public default"),
            ("snmp_community", "snmp_community=private"),
            ("url_login", "mqtt://device:hunter22@broker.example.com:1883"),
            ("ssh_root_login", "PermitRootLogin yes"),
            ("telnet_server", "/usr/sbin/telnetd -l /bin/sh"),
            ("debug_door", "JTAG unlocked"),
            (
                "wireguard_key",
                "PrivateKey = yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=",
            ),
        ] {
            let what = hit(rule, text).unwrap_or_else(|| panic!("{rule}: {text}"));
            for secret in [
                "GTN.gpri", "XUS3pk", "Sup3r", "d41d8", "J3QH2X", "hunter22", "yAnz5",
            ] {
                assert!(!what.contains(secret), "{what}");
            }
        }
    }

    #[test]
    fn all_secrets_of_a_line_are_left_out() {
        let text = "mqtt://dev:hunter22@host api_key=d41d8cd98f token=a1b2c3d4 psk=Sup3rS3cret1";
        let told = shown(text, 0, text.len(), &secrets(text));
        assert_eq!(
            told,
            "mqtt://dev:<8 characters>@host api_key=<10 characters> token=a1b2c3d4 psk=<12 characters>"
        );
    }

    #[test]
    fn words_about_passwords_are_no_passwords() {
        for (rule, text) in [
            ("default_root", "chown root:root /etc/shadow"),
            ("default_root", "-o root:root -m 755"),
            ("password_assigned", "password=%s"),
            ("password_assigned", "Password: "),
            ("password_assigned", "password=required"),
            ("password_assigned", "token=next_token"),
            ("password_assigned", "secret=/run/secrets/key1"),
            (
                "password_assigned",
                "autocomplete=\"current-password\" name=\"password1\"",
            ),
            ("aws_key", "AKIAIOSFODNN7EXAMPLE"),
            ("snmp_community", "the community of public users"),
            ("url_login", "https://example.com:8443/a@b"),
            ("telnet_server", "telnetd.c"),
            ("debug_door", "JTAG boundary scan description"),
            ("default_login", "http://host/admin:admins"),
            ("empty_password", "std::root::0"),
        ] {
            assert_eq!(hit(rule, text), None, "{rule}: {text}");
        }
    }
}
