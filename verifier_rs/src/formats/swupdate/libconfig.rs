//! The configuration language of sw-description, as libconfig's manual ("Configuration Files") gives its grammar,
//! without `@include`. Read into the same values as JSON.

use serde_json::{Map, Number, Value};

const MAX_DEPTH: usize = 16;
const MAX_VALUES: usize = 100_000;

/// The settings of a whole text.
pub fn parse(text: &str) -> Result<Map<String, Value>, String> {
    let mut parser = Parser {
        text,
        at: 0,
        values: 0,
    };
    let settings = parser.settings(None, 0);
    settings.map_err(|why| {
        let line = text.get(..parser.at).unwrap_or_default().matches('\n').count();
        format!("line {}: {why}", line.saturating_add(1))
    })
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    values: usize,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn step(&mut self, bytes: usize) {
        self.at = self.at.saturating_add(bytes);
    }

    /// Pass over white space and comments.
    fn blank(&mut self) -> Result<(), String> {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start_matches([' ', '\t', '\r', '\n', '\u{c}']);
            self.step(rest.len().saturating_sub(trimmed.len()));
            if trimmed.starts_with('#') || trimmed.starts_with("//") {
                self.step(trimmed.find('\n').unwrap_or(trimmed.len()));
            } else if let Some(comment) = trimmed.strip_prefix("/*") {
                let end = comment.find("*/").ok_or("a comment does not end")?;
                self.step(end.saturating_add(4));
            } else {
                return Ok(());
            }
        }
    }

    /// The next character after blanks, without taking it.
    fn peek(&mut self) -> Result<Option<char>, String> {
        self.blank()?;
        Ok(self.rest().chars().next())
    }

    /// Take this character, if it is next.
    fn take(&mut self, wanted: char) -> Result<bool, String> {
        let found = self.peek()? == Some(wanted);
        if found {
            self.step(wanted.len_utf8());
        }
        Ok(found)
    }

    fn unexpected(&self, wanted: &str) -> String {
        match self.rest().chars().next() {
            Some('@') => "@include is not accepted: what is included is not in the package".to_owned(),
            Some(found) => format!("expected {wanted}, found {found:?}"),
            None => format!("expected {wanted}, found the end"),
        }
    }

    /// Settings up to `end`, or to the end of the text.
    fn settings(&mut self, end: Option<char>, depth: usize) -> Result<Map<String, Value>, String> {
        let mut settings = Map::new();
        loop {
            let next = self.peek()?;
            if next == end {
                self.step(end.map_or(0, char::len_utf8));
                return Ok(settings);
            }
            let name = self.name()?;
            if !self.take('=')? && !self.take(':')? {
                return Err(self.unexpected(&format!("= or : after {name:?}")));
            }
            let value = self.value(depth)?;
            if settings.insert(name.clone(), value).is_some() {
                return Err(format!("the setting {name:?} appears twice"));
            }
            if !self.take(';')? {
                self.take(',')?;
            }
        }
    }

    fn name(&mut self) -> Result<String, String> {
        let rest = self.rest();
        let length = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '*')))
            .unwrap_or(rest.len());
        let name = rest.get(..length).unwrap_or_default();
        if !name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '*') {
            return Err(self.unexpected("the name of a setting"));
        }
        self.step(length);
        Ok(name.to_owned())
    }

    fn value(&mut self, depth: usize) -> Result<Value, String> {
        self.values = self.values.saturating_add(1);
        if self.values > MAX_VALUES {
            return Err(format!("more than {MAX_VALUES} values"));
        }
        if depth >= MAX_DEPTH {
            return Err(format!(
                "more than {MAX_DEPTH} groups and lists inside each other"
            ));
        }
        let inner = depth.saturating_add(1);
        if self.take('{')? {
            return self.settings(Some('}'), inner).map(Value::Object);
        }
        if self.take('(')? {
            return self.elements(')', inner);
        }
        if self.take('[')? {
            return self.elements(']', inner);
        }
        if self.peek()? == Some('"') {
            return self.string().map(Value::String);
        }
        self.scalar()
    }

    fn elements(&mut self, end: char, depth: usize) -> Result<Value, String> {
        let mut elements = Vec::new();
        while !self.take(end)? {
            elements.push(self.value(depth)?);
            if !self.take(',')? && self.peek()? != Some(end) {
                return Err(self.unexpected(&format!("a comma or {end:?}")));
            }
        }
        Ok(Value::Array(elements))
    }

    /// One or more strings in quotes; neighbours are one string.
    fn string(&mut self) -> Result<String, String> {
        let mut bytes = Vec::new();
        while self.take('"')? {
            self.piece(&mut bytes)?;
        }
        if bytes.contains(&0) {
            return Err("a string has a NUL in it".to_owned());
        }
        String::from_utf8(bytes).map_err(|_| "a string is not UTF-8".to_owned())
    }

    fn piece(&mut self, bytes: &mut Vec<u8>) -> Result<(), String> {
        loop {
            let rest = self.rest();
            let length = rest
                .find(['"', '\\'])
                .ok_or_else(|| "a string does not end".to_owned())?;
            let (plain, rest) = rest.split_at_checked(length).unwrap_or_default();
            bytes.extend_from_slice(plain.as_bytes());
            self.step(length.saturating_add(1));
            if rest.starts_with('"') {
                return Ok(());
            }
            let escaped = self.rest().chars().next().unwrap_or_default();
            let byte = match escaped {
                'n' => b'\n',
                't' => b'\t',
                'r' => b'\r',
                'f' => 0x0c,
                'a' => 0x07,
                'b' => 0x08,
                'v' => 0x0b,
                '"' | '\\' => u8::try_from(escaped).unwrap_or_default(),
                'x' => {
                    let digits = self.rest().get(1..3).unwrap_or_default();
                    let plain = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
                    let byte = u8::from_str_radix(digits, 16).ok().filter(|_| plain);
                    self.step(2);
                    byte.ok_or("\\x in a string is not followed by two hexadecimal digits")?
                }
                // libconfig keeps a backslash that it does not know.
                _ => {
                    bytes.push(b'\\');
                    continue;
                }
            };
            bytes.push(byte);
            self.step(1);
        }
    }

    /// A truth value or a number.
    fn scalar(&mut self) -> Result<Value, String> {
        let rest = self.rest();
        let length = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.')))
            .unwrap_or(rest.len());
        let word = rest.get(..length).unwrap_or_default();
        let value = match word.to_ascii_lowercase().as_str() {
            "true" => Some(Value::Bool(true)),
            "false" => Some(Value::Bool(false)),
            lower => number(lower).map(Value::Number),
        };
        let value = value.ok_or_else(|| {
            if word.is_empty() {
                self.unexpected("a value")
            } else {
                format!("expected a value, found {word:?}")
            }
        })?;
        self.step(length);
        Ok(value)
    }
}

