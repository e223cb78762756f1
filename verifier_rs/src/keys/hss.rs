//! HSS/LMS (RFC 8554) with the parameter sets of SP 800-208 §4 (RFC 9858): SHA-256 and SHAKE256, whole or cut to 192
//! bits. A signature chains one-time signatures: each tree's key signs the key of the tree below, the last the message.
//!
//! Terms of the RFC: `I` names a tree, `q` is the number of a one-time key in it, `C` its randomizer, and `Q` (the hash
//! over all of them and the message) is what a one-time key really signs. It may sign one `Q`, ever.

use sha2::{Digest, Sha256};
use shake::{ExtendableOutput, Shake256, Update, XofReader};

use crate::source::{Sink, hex};
use crate::wire::Wire;

/// RFC 8554 §6: more levels than eight there cannot be.
const MAX_LEVELS: u32 = 8;
/// Eight levels, each of Winternitz parameter 1 and height 25, make less than 76 KiB.
pub const MAX_SIGNATURE: usize = 128 * 1024;

const D_PBLC: [u8; 2] = [0x80, 0x80];
const D_MESG: [u8; 2] = [0x81, 0x81];
const D_LEAF: [u8; 2] = [0x82, 0x82];
const D_INTR: [u8; 2] = [0x83, 0x83];

/// The hash function of a parameter set.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Function {
    shake: bool,
    /// Bytes of its output that are used.
    length: usize,
}

/// A hash, in its first `Function::length` bytes.
type Value = [u8; 32];

impl Function {
    /// Four functions in the order of the registries "LM-OTS" and "LMS" at IANA.
    fn nth(place: u32) -> Option<Self> {
        let (shake, length) = match place {
            0 => (false, 32),
            1 => (false, 24),
            2 => (true, 32),
            3 => (true, 24),
            _ => return None,
        };
        Some(Function { shake, length })
    }

    fn name(self) -> &'static str {
        match (self.shake, self.length) {
            (false, 32) => "SHA-256",
            (false, _) => "SHA-256/192",
            (true, 32) => "SHAKE256/256",
            (true, _) => "SHAKE256/192",
        }
    }

    fn begin(self) -> Sink {
        if self.shake {
            Sink::Shake256(Shake256::default())
        } else {
            Sink::Sha256(Sha256::new())
        }
    }

    fn hash(self, parts: &[&[u8]]) -> Value {
        let mut value = [0; 32];
        if self.shake {
            let mut state = Shake256::default();
            parts.iter().for_each(|part| Update::update(&mut state, part));
            state.finalize_xof().read(&mut value);
        } else {
            let mut state = Sha256::new();
            parts.iter().for_each(|part| Digest::update(&mut state, part));
            value = state.finalize().into();
        }
        value
    }

    /// As many bytes of a value as count.
    fn cut(self, value: &[u8]) -> &[u8] {
        value.get(..self.length).unwrap_or(value)
    }
}

/// A parameter set of LM-OTS (RFC 8554 §4.1).
#[derive(Clone, Copy)]
struct OneTime {
    code: u32,
    function: Function,
    /// w: how many bits of the hash one chain signs.
    width: u32,
}

impl OneTime {
    fn of(code: u32) -> Result<Self, String> {
        let place = code.wrapping_sub(1);
        let function = Function::nth(place >> 2)
            .ok_or_else(|| format!("one-time signature type {code} is not known, expected 1 to 16"))?;
        let width = match place & 3 {
            0 => 1,
            1 => 2,
            2 => 4,
            _ => 8,
        };
        Ok(OneTime {
            code,
            function,
            width,
        })
    }

    /// p: how many chains there are (RFC 8554 appendix B, for both lengths).
    fn chains(self) -> usize {
        match (self.function.length, self.width) {
            (32, 1) => 265,
            (32, 2) => 133,
            (32, 4) => 67,
            (32, _) => 34,
            (_, 1) => 200,
            (_, 2) => 101,
            (_, 4) => 51,
            (_, _) => 26,
        }
    }

    /// Where the digits of this width stand in a byte, and the largest digit.
    fn digits(self) -> (&'static [u32], u8) {
        match self.width {
            1 => (&[7, 6, 5, 4, 3, 2, 1, 0], 1),
            2 => (&[6, 4, 2, 0], 3),
            4 => (&[4, 0], 15),
            _ => (&[0], 255),
        }
    }

