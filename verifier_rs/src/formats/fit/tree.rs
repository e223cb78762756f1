//! Flattened device trees, version 17 (Devicetree Specification §5): read token by token, long values left where they
//! are. And the parts of a tree that U-Boot signs.

use std::collections::BTreeSet;

use crate::error::Result;
use crate::formats::fields::bytes;
use crate::source::Source;

pub const MAGIC: [u8; 4] = [0xd0, 0x0d, 0xfe, 0xed];
const HEADER: usize = 40;
const VERSION: u32 = 17;
const BEGIN: u32 = 1;
const END: u32 = 2;
const PROPERTY: u32 = 3;
const NOP: u32 = 4;
const FINISH: u32 = 9;
const MAX_DEPTH: usize = 16;
const MAX_NODES: usize = 16_384;
const MAX_TOKENS: usize = 131_072;
/// Of one node: each is compared with those before it.
const MAX_PROPERTIES: usize = 4_096;
const MAX_NAME: usize = 255;
const MAX_STRINGS: u32 = 256 * 1024;
/// Longer values are content: they stay in the file.
const MAX_VALUE: u64 = 64 * 1024;
const MAX_VALUES: u64 = 4 * 1024 * 1024;
/// What a signature covers of the tree itself, without content.
const MAX_SIGNED: u64 = 4 * 1024 * 1024;

type Read<T> = Result<std::result::Result<T, String>>;

pub struct Property {
    pub name: String,
    /// Where in the strings block its name ends, its NUL included.
    name_end: u32,
    /// Where in the file its value is.
    pub from: u64,
    pub to: u64,
    /// The value, where it is short.
    pub value: Vec<u8>,
}

pub struct Node {
    pub name: String,
    pub path: String,
    pub properties: Vec<Property>,
    pub children: Vec<usize>,
}

impl Node {
    pub fn get(&self, name: &str) -> Option<&Property> {
        self.properties.iter().find(|property| property.name == name)
    }

    /// A property that is one string.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.get(name)?.strings()?.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }

    /// A property that is one number of 32 or 64 bits.
    pub fn number(&self, name: &str) -> Option<u64> {
        let value = &self.get(name)?.value;
        match value.len() {
            4 => bytes(value, 0).map(|cell| u64::from(u32::from_be_bytes(cell))),
            8 => bytes(value, 0).map(u64::from_be_bytes),
            _ => None,
        }
    }
}

