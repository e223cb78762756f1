//! CBOR (RFC 8949), read strictly: one item, numbers and lengths in their shortest form, definite lengths, no double
//! keys, so that two readers never see two documents.

use std::collections::HashSet;

const MAX_DEPTH: usize = 16;
const MAX_ITEMS: usize = 10_000;

/// One data item, borrowed from its encoding.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    Int(i128),
    Bytes(&'a [u8]),
    Text(&'a str),
    Array(Vec<Value<'a>>),
    /// Keys are numbers or texts, each once.
    Map(Vec<(Value<'a>, Value<'a>)>),
    Tag(u64, Box<Value<'a>>),
    Bool(bool),
    Null,
    Undefined,
    Simple(u8),
    Float(f64),
}

/// Read exactly one item; the message says what is wrong and at which byte.
pub fn read(data: &[u8]) -> Result<Value<'_>, String> {
    let mut reader = Reader {
        data,
        at: 0,
        items: 0,
    };
    let value = reader.value(0)?;
    if reader.at != data.len() {
        return Err(format!(
            "the item ends at byte {}, the data at {}",
            reader.at,
            data.len()
        ));
    }
    Ok(value)
}

/// The head of a byte string (major type 2), text (3) or array (4) of this length, in its shortest form.
pub fn head(major: u8, length: u64) -> Vec<u8> {
    let first = |info: u8| (major << 5) | info;
    let bytes = length.to_be_bytes();
    let tail = |count: usize| bytes.iter().skip(bytes.len().saturating_sub(count)).copied();
    let (info, count) = match length {
        0..24 => return vec![first(u8::try_from(length).unwrap_or_default())],
        24..=0xff => (24, 1),
        0x100..=0xffff => (25, 2),
        0x1_0000..=0xffff_ffff => (26, 4),
        _ => (27, 8),
    };
    std::iter::once(first(info)).chain(tail(count)).collect()
}

struct Reader<'a> {
    data: &'a [u8],
    at: usize,
    items: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let rest = self.data.get(self.at..).unwrap_or_default();
        let taken = rest.get(..length).ok_or_else(|| {
            format!(
                "byte {}: expected {length} more bytes, found {}",
                self.at,
                rest.len()
            )
        })?;
        self.at = self.at.saturating_add(length);
        Ok(taken)
    }

    /// Major type, additional information and argument.
    fn head(&mut self) -> Result<(u8, u8, u64), String> {
        let at = self.at;
        let first = self.take(1)?.first().copied().unwrap_or_default();
        let (major, info) = (first >> 5, first & 31);
        let length = match info {
            0..=23 => return Ok((major, info, u64::from(info))),
            24 => 1,
            25 => 2,
            26 => 4,
            27 => 8,
            28..=30 => return Err(format!("byte {at}: additional information {info} is reserved")),
            _ => {
                return Err(format!(
                    "byte {at}: indefinite lengths are not accepted; encode with definite ones"
                ));
            }
        };
        let bytes = self.take(length)?;
        let argument = bytes
            .iter()
            .fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte));
        let least = match info {
            24 if major == 7 => 32,
            24 => 24,
            25 => 0x100,
            26 => 0x1_0000,
            _ => 0x1_0000_0000,
        };
        // The argument of a float is no number.
        if argument < least && (major != 7 || info == 24) {
            return Err(format!("byte {at}: {argument} is not in its shortest form"));
        }
        Ok((major, info, argument))
    }

    fn bytes(&mut self, length: u64) -> Result<&'a [u8], String> {
        self.take(usize::try_from(length).unwrap_or(usize::MAX))
    }

    /// How many items an array or map has; each takes at least one byte.
    fn count(&self, count: u64, at: usize) -> Result<usize, String> {
        let left = self.data.len().saturating_sub(self.at);
        usize::try_from(count)
            .ok()
            .filter(|count| *count <= left)
            .ok_or_else(|| format!("byte {at}: expected {count} items, found {left} bytes"))
    }

    fn value(&mut self, depth: usize) -> Result<Value<'a>, String> {
        let at = self.at;
        self.items = self.items.saturating_add(1);
        if depth > MAX_DEPTH {
            return Err(format!("byte {at}: more than {MAX_DEPTH} levels"));
        }
        if self.items > MAX_ITEMS {
            return Err(format!("byte {at}: more than {MAX_ITEMS} items"));
        }
        let below = depth.saturating_add(1);
        let (major, info, argument) = self.head()?;
        Ok(match major {
            0 => Value::Int(i128::from(argument)),
            1 => Value::Int((-1_i128).saturating_sub(i128::from(argument))),
            2 => Value::Bytes(self.bytes(argument)?),
            3 => Value::Text(
                str::from_utf8(self.bytes(argument)?)
                    .map_err(|_| format!("byte {at}: the text is not UTF-8"))?,
            ),
            4 => {
                // Nothing is reserved by a count that nobody checked yet.
                let mut items = Vec::new();
                for _ in 0..self.count(argument, at)? {
                    items.push(self.value(below)?);
                }
                Value::Array(items)
            }
            5 => Value::Map(self.map(argument, at, below)?),
            6 => Value::Tag(argument, Box::new(self.value(below)?)),
            _ => match info {
                20 => Value::Bool(false),
                21 => Value::Bool(true),
                22 => Value::Null,
                23 => Value::Undefined,
                25..=27 => Value::Float(
                    float(info, argument).ok_or_else(|| format!("byte {at}: a number that is not finite"))?,
                ),
                _ => Value::Simple(u8::try_from(argument).unwrap_or_default()),
            },
        })
    }

    fn map(&mut self, count: u64, at: usize, below: usize) -> Result<Vec<(Value<'a>, Value<'a>)>, String> {
        let mut entries = Vec::new();
        // Every value has one encoding here, so equal keys are equal bytes.
        let mut keys = HashSet::new();
        for _ in 0..self.count(count, at)? {
            let from = self.at;
            let key = self.value(below)?;
            if !matches!(key, Value::Int(_) | Value::Text(_)) {
                return Err(format!("byte {from}: a key is neither a number nor a text"));
            }
            if !keys.insert(self.data.get(from..self.at).unwrap_or_default()) {
                return Err(format!("byte {from}: the key {} appears twice", shown(&key)));
            }
            entries.push((key, self.value(below)?));
        }
        Ok(entries)
    }
}