    /// The number that each chain signs: the digits of `q` and of its checksum (RFC 8554 §4.4).
    fn numbers(self, q: &[u8]) -> Vec<u8> {
        let (places, largest) = self.digits();
        let split = |byte: &u8| {
            let byte = *byte;
            places
                .iter()
                .map(move |place| byte.wrapping_shr(*place) & largest)
        };
        let mut numbers: Vec<u8> = q.iter().flat_map(split).collect();
        let sum: u16 = numbers
            .iter()
            .map(|digit| u16::from(largest.saturating_sub(*digit)))
            .sum();
        // ls: the digits of the sum end where the last chain does.
        let shift = match (self.width, self.function.length) {
            (1, 32) => 7,
            (1, _) => 8,
            (2, _) => 6,
            (4, _) => 4,
            (_, _) => 0,
        };
        numbers.extend(sum.wrapping_shl(shift).to_be_bytes().iter().flat_map(split));
        numbers.truncate(self.chains());
        numbers
    }
}

/// A parameter set of LMS (RFC 8554 §5.1).
#[derive(Clone, Copy)]
struct Tree {
    code: u32,
    function: Function,
    height: u32,
}

impl Tree {
    fn of(code: u32) -> Result<Self, String> {
        let place = code.wrapping_sub(5);
        let function = Function::nth(place.checked_div(5).unwrap_or(u32::MAX))
            .ok_or_else(|| format!("LMS type {code} is not known, expected 5 to 24"))?;
        let height = place.wrapping_rem(5).saturating_add(1).saturating_mul(5);
        Ok(Tree {
            code,
            function,
            height,
        })
    }
}

/// The public key of one tree.
#[derive(Clone)]
struct TreeKey {
    tree: Tree,
    one_time: OneTime,
    /// I.
    identifier: [u8; 16],
    /// T\[1\].
    root: Vec<u8>,
}

impl TreeKey {
    fn read(wire: &mut Wire<'_>) -> Result<Self, String> {
        let tree = Tree::of(wire.u32("the LMS type of a key")?)?;
        let one_time = OneTime::of(wire.u32("the one-time signature type of a key")?)?;
        if one_time.function != tree.function {
            return Err(format!(
                "a key mixes {} for its tree with {} for its one-time signatures (SP 800-208 §4 wants one function)",
                tree.function.name(),
                one_time.function.name()
            ));
        }
        Ok(TreeKey {
            identifier: wire.array("the identifier I of a key")?,
            root: wire.take(tree.function.length, "the root of a tree")?.to_owned(),
            tree,
            one_time,
        })
    }

    /// The state that takes the message which `part` signs.
    fn begin(&self, part: &Part) -> Sink {
        let mut state = self.tree.function.begin();
        for bytes in [
            &self.identifier[..],
            &part.index.to_be_bytes(),
            &D_MESG,
            &part.randomizer,
        ] {
            state.update(bytes);
        }
        state
    }

    /// Whether the one-time signature of `q` leads to the root of the tree (RFC 8554 §4.6 and §5.4.2).
    fn holds(&self, part: &Part, q: &[u8]) -> bool {
        let function = self.tree.function;
        let (_, largest) = self.one_time.digits();
        let index = part.index.to_be_bytes();
        let mut ends = Vec::with_capacity(part.chains.len());
        let chains = part.chains.chunks_exact(function.length);
        for ((number, chain), place) in self.one_time.numbers(q).into_iter().zip(chains).zip(0_u16..) {
            let mut value = chain.to_owned();
            for step in number..largest {
                let hash = function.hash(&[&self.identifier, &index, &place.to_be_bytes(), &[step], &value]);
                value.clear();
                value.extend_from_slice(function.cut(&hash));
            }
            ends.extend_from_slice(&value);
        }
        let leaf = function.hash(&[&self.identifier, &index, &D_PBLC, &ends]);
        let mut node = 1_u32.wrapping_shl(self.tree.height) | part.index;
        let name = |node: u32| node.to_be_bytes();
        let mut value = function.hash(&[&self.identifier, &name(node), &D_LEAF, function.cut(&leaf)]);
        for beside in part.path.chunks_exact(function.length) {
            let (left, right) = if node & 1 == 1 {
                (beside, function.cut(&value))
            } else {
                (function.cut(&value), beside)
            };
            node >>= 1;
            value = function.hash(&[&self.identifier, &name(node), &D_INTR, left, right]);
        }
        node == 1 && function.cut(&value) == self.root
    }
}

/// The LMS signature by one tree.
struct Part {
    /// q.
    index: u32,
    /// C.
    randomizer: Vec<u8>,
    chains: Vec<u8>,
    path: Vec<u8>,
}

