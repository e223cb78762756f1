//! JSON without double keys anywhere: two readers of one document must never see two documents.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

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

/// The keys of one object so far.
#[derive(Default)]
struct Keys<'de> {
    few: Vec<Cow<'de, str>>,
    many: HashSet<Cow<'de, str>>,
}

impl<'de> Keys<'de> {
    /// Most objects have few keys, for which looking through a list is quickest; the set keeps the rest linear.
    fn is_new(&mut self, key: Cow<'de, str>) -> bool {
        if self.few.contains(&key) {
            return false;
        }
        if self.few.len() < 16 {
            self.few.push(key);
            return true;
        }
        self.many.insert(key)
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