impl Property {
    /// The strings of a list, each with its NUL in the tree; `None` if it is none.
    pub fn strings(&self) -> Option<Vec<&str>> {
        let text = std::str::from_utf8(self.value.strip_suffix(b"\0")?).ok()?;
        let clean = !text.chars().any(|letter| letter.is_control() && letter != '\0');
        clean.then(|| text.split('\0').collect())
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Begin(usize),
    End,
    Property { node: usize, place: usize },
    Nop,
    Finish,
}

struct Token {
    kind: Kind,
    at: u64,
    end: u64,
}

pub struct Tree {
    /// The length that the header announces.
    pub size: u64,
    /// The first is the root.
    pub nodes: Vec<Node>,
    /// Whether the map of memory reservations is empty.
    pub reserves_nothing: bool,
    tokens: Vec<Token>,
    strings: u64,
    pub strings_size: u32,
}

struct Header {
    size: u32,
    structure: u32,
    structure_size: u32,
    strings: u32,
    strings_size: u32,
    reserved: u32,
}

fn header(source: &Source) -> Read<Header> {
    let mut start = [0; HEADER];
    if source.read_some(&mut start, 0)? < HEADER {
        return Ok(Err("the header is cut: expected 40 bytes".to_owned()));
    }
    let word = |at: usize| bytes(&start, at).map_or(0, u32::from_be_bytes);
    let header = Header {
        size: word(4),
        structure: word(8),
        strings: word(12),
        reserved: word(16),
        strings_size: word(32),
        structure_size: word(36),
    };
    if word(20) != VERSION {
        return Ok(Err(format!(
            "the tree has version {}, expected {VERSION}",
            word(20)
        )));
    }
    if u64::from(header.size) > source.size() {
        return Ok(Err(format!(
            "the tree is cut: it announces {} bytes, the file has {}",
            header.size,
            source.size()
        )));
    }
    let fits =
        |from: u32, length: u32| from >= 40 && from.checked_add(length).is_some_and(|end| end <= header.size);
    let reserved_first = header
        .reserved
        .checked_add(16)
        .is_some_and(|end| end <= header.structure);
    let strings_last = header.structure.saturating_add(header.structure_size) <= header.strings;
    if !fits(header.structure, header.structure_size)
        || !fits(header.strings, header.strings_size)
        || !fits(header.reserved, 16)
        || !reserved_first
        || !strings_last
        || !header.structure.is_multiple_of(4)
    {
        return Ok(Err(
            "its parts do not lie one behind the other inside the tree".to_owned()
        ));
    }
    if header.strings_size > MAX_STRINGS {
        return Ok(Err(format!("more than {MAX_STRINGS} bytes of names")));
    }
    Ok(Ok(header))
}

impl Tree {
    pub fn parse(source: &Source) -> Read<Tree> {
        let header = match header(source)? {
            Ok(header) => header,
            Err(why) => return Ok(Err(why)),
        };
        let length = usize::try_from(header.strings_size).unwrap_or_default();
        let names = source.read_exact(u64::from(header.strings), length)?;
        let mut tree = Tree {
            size: header.size.into(),
            nodes: Vec::new(),
            reserves_nothing: source.read_exact(header.reserved.into(), 16)? == [0; 16],
            tokens: Vec::new(),
            strings: header.strings.into(),
            strings_size: header.strings_size,
        };
        let end = u64::from(header.structure).saturating_add(header.structure_size.into());
        let read = tree.read(source, header.structure.into(), end, &names)?;
        Ok(read.map(|()| tree))
    }

    fn read(&mut self, source: &Source, from: u64, end: u64, names: &[u8]) -> Read<()> {
        let mut at = from;
        let mut open: Vec<usize> = Vec::new();
        let mut kept = 0_u64;
        loop {
            if self.tokens.len() >= MAX_TOKENS {
                return Ok(Err(format!("more than {MAX_TOKENS} parts in the tree")));
            }
            let wrong = |what: &str| Ok(Err(format!("offset {at}: {what}")));
            let left = usize::try_from(end.saturating_sub(at)).unwrap_or(usize::MAX);
            // Enough for a token and the longest name.
            let head = source.read_exact(at, left.min(MAX_NAME.saturating_add(9)))?;
            let word = |place: usize| bytes(&head, place).map(u32::from_be_bytes);
            let (kind, length) = match word(0) {
                None => return wrong("the tree ends without an end"),
                Some(BEGIN) => {
                    let rest = head.get(4..).unwrap_or_default();
                    let Some(length) = rest.iter().take(MAX_NAME).position(|byte| *byte == 0) else {
                        return wrong("the name of a node has no end");
                    };
                    let name = rest.get(..length).unwrap_or_default();
                    match self.begin(name, &open) {
                        Ok(node) => open.push(node),
                        Err(why) => return wrong(&why),
                    }
                    let node = open.last().copied().unwrap_or_default();
                    let length = u64::try_from(length).unwrap_or_default().saturating_add(5);
                    (Kind::Begin(node), length.next_multiple_of(4))
                }
                Some(END) => {
                    if open.pop().is_none() {
                        return wrong("a node ends that did not begin");
                    }
                    (Kind::End, 4)
                }
                Some(PROPERTY) => {
                    let Some((node, (size, name))) = open.last().copied().zip(word(4).zip(word(8))) else {
                        return wrong("a property outside of any node");
                    };
                    let from = at.saturating_add(12);
                    let to = from.saturating_add(size.into());
                    if to > end {
                        return wrong("a property runs past the end of the tree");
                    }
                    let long = u64::from(size) > MAX_VALUE;
                    kept = kept.saturating_add(if long { 0 } else { size.into() });
                    if kept > MAX_VALUES {
                        return wrong("too many values");
                    }
                    let keep = if long {
                        0
                    } else {
                        usize::try_from(size).unwrap_or_default()
                    };
                    let value = source.read_exact(from, keep)?;
                    match self.property(node, (name, names), (from, to), value) {
                        Ok(place) => (
                            Kind::Property { node, place },
                            u64::from(size).next_multiple_of(4).saturating_add(12),
                        ),
                        Err(why) => return wrong(&why),
                    }
                }
                Some(NOP) => (Kind::Nop, 4),
                Some(FINISH) if open.is_empty() && !self.nodes.is_empty() => (Kind::Finish, 4),
                Some(FINISH) => return wrong("the tree ends inside a node"),
                Some(other) => return wrong(&format!("0x{other:08x} is no part of a tree")),
            };
            let next = at.saturating_add(length);
            if next > end {
                return wrong("a part runs past the end of the tree");
            }
            self.tokens.push(Token { kind, at, end: next });
            at = next;
            if matches!(kind, Kind::Finish) {
                break;
            }
        }
        if at != end {
            return Ok(Err(format!("offset {at}: something follows the end of the tree")));
        }
        Ok(Ok(()))
    }