/// A number in lower case: decimal or hexadecimal, perhaps with `l` or `ll` behind it, or with a point or exponent.
fn number(word: &str) -> Option<Number> {
    let whole = word
        .strip_suffix("ll")
        .or_else(|| word.strip_suffix('l'))
        .unwrap_or(word);
    if let Some(digits) = whole.strip_prefix("0x") {
        let plain = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        return plain
            .then(|| u64::from_str_radix(digits, 16).ok())?
            .map(Number::from);
    }
    if let Ok(value) = whole.parse::<i64>() {
        return Some(value.into());
    }
    let plain = word
        .bytes()
        .all(|c| c.is_ascii_digit() || matches!(c, b'.' | b'e' | b'+' | b'-'));
    plain.then(|| Number::from_f64(word.parse().ok()?))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_grammar() {
        let text = "# note\nsoftware = { version = \"1.0\" \"-rc\\x31\"; // two\n on : TRUE, n = 0x1FL\n\
            big = 5000000000LL; f = -1.5e3; /* c */ list = ( { a = 1; }, \"x\\\"\\q\" ); arr: [1, 2,]; e = [] }";
        let expected = json!({"software": {
            "version": "1.0-rc1", "on": true, "n": 31, "big": 5_000_000_000_i64, "f": -1500.0,
            "list": [{"a": 1}, "x\"\\q"], "arr": [1, 2], "e": [],
        }});
        assert_eq!(Value::Object(parse(text).unwrap()), expected);
    }

    #[test]
    fn what_is_refused() {
        let deep = format!("a = {}1{};", "(".repeat(40), ")".repeat(40));
        for (text, words) in [
            ("a = 1; a = 2;", "twice"),
            ("a = ", "a value"),
            ("a 1", "= or :"),
            ("= 1", "name"),
            ("a = { b = 1;", "the end"),
            ("a = (1 2)", "comma"),
            ("a = \"x", "does not end"),
            ("/* x", "comment"),
            ("@include \"x\"", "@include"),
            ("a = \"\\x00\"", "NUL"),
            ("a = \"\\xff\"", "UTF-8"),
            ("a = \"\\x+1\"", "hexadecimal"),
            ("a = maybe", "maybe"),
            ("a = 0x", "0x"),
            ("a = 99999999999999999999x", "9x"),
            ("\n\na = inf", "line 3"),
            (deep.as_str(), "inside each other"),
        ] {
            let why = parse(text).unwrap_err();
            assert!(why.contains(words), "{text:?}: {why}");
        }
    }
}
