//! Big-endian fields one after the other, each length checked against what is there before it is used.

/// What is left of some bytes, and where it began.
#[derive(Clone, Copy)]
pub struct Wire<'a> {
    rest: &'a [u8],
    at: usize,
}

impl<'a> Wire<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Wire { rest: bytes, at: 0 }
    }

    /// How many bytes were taken.
    pub fn at(&self) -> usize {
        self.at
    }

    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `length` bytes.
    pub fn take(&mut self, length: usize, what: &str) -> Result<&'a [u8], String> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or_else(|| {
            format!(
                "{what} at byte {} should have {length} bytes, {} are left",
                self.at,
                self.rest.len()
            )
        })?;
        self.rest = rest;
        self.at = self.at.saturating_add(length);
        Ok(taken)
    }

    pub fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], String> {
        let taken = self.take(N, what)?;
        taken
            .try_into()
            .map_err(|_| format!("{what} should have {N} bytes"))
    }

    pub fn u8(&mut self, what: &str) -> Result<u8, String> {
        self.array(what).map(u8::from_be_bytes)
    }

    pub fn u16(&mut self, what: &str) -> Result<u16, String> {
        self.array(what).map(u16::from_be_bytes)
    }

    pub fn u32(&mut self, what: &str) -> Result<u32, String> {
        self.array(what).map(u32::from_be_bytes)
    }

    /// As many bytes as the four before them say: the `string` of RFC 4251 §5.
    pub fn string(&mut self, what: &str) -> Result<&'a [u8], String> {
        let length = self.u32(what)?;
        self.take(usize::try_from(length).unwrap_or(usize::MAX), what)
    }

    /// Nothing may follow.
    pub fn end(&self, what: &str) -> Result<(), String> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(format!(
                "{what} should end at byte {}, but {} more follow",
                self.at,
                self.rest.len()
            ))
        }
    }
}

/// A byte string as RFC 4251 §5 writes it.
pub fn string(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes(), bytes].concat()
}