    fn begin(&mut self, name: &[u8], open: &[usize]) -> std::result::Result<usize, String> {
        let place = self.nodes.len();
        let printable = name.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'/');
        let name = std::str::from_utf8(name).ok().filter(|_| printable);
        let name = name.ok_or("the name of a node is not printable")?;
        if place >= MAX_NODES || open.len() >= MAX_DEPTH {
            return Err(format!(
                "more than {MAX_NODES} nodes, or {MAX_DEPTH} inside each other"
            ));
        }
        let path = match open.last().and_then(|parent| self.nodes.get(*parent)) {
            None if place > 0 => return Err("a second root".to_owned()),
            None if !name.is_empty() => return Err("the root has a name".to_owned()),
            None => String::new(),
            Some(_) if name.is_empty() => return Err("a node without a name".to_owned()),
            Some(parent) => {
                let twice = |child: &usize| self.nodes.get(*child).is_some_and(|child| child.name == name);
                if parent.children.iter().any(twice) {
                    return Err(format!("a second node {name:?} in {:?}", parent.path));
                }
                format!("{}/{name}", parent.path)
            }
        };
        if let Some(parent) = open.last().and_then(|parent| self.nodes.get_mut(*parent)) {
            parent.children.push(place);
        }
        self.nodes.push(Node {
            name: name.to_owned(),
            path,
            properties: Vec::new(),
            children: Vec::new(),
        });
        Ok(place)
    }

