//! From BER to DER. Signers that stream (openssl cms -stream, Bouncy Castle) write lengths that are not known at the
//! begin; everything behind this file sees definite lengths only.

use std::borrow::Cow;

const MAX_DEPTH: usize = 24;
const MAX_ELEMENTS: usize = 100_000;
const CONSTRUCTED: u8 = 0x20;
const OCTET_STRING: u8 = 0x04;

struct Element<'a> {
    tag: &'a [u8],
    body: Body<'a>,
    /// Of the content, in DER.
    length: usize,
}

enum Body<'a> {
    Bytes(&'a [u8]),
    /// A string that came in pieces.
    Pieces(Vec<&'a [u8]>),
    Inside(Vec<Element<'a>>),
}

struct Reader<'a> {
    rest: &'a [u8],
    total: usize,
    elements: usize,
    /// Something was not DER.
    changed: bool,
}

/// The one element in `bytes`, in definite and shortest lengths, with nothing behind it.
pub fn to_der(bytes: &[u8]) -> Result<Cow<'_, [u8]>, String> {
    let mut reader = Reader {
        rest: bytes,
        total: bytes.len(),
        elements: 0,
        changed: false,
    };
    let element = reader.element(0)?;
    if !reader.rest.is_empty() {
        return Err(format!(
            "{} bytes stand behind its end, at byte {}",
            reader.rest.len(),
            reader.at()
        ));
    }
    if !reader.changed {
        return Ok(Cow::Borrowed(bytes));
    }
    let mut out = Vec::with_capacity(bytes.len());
    element.write(&mut out);
    Ok(Cow::Owned(out))
}

impl<'a> Reader<'a> {
    fn at(&self) -> usize {
        self.total.saturating_sub(self.rest.len())
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or_else(|| {
            format!(
                "an element at byte {} wants {count} bytes, {} are left",
                self.at(),
                self.rest.len()
            )
        })?;
        self.rest = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, String> {
        Ok(self.take(1)?.first().copied().unwrap_or_default())
    }

    /// `None`: until the end is marked.
    fn length(&mut self) -> Result<Option<usize>, String> {
        let at = self.at();
        let first = self.byte()?;
        if first < 0x80 {
            return Ok(Some(usize::from(first)));
        }
        if first == 0x80 {
            self.changed = true;
            return Ok(None);
        }
        let digits = self.take(usize::from(first & 0x7f))?;
        let significant = digits
            .iter()
            .position(|digit| *digit != 0)
            .unwrap_or(digits.len());
        let digits = digits.get(significant..).unwrap_or_default();
        if digits.len() > 4 {
            return Err(format!("the length at byte {at} is beyond all sense"));
        }
        let length = digits
            .iter()
            .fold(0_usize, |sum, digit| sum << 8 | usize::from(*digit));
        if significant > 0 || length < 0x80 {
            self.changed = true;
        }
        Ok(Some(length))
    }

    fn element(&mut self, depth: usize) -> Result<Element<'a>, String> {
        let at = self.at();
        self.elements = self.elements.saturating_add(1);
        if self.elements > MAX_ELEMENTS {
            return Err(format!("more than {MAX_ELEMENTS} elements, at byte {at}"));
        }
        if depth > MAX_DEPTH {
            return Err(format!(
                "elements inside each other deeper than {MAX_DEPTH}, at byte {at}"
            ));
        }
        let tag = self.take(1)?;
        let first = tag.first().copied().unwrap_or_default();
        if first & 0x1f == 0x1f {
            return Err(format!(
                "a tag of more than one byte at byte {at}, which CMS does not use"
            ));
        }
        let constructed = first & CONSTRUCTED != 0;
        match self.length()? {
            None if !constructed => Err(format!(
                "an element without a length at byte {at} that has no parts"
            )),
            None => {
                let mut inside = Vec::new();
                while !self.rest.starts_with(&[0, 0]) {
                    inside.push(self.element(depth.saturating_add(1))?);
                }
                self.take(2)?;
                self.group(tag, inside, at)
            }
            Some(length) if constructed => {
                let value = self.take(length)?;
                let after = std::mem::replace(&mut self.rest, value);
                let end = self.total;
                // Inside, places are counted from the same begin.
                self.total = end.saturating_sub(after.len());
                let mut inside = Vec::new();
                while !self.rest.is_empty() {
                    inside.push(self.element(depth.saturating_add(1))?);
                }
                self.rest = after;
                self.total = end;
                self.group(tag, inside, at)
            }
            Some(length) => Ok(Element {
                tag,
                body: Body::Bytes(self.take(length)?),
                length,
            }),
        }
    }