impl Part {
    /// Its types must be those of the key: nothing in a signature chooses how it is checked (RFC 8554 §5.4.2).
    fn read(wire: &mut Wire<'_>, key: &TreeKey, level: u32) -> Result<Self, String> {
        let length = key.tree.function.length;
        let index = wire.u32("the number q of a one-time key")?;
        let other = |kind: &str, found: u32, expected: u32| {
            Err(format!(
                "the signature of level {level} has {kind} type {found}, its key has {expected}"
            ))
        };
        let code = wire.u32("the type of a one-time signature")?;
        if code != key.one_time.code {
            return other("one-time signature", code, key.one_time.code);
        }
        let randomizer = wire.take(length, "the randomizer C")?.to_owned();
        let chains = key.one_time.chains().saturating_mul(length);
        let chains = wire
            .take(chains, "the chains of a one-time signature")?
            .to_owned();
        let code = wire.u32("the type of an LMS signature")?;
        if code != key.tree.code {
            return other("LMS", code, key.tree.code);
        }
        let height = key.tree.height;
        let path = usize::try_from(height)
            .unwrap_or(usize::MAX)
            .saturating_mul(length);
        let path = wire.take(path, "the path to the root of a tree")?.to_owned();
        if index >> height != 0 {
            return Err(format!(
                "the signature of level {level} is by one-time key {index}, but a tree of height {height} ends at {}",
                1_u32.wrapping_shl(height).saturating_sub(1)
            ));
        }
        Ok(Part {
            index,
            randomizer,
            chains,
            path,
        })
    }
}

/// A one-time key and what it signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OneTimeKey {
    /// 1 for the tree that was enrolled.
    pub level: u32,
    /// I, in hexadecimal.
    pub identifier: String,
    /// q.
    pub index: u32,
    /// Q, in hexadecimal: the same message signed with another randomizer is another Q, and as fatal.
    pub signed: String,
}

impl OneTimeKey {
    fn new(level: u32, key: &TreeKey, part: &Part, q: &[u8]) -> Self {
        OneTimeKey {
            level,
            identifier: hex(&key.identifier),
            index: part.index,
            signed: hex(q),
        }
    }
}

/// A public key.
#[derive(Clone)]
pub struct Key {
    levels: u32,
    top: TreeKey,
}

/// Whether bytes begin as a signature does: the number of keys that it carries.
pub fn looks_like(signature: &[u8]) -> bool {
    Wire::new(signature)
        .u32("")
        .is_ok_and(|carried| carried < MAX_LEVELS)
}

impl Key {
    /// Read the key of RFC 8554 §6.1, which stands in a SubjectPublicKeyInfo as it is (RFC 9708 §4).
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        if bytes.starts_with(&[4]) {
            return Err(
                "the HSS key is wrapped in an OCTET STRING, as RFC 8708 had it; RFC 9708 wants it without"
                    .to_owned(),
            );
        }
        let mut wire = Wire::new(bytes);
        let levels = wire.u32("the number of levels of an HSS key")?;
        if !(1..=MAX_LEVELS).contains(&levels) {
            return Err(format!(
                "the HSS key has {levels} levels, expected 1 to {MAX_LEVELS}"
            ));
        }
        let top = TreeKey::read(&mut wire)?;
        wire.end("the HSS key")?;
        Ok(Key { levels, top })
    }

    /// Bits of the hash that everything rests on.
    pub fn bits(&self) -> u32 {
        if self.top.tree.function.length == 32 {
            256
        } else {
            192
        }
    }

    pub fn rule(&self) -> String {
        format!(
            "HSS with {} level(s), {}, one-time signatures over the message itself (RFC 8554 §6.3, SP 800-208 §4)",
            self.levels,
            self.top.tree.function.name()
        )
    }

    /// Read a signature and check everything in it but what is over the message, which is still to come.
    pub fn begin(&self, signature: &[u8]) -> Result<Pending, String> {
        let mut wire = Wire::new(signature);
        let carried = wire.u32("the number of keys in an HSS signature")?;
        if carried.checked_add(1) != Some(self.levels) {
            return Err(format!(
                "the signature carries {carried} key(s) between the approved one and the message, expected {}",
                self.levels.saturating_sub(1)
            ));
        }
        let mut key = self.top.clone();
        let mut used = Vec::new();
        for level in 1..self.levels {
            let part = Part::read(&mut wire, &key, level)?;
            let from = wire.rest();
            let below = TreeKey::read(&mut wire)?;
            if below.tree.function != key.tree.function {
                return Err(format!(
                    "the key of level {} is for {}, the one above for {}",
                    level.saturating_add(1),
                    below.tree.function.name(),
                    key.tree.function.name()
                ));
            }
            let message = from
                .get(..from.len().saturating_sub(wire.rest().len()))
                .unwrap_or_default();
            let mut state = key.begin(&part);
            state.update(message);
            let q = state.digest();
            let q = key.tree.function.cut(&q);
            if !key.holds(&part, q) {
                return Err(format!(
                    "the signature of level {level} over the key below it is not valid"
                ));
            }
            used.push(OneTimeKey::new(level, &key, &part, q));
            key = below;
        }
        let part = Part::read(&mut wire, &key, self.levels)?;
        wire.end("the HSS signature")?;
        Ok(Pending {
            level: self.levels,
            key,
            part,
            used,
        })
    }
}