    fn property(
        &mut self,
        node: usize,
        (at, names): (u32, &[u8]),
        (from, to): (u64, u64),
        value: Vec<u8>,
    ) -> std::result::Result<usize, String> {
        let start = usize::try_from(at).unwrap_or(usize::MAX);
        let text = names.get(start..).unwrap_or_default().iter();
        let length = text.take(MAX_NAME).position(|byte| *byte == 0);
        let length = length.ok_or("the name of a property is not in the strings of the tree")?;
        let name = names.get(start..start.saturating_add(length)).unwrap_or_default();
        let name = std::str::from_utf8(name)
            .ok()
            .filter(|name| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic()))
            .ok_or("the name of a property is not printable")?;
        let node = self.nodes.get_mut(node).ok_or("a property outside of any node")?;
        // libfdt allows properties behind nodes nowhere; who reads them could see others than who signs them.
        if !node.children.is_empty() {
            return Err(format!(
                "property {name:?} stands behind the nodes in {:?}",
                node.path
            ));
        }
        if node.properties.len() >= MAX_PROPERTIES {
            return Err(format!(
                "more than {MAX_PROPERTIES} properties in {:?}",
                node.path
            ));
        }
        if node.get(name).is_some() {
            return Err(format!("a second property {name:?} in {:?}", node.path));
        }
        let place = node.properties.len();
        let end = u32::try_from(length).unwrap_or(u32::MAX).saturating_add(1);
        node.properties.push(Property {
            name: name.to_owned(),
            name_end: at.saturating_add(end),
            from,
            to,
            value,
        });
        Ok(place)
    }

    pub fn root(&self) -> Option<&Node> {
        self.nodes.first()
    }

    pub fn children<'a>(&'a self, node: &'a Node) -> impl Iterator<Item = &'a Node> {
        node.children.iter().filter_map(|child| self.nodes.get(*child))
    }

    pub fn child<'a>(&'a self, node: &'a Node, name: &str) -> Option<&'a Node> {
        self.children(node).find(|child| child.name == name)
    }

    /// The bytes that a signature over these nodes covers, as U-Boot's fdt_find_regions() puts them together: their
    /// properties but `left_out`, the names of their subnodes, the end; and behind them so much of the names.
    pub fn signed(
        &self,
        source: &Source,
        nodes: &BTreeSet<String>,
        left_out: &[&str],
        strings: u32,
    ) -> Read<Vec<u8>> {
        let mut regions: Vec<(u64, u64)> = Vec::new();
        let mut start = None;
        let mut stack = Vec::new();
        let mut want = 0_u8;
        for token in &self.tokens {
            let mut stop = token.at;
            let include = match token.kind {
                Kind::Begin(node) => {
                    let path = self.nodes.get(node).map_or("", |node| node.path.as_str());
                    stack.push(want);
                    let path = if path.is_empty() { "/" } else { path };
                    want = if nodes.contains(path) {
                        2
                    } else {
                        want.saturating_sub(1)
                    };
                    want > 0
                }
                Kind::End => {
                    stop = token.end;
                    let include = want > 0;
                    want = stack.pop().unwrap_or_default();
                    include
                }
                Kind::Property { node, place } => {
                    let property = self.nodes.get(node).and_then(|node| node.properties.get(place));
                    let Some(property) = property.filter(|_| want >= 2) else {
                        close(&mut regions, &mut start, stop);
                        continue;
                    };
                    let include = !left_out.contains(&property.name.as_str());
                    if include && property.name_end > strings {
                        return Ok(Err(format!(
                            "it does not cover the name of property {:?}",
                            property.name
                        )));
                    }
                    include
                }
                Kind::Nop => want >= 2,
                Kind::Finish => true,
            };
            if include {
                start = start.or(Some(token.at));
            } else {
                close(&mut regions, &mut start, stop);
            }
        }
        let end = self.tokens.last().map_or(0, |token| token.end);
        close(&mut regions, &mut start, end);
        regions.push((self.strings, self.strings.saturating_add(strings.into())));
        let total = regions.iter().fold(0_u64, |all, (from, to)| {
            all.saturating_add(to.saturating_sub(*from))
        });
        if total > MAX_SIGNED {
            return Ok(Err(format!(
                "it covers more than {MAX_SIGNED} bytes of the tree itself"
            )));
        }
        let mut message = Vec::new();
        for (from, to) in regions {
            let length = usize::try_from(to.saturating_sub(from)).unwrap_or_default();
            message.extend(source.read_exact(from, length)?);
        }
        Ok(Ok(message))
    }
}

fn close(regions: &mut Vec<(u64, u64)>, start: &mut Option<u64>, stop: u64) {
    if let Some(from) = start.take() {
        regions.push((from, stop));
    }
}