fn float(info: u8, argument: u64) -> Option<f64> {
    let value = match info {
        25 => half(u16::try_from(argument).ok()?),
        26 => f64::from(f32::from_bits(u32::try_from(argument).ok()?)),
        _ => f64::from_bits(argument),
    };
    value.is_finite().then_some(value)
}

/// RFC 8949 appendix D.
fn half(bits: u16) -> f64 {
    let exponent = i32::from((bits >> 10) & 0x1f);
    let mantissa = f64::from(bits & 0x3ff);
    let size = match exponent {
        0 => mantissa * 2_f64.powi(-24),
        31 => f64::INFINITY,
        _ => (mantissa + 1024.0) * 2_f64.powi(exponent.saturating_sub(25)),
    };
    if bits & 0x8000 == 0 { size } else { -size }
}

fn shown(key: &Value<'_>) -> String {
    match key {
        Value::Int(number) => number.to_string(),
        Value::Text(text) => format!("{text:?}"),
        _ => "?".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unhex(text: &str) -> Vec<u8> {
        (0..text.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
            .collect()
    }

    #[test]
    fn examples_of_rfc_8949_appendix_a() {
        let int = |n| Value::Int(n);
        for (encoding, value) in [
            ("00", int(0)),
            ("17", int(23)),
            ("1818", int(24)),
            ("1903e8", int(1000)),
            ("1bffffffffffffffff", int(18446744073709551615)),
            ("3bffffffffffffffff", int(-18446744073709551616)),
            ("20", int(-1)),
            ("3863", int(-100)),
            ("f93c00", Value::Float(1.0)),
            ("f97bff", Value::Float(65504.0)),
            ("f90001", Value::Float(5.960464477539063e-8)),
            ("f9c400", Value::Float(-4.0)),
            ("fa47c35000", Value::Float(100000.0)),
            ("fb3ff199999999999a", Value::Float(1.1)),
            ("f4", Value::Bool(false)),
            ("f6", Value::Null),
            ("f7", Value::Undefined),
            ("f0", Value::Simple(16)),
            ("f8ff", Value::Simple(255)),
            ("c11a514b67b0", Value::Tag(1, Box::new(int(1363896240)))),
            ("4401020304", Value::Bytes(&[1, 2, 3, 4])),
            ("62c3bc", Value::Text("\u{fc}")),
            ("83010203", Value::Array(vec![int(1), int(2), int(3)])),
            ("a201020304", Value::Map(vec![(int(1), int(2)), (int(3), int(4))])),
        ] {
            assert_eq!(read(&unhex(encoding)), Ok(value), "{encoding}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for (encoding, words) in [
            ("", "expected 1 more bytes"),
            ("5bffffffffffffffff", "more bytes"),
            ("9bffffffffffffffff", "items"),
            ("bbffffffffffffffff00", "items"),
            ("c25a40000000", "more bytes"),
            ("a201010102", "appears twice"),
            ("a2616101616102", "appears twice"),
            ("1817", "shortest form"),
            ("190017", "shortest form"),
            ("1b00000000ffffffff", "shortest form"),
            ("580100", "shortest form"),
            ("f818", "shortest form"),
            ("1c", "reserved"),
            ("3d", "reserved"),
            ("5e", "reserved"),
            ("fe", "reserved"),
            ("ff", "indefinite"),
            ("5f4101ff", "indefinite"),
            ("9f01ff", "indefinite"),
            ("bf0101ff", "indefinite"),
            ("8301", "expected 3 items"),
            ("6180", "not UTF-8"),
            ("62c080", "not UTF-8"),
            ("0000", "ends at byte 1"),
            ("a1f9000001", "neither a number nor a text"),
            ("a1400001", "neither a number nor a text"),
            ("f97e00", "not finite"),
            ("fa7f800000", "not finite"),
            ("fb7ff8000000000000", "not finite"),
        ] {
            let found = read(&unhex(encoding)).unwrap_err();
            assert!(found.contains(words), "{encoding}: {found}");
        }
        let deep = [vec![0x81; 10_000], vec![0]].concat();
        assert!(read(&deep).unwrap_err().contains("levels"));
        let tags = [vec![0xc1; 10_000], vec![0]].concat();
        assert!(read(&tags).unwrap_err().contains("levels"));
        let many = [head(4, 20_000), vec![0; 20_000]].concat();
        assert!(read(&many).unwrap_err().contains("more than 10000 items"));
    }

    #[test]
    fn heads_are_as_short_as_can_be() {
        for length in [0, 23, 24, 255, 256, 65535, 65536, 0xffff_ffff, 0x1_0000_0000] {
            let mut reader = Reader {
                data: &head(2, length),
                at: 0,
                items: 0,
            };
            assert_eq!(reader.head().unwrap().2, length);
        }
    }
}