    /// Parts are kept, except that those of an OCTET STRING become one.
    fn group(&mut self, tag: &'a [u8], inside: Vec<Element<'a>>, at: usize) -> Result<Element<'a>, String> {
        match tag.first().copied().unwrap_or_default() {
            found if found == OCTET_STRING | CONSTRUCTED => {
                self.changed = true;
                let mut pieces = Vec::new();
                for piece in inside {
                    if piece.tag != [OCTET_STRING] && piece.tag != [OCTET_STRING | CONSTRUCTED] {
                        return Err(format!("an OCTET STRING at byte {at} has parts that are none"));
                    }
                    match piece.body {
                        Body::Bytes(bytes) => pieces.push(bytes),
                        Body::Pieces(more) => pieces.extend(more),
                        Body::Inside(_) => return Err(format!("an OCTET STRING at byte {at} is damaged")),
                    }
                }
                Ok(Element {
                    tag: &[OCTET_STRING],
                    length: pieces
                        .iter()
                        .fold(0, |sum, piece| piece.len().saturating_add(sum)),
                    body: Body::Pieces(pieces),
                })
            }
            found if found & 0xc0 == 0 && !matches!(found, 0x30 | 0x31) => Err(format!(
                "a string in parts at byte {at} (tag {found:#04x}), which is not accepted"
            )),
            _ => Ok(Element {
                tag,
                length: inside.iter().fold(0, |sum, part| part.size().saturating_add(sum)),
                body: Body::Inside(inside),
            }),
        }
    }
}

impl Element<'_> {
    /// With tag and length.
    fn size(&self) -> usize {
        let head = if self.length >= 0x80 { 2 } else { 1 };
        let digits = length_digits(self.length).len();
        self.length.saturating_add(digits).saturating_add(head)
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.tag);
        let digits = length_digits(self.length);
        if self.length >= 0x80 {
            out.push(0x80 | u8::try_from(digits.len()).unwrap_or_default());
        }
        out.extend(digits);
        match &self.body {
            Body::Bytes(bytes) => out.extend_from_slice(bytes),
            Body::Pieces(pieces) => pieces.iter().for_each(|piece| out.extend_from_slice(piece)),
            Body::Inside(parts) => parts.iter().for_each(|part| part.write(out)),
        }
    }
}

/// The length in as few bytes as it takes.
fn length_digits(length: usize) -> Vec<u8> {
    let digits = length.to_be_bytes();
    let zeros = digits.iter().take_while(|digit| **digit == 0).count();
    digits
        .get(zeros.min(digits.len().saturating_sub(1))..)
        .unwrap_or_default()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn der_is_left_as_it_is() {
        let half = [0x30, 0x06, 0x04, 0x01, 0xaa, 0x31, 0x01, 0x05];
        assert!(to_der(&half).is_err());
        let der = [0x30, 0x05, 0x04, 0x01, 0xaa, 0x31, 0x00];
        assert!(matches!(to_der(&der), Ok(Cow::Borrowed(_))));
    }

    #[test]
    fn indefinite_lengths_and_pieces_become_one() {
        let ber = [
            0x30, 0x80, 0xa0, 0x80, 0x24, 0x80, 0x04, 0x02, 1, 2, 0x24, 0x81, 0x03, 0x04, 0x01, 3, 0, 0, 0,
            0, 0, 0,
        ];
        assert_eq!(
            to_der(&ber).unwrap().as_ref(),
            [0x30, 0x07, 0xa0, 0x05, 0x04, 0x03, 1, 2, 3]
        );
        let long = [&[0x30, 0x83, 0, 0, 0x82, 0x04, 0x81, 0x7f][..], &[7; 127]].concat();
        let short = [&[0x30, 0x81, 0x81, 0x04, 0x7f][..], &[7; 127]].concat();
        assert_eq!(to_der(&long).unwrap().as_ref(), short);
    }

    #[test]
    fn bombs_and_rests_are_refused() {
        assert!(
            to_der(&[0x30, 0x80].repeat(1_000_000))
                .unwrap_err()
                .contains("deeper")
        );
        let many = [&[0x30, 0x80][..], &[0x30, 0].repeat(200_000)].concat();
        assert!(to_der(&many).unwrap_err().contains("elements"));
        for bad in [
            &[0x30, 0x00, 0x00][..],
            &[0x30, 0x80, 0x00],
            &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
            &[0x30, 0x85, 1, 0, 0, 0, 0],
            &[0x04, 0x80, 0, 0],
            &[0x23, 0x00],
            &[0x1f, 0x81, 0x01, 0x00],
            &[0x24, 0x02, 0x05, 0x00],
            &[],
        ] {
            assert!(to_der(bad).is_err(), "{bad:?}");
        }
    }
}
