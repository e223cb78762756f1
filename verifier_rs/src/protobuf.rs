//! Protobuf messages as JSON (ProtoJSON), member by member, with the place in the messages.

use serde_json::{Map, Value};

use crate::encoding::either;

/// Entries of one list: far more than any message that we read has.
const MAX_LIST: usize = 1_000;
static NULL: Value = Value::Null;

/// A value and where it stands.
#[derive(Clone)]
pub struct Node<'a> {
    value: &'a Value,
    place: String,
}

impl<'a> Node<'a> {
    pub fn of(value: &'a Value) -> Self {
        Node {
            value,
            place: String::new(),
        }
    }

    /// For a message of an error: the place and what is wrong there.
    pub fn wrong(&self, why: &str) -> String {
        match self.place.as_str() {
            "" => why.to_owned(),
            place => format!("{place}: {why}"),
        }
    }

    fn object(&self) -> Result<&'a Map<String, Value>, String> {
        self.value
            .as_object()
            .ok_or_else(|| self.wrong("expected an object"))
    }

    fn child(&self, name: &str, value: &'a Value) -> Self {
        let place = match self.place.as_str() {
            "" => name.to_owned(),
            place => format!("{place}.{name}"),
        };
        Node { value, place }
    }

    /// A member; `None` where it is absent or null, which mean the same.
    pub fn get(&self, name: &str) -> Result<Option<Self>, String> {
        let value = self.object()?.get(name).unwrap_or(&NULL);
        Ok((!value.is_null()).then(|| self.child(name, value)))
    }

    pub fn need(&self, name: &str) -> Result<Self, String> {
        self.get(name)?
            .ok_or_else(|| self.wrong(&format!("expected a member {name:?}, found none")))
    }

    /// No other members than these.
    pub fn only(&self, names: &[&str]) -> Result<(), String> {
        let unknown = |name: &&String| !names.contains(&name.as_str());
        match self.object()?.keys().find(unknown) {
            Some(name) => Err(self.wrong(&format!("the member {name:?} is not known here"))),
            None => Ok(()),
        }
    }

    pub fn value(&self) -> &'a Value {
        self.value
    }

    pub fn text(&self) -> Result<&'a str, String> {
        self.value.as_str().ok_or_else(|| self.wrong("expected a string"))
    }

    /// A whole number of 64 bits that is not negative; ProtoJSON writes it as a string.
    pub fn number(&self) -> Result<u64, String> {
        let digits = |text: &str| {
            let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && text.len() <= 20;
            plain.then(|| text.parse().ok()).flatten()
        };
        self.value
            .as_u64()
            .or_else(|| digits(self.value.as_str()?))
            .ok_or_else(|| self.wrong("expected a whole number from 0 to 2⁶⁴−1"))
    }

    pub fn bytes(&self) -> Result<Vec<u8>, String> {
        either(self.text()?).ok_or_else(|| self.wrong("expected strict base64"))
    }

    /// An absent list is an empty one.
    pub fn list(&self, name: &str) -> Result<Vec<Self>, String> {
        let Some(node) = self.get(name)? else {
            return Ok(Vec::new());
        };
        let items = node
            .value
            .as_array()
            .ok_or_else(|| node.wrong("expected a list"))?;
        if items.len() > MAX_LIST {
            return Err(node.wrong(&format!(
                "expected at most {MAX_LIST} entries, found {}",
                items.len()
            )));
        }
        let item = |(nth, value)| Node {
            value,
            place: format!("{}[{nth}]", node.place),
        };
        Ok(items.iter().enumerate().map(item).collect())
    }
}
