//! JSON without double keys anywhere: two readers of one document must never see two documents.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::HashSet;
use std::fmt;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::{Map, Number, Value};

/// Values of one document that are kept, far more than any statement has: each takes many times its text in memory.
const MAX_VALUES: usize = 250_000;

/// A string, borrowed from the input where it has no escapes.
pub struct Text<'de>(pub Cow<'de, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(V)
    }
}

/// How many keys of an object are looked through one by one, which is quickest for the few that most have.
const FEW: usize = 8;

/// The keys of one object so far.
#[derive(Default)]
struct Keys<'de> {
    few: [Cow<'de, str>; FEW],
    count: usize,
    many: Option<HashSet<Cow<'de, str>>>,
}

impl<'de> Keys<'de> {
    fn is_new(&mut self, key: Cow<'de, str>) -> bool {
        let (seen, free) = self.few.split_at_mut_checked(self.count).unwrap_or_default();
        if seen.contains(&key) {
            return false;
        }
        match free.first_mut() {
            Some(slot) => {
                *slot = key;
                self.count = self.count.saturating_add(1);
                true
            }
            None => self.many.get_or_insert_default().insert(key),
        }
    }
}

/// Goes through the keys of an object; a key that came before is an error that names it.
pub struct Members<'de, M> {
    map: M,
    keys: Keys<'de>,
}

impl<'de, M: MapAccess<'de>> Members<'de, M> {
    pub fn of(map: M) -> Self {
        Members {
            map,
            keys: Keys::default(),
        }
    }

    pub fn key(&mut self) -> Result<Option<Cow<'de, str>>, M::Error> {
        let Some(Text(key)) = self.map.next_key()? else {
            return Ok(None);
        };
        if self.keys.is_new(key.clone()) {
            Ok(Some(key))
        } else {
            Err(M::Error::custom(format_args!("the key {key:?} appears twice")))
        }
    }

    pub fn value<T: Deserialize<'de>>(&mut self) -> Result<T, M::Error> {
        self.map.next_value()
    }

    fn seeded<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, M::Error> {
        self.map.next_value_seed(seed)
    }

    /// Pass over a value that is not needed; its keys are checked all the same.
    pub fn skip(&mut self) -> Result<(), M::Error> {
        self.map.next_value::<Checked>().map(|Checked| ())
    }
}

/// Any value, checked for double keys and forgotten.
pub struct Checked;

impl<'de> Deserialize<'de> for Checked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Checked;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }
            fn visit_bool<E>(self, _: bool) -> Result<Checked, E> {
                Ok(Checked)
            }
            fn visit_i64<E>(self, _: i64) -> Result<Checked, E> {
                Ok(Checked)
            }
            fn visit_u64<E>(self, _: u64) -> Result<Checked, E> {
                Ok(Checked)
            }
            fn visit_f64<E>(self, _: f64) -> Result<Checked, E> {
                Ok(Checked)
            }
            fn visit_str<E>(self, _: &str) -> Result<Checked, E> {
                Ok(Checked)
            }
            fn visit_unit<E>(self) -> Result<Checked, E> {
                Ok(Checked)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Checked, A::Error> {
                while seq.next_element::<Checked>()?.is_some() {}
                Ok(Checked)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Checked, A::Error> {
                let mut members = Members::of(map);
                while members.key()?.is_some() {
                    members.skip()?;
                }
                Ok(Checked)
            }
        }
        deserializer.deserialize_any(V)
    }
}

/// Any value, checked for double keys and kept.
pub struct Kept(pub Value);

impl<'de> Deserialize<'de> for Kept {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Keep(&Cell::new(MAX_VALUES)).deserialize(deserializer).map(Kept)
    }
}

/// How many values may still be kept.
#[derive(Clone, Copy)]
struct Keep<'b>(&'b Cell<usize>);

impl<'de> DeserializeSeed<'de> for Keep<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let left = self.0.get().checked_sub(1);
        let left = left.ok_or_else(|| D::Error::custom(format_args!("more than {MAX_VALUES} values")))?;
        self.0.set(left);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Keep<'_> {
    type Value = Value;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }
    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("a number that is not finite"))?;
        Ok(Value::Number(number))
    }
    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut out = Vec::new();
        while let Some(value) = seq.next_element_seed(self)? {
            out.push(value);
        }
        Ok(Value::Array(out))
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Value, A::Error> {
        let mut members = Members::of(map);
        let mut out = Map::new();
        while let Some(key) = members.key()? {
            let value = members.seeded(self)?;
            out.insert(key.into_owned(), value);
        }
        Ok(Value::Object(out))
    }
}

/// One JSON object and nothing behind it.
pub fn object(text: &[u8]) -> Result<Map<String, Value>, String> {
    match serde_json::from_slice(text) {
        Ok(Kept(Value::Object(members))) => Ok(members),
        Ok(Kept(_)) => Err("expected a JSON object, found another value".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// The keys of the object that a text begins with, as far as it can be read: to recognise what it is.
pub fn first_keys(text: &[u8]) -> Vec<String> {
    const MAX_KEYS: usize = 64;
    struct Seen<'a>(&'a mut Vec<String>);
    impl<'de> DeserializeSeed<'de> for Seen<'_> {
        type Value = ();
        fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
            deserializer.deserialize_map(self)
        }
    }
    impl<'de> Visitor<'de> for Seen<'_> {
        type Value = ();
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
            while self.0.len() < MAX_KEYS
                && let Some(key) = map.next_key()?
            {
                self.0.push(key);
                map.next_value::<IgnoredAny>()?;
            }
            Ok(())
        }
    }
    let mut keys = Vec::new();
    // What is wrong with it is for the parser to tell.
    let _ = Seen(&mut keys).deserialize(&mut serde_json::Deserializer::from_slice(text));
    keys
}

/// Deserialize a type by going through the members of one object.
#[macro_export]
macro_rules! object {
    ($type:ident, $expecting:literal, |$members:ident| $body:block) => {
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct V;
                impl<'de> serde::de::Visitor<'de> for V {
                    type Value = $type;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str($expecting)
                    }
                    fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<$type, A::Error> {
                        let mut $members = $crate::json::Members::of(map);
                        $body
                    }
                }
                deserializer.deserialize_map(V)
            }
        }
    };
}