/// A signature whose upper levels hold, waiting for its message.
pub struct Pending {
    level: u32,
    key: TreeKey,
    part: Part,
    used: Vec<OneTimeKey>,
}

impl Pending {
    /// The state to feed the message to.
    pub fn sink(&self) -> Sink {
        self.key.begin(&self.part)
    }

    /// Whether the signature is over the message that `state` was fed.
    pub fn holds(&self, state: &Sink) -> bool {
        self.key
            .holds(&self.part, self.key.tree.function.cut(&state.digest()))
    }

    /// The one-time keys that signed, from the top.
    pub fn one_time_keys(&self, state: &Sink) -> Vec<OneTimeKey> {
        let digest = state.digest();
        let q = self.key.tree.function.cut(&digest);
        let mut used = self.used.clone();
        used.push(OneTimeKey::new(self.level, &self.key, &self.part, q));
        used
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn vectors() -> Vec<[Vec<u8>; 3]> {
        let text = include_str!("../../../tests/vectors/hss/rfc8554.json");
        let document: Value = serde_json::from_str(text).unwrap();
        let bytes = |text: &Value| {
            let digits = text.as_str().unwrap().as_bytes().chunks(2);
            digits
                .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
                .collect()
        };
        let tests = document["tests"].as_array().unwrap().iter();
        tests
            .map(|test| ["public_key", "message", "signature"].map(|name| bytes(&test[name])))
            .collect()
    }

    fn holds(key: &[u8], message: &[u8], signature: &[u8]) -> Result<bool, String> {
        let pending = Key::parse(key)?.begin(signature)?;
        let mut state = pending.sink();
        message.chunks(7).for_each(|piece| state.update(piece));
        Ok(pending.holds(&state))
    }

    #[test]
    fn rfc_8554_appendix_f_and_every_one_of_its_bytes() {
        for [key, message, signature] in vectors() {
            assert_eq!(holds(&key, &message, &signature), Ok(true));
            assert_eq!(holds(&key, &message[1..], &signature), Ok(false));
            for at in (0..signature.len()).step_by(17) {
                let mut bad = signature.clone();
                bad[at] ^= 0x10;
                assert_ne!(holds(&key, &message, &bad), Ok(true), "byte {at}");
                assert!(holds(&key, &message, &signature[..at]).is_err());
            }
            for at in 0..key.len() {
                let mut bad = key.clone();
                bad[at] ^= 1;
                assert_ne!(
                    holds(&bad, &message, &signature),
                    Ok(true),
                    "byte {at} of the key"
                );
            }
        }
    }

    /// The digits end where the chains do, whatever the hash: RFC 8554 appendix B, RFC 9858 §3.
    #[test]
    fn every_parameter_set_has_as_many_numbers_as_chains() {
        for code in 1..=16 {
            let one_time = OneTime::of(code).unwrap();
            let length = one_time.function.length;
            for byte in [0, 0x5a, 0xff] {
                let numbers = one_time.numbers(&vec![byte; length]);
                assert_eq!(numbers.len(), one_time.chains());
                let (_, largest) = one_time.digits();
                assert!(numbers.iter().all(|number| *number <= largest));
            }
            // The largest sum fills the checksum without loss.
            let (_, largest) = one_time.digits();
            let digits = 8 * length / usize::try_from(one_time.width).unwrap();
            let (checksum, width) = (&one_time.numbers(&vec![0; length])[digits..], one_time.width);
            let sum = checksum
                .iter()
                .fold(0_usize, |sum, digit| (sum << width) | usize::from(*digit));
            assert_eq!(sum, digits * usize::from(largest));
        }
        assert!(OneTime::of(0).is_err() && OneTime::of(17).is_err());
    }

    #[test]
    fn the_longest_signature_is_within_the_limit() {
        let part = 4 + 4 + 32 + 265 * 32 + 4 + 25 * 32;
        let longest: usize = 4 + 7 * (part + 8 + 16 + 32) + part;
        assert!(longest.div_ceil(3) * 4 + longest / 40 < MAX_SIGNATURE);
    }
}
