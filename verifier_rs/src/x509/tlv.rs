//! One level of DER at a time, with the place in the messages.

use der::asn1::AnyRef;
use der::{Decode, Reader, SliceReader, Tag, TagNumber, Tagged};

/// `[n]`, constructed.
pub const fn tagged(number: u32) -> Tag {
    Tag::ContextSpecific {
        constructed: true,
        number: TagNumber(number),
    }
}

/// `[n]`, primitive.
pub const fn primitive(number: u32) -> Tag {
    Tag::ContextSpecific {
        constructed: false,
        number: TagNumber(number),
    }
}

/// One element: its tag, its content, and both together as they stand in the input.
#[derive(Clone, Copy, Debug)]
pub struct Item<'a> {
    pub tag: Tag,
    pub value: &'a [u8],
    pub whole: &'a [u8],
    /// Where the content begins.
    at: usize,
}

impl<'a> Item<'a> {
    /// What is inside.
    pub fn open(&self) -> Result<Cursor<'a>, String> {
        Cursor::at(self.value, self.at)
    }

    /// The element as a type that knows its own form.
    pub fn read<T>(&self, what: &str) -> Result<T, String>
    where
        T: Decode<'a>,
        T::Error: std::fmt::Display,
    {
        T::from_der(self.whole).map_err(|error| format!("{what} cannot be read ({error})"))
    }
}

/// The elements of one level, in order.
pub struct Cursor<'a> {
    reader: SliceReader<'a>,
    at: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(bytes: &'a [u8]) -> Result<Self, String> {
        Self::at(bytes, 0)
    }

    fn at(bytes: &'a [u8], at: usize) -> Result<Self, String> {
        let reader = SliceReader::new(bytes).map_err(|error| error.to_string())?;
        Ok(Cursor { reader, at })
    }

    fn position(&self) -> usize {
        let here = usize::try_from(u32::from(self.reader.position())).unwrap_or(usize::MAX);
        self.at.saturating_add(here)
    }

    pub fn is_empty(&self) -> bool {
        self.reader.is_finished()
    }

    /// The next element, whatever it is.
    pub fn any(&mut self, what: &str) -> Result<Item<'a>, String> {
        let at = self.position();
        if self.is_empty() {
            return Err(format!("expected {what} at byte {at}, found the end"));
        }
        let damaged = |error: der::Error| format!("{what} at byte {at} is not DER ({})", error.kind());
        let whole = self.reader.tlv_bytes().map_err(damaged)?;
        let any = AnyRef::from_der(whole).map_err(damaged)?;
        let value = any.value();
        Ok(Item {
            tag: any.tag(),
            value,
            whole,
            at: at.saturating_add(whole.len().saturating_sub(value.len())),
        })
    }

    /// The next element, which must have this tag.
    pub fn expect(&mut self, tag: Tag, what: &str) -> Result<Item<'a>, String> {
        let at = self.position();
        let item = self.any(what)?;
        if item.tag == tag {
            Ok(item)
        } else {
            Err(format!(
                "expected {what} ({tag}) at byte {at}, found {}",
                item.tag
            ))
        }
    }

    /// The next element if it has this tag.
    pub fn optional(&mut self, tag: Tag, what: &str) -> Result<Option<Item<'a>>, String> {
        match Tag::peek(&self.reader) {
            Ok(next) if !self.is_empty() && next == tag => self.any(what).map(Some),
            _ => Ok(None),
        }
    }

    /// Nothing may follow.
    pub fn end(&self, what: &str) -> Result<(), String> {
        if self.is_empty() {
            Ok(())
        } else {
            Err(format!(
                "{what} should end at byte {}, but more follows",
                self.position()
            ))
        }
    }
}

/// The only element of `bytes`, which must have this tag and be followed by nothing.
pub fn only<'a>(bytes: &'a [u8], tag: Tag, what: &str) -> Result<Item<'a>, String> {
    let mut cursor = Cursor::new(bytes)?;
    let item = cursor.expect(tag, what)?;
    cursor.end(what)?;
    Ok(item)
}
