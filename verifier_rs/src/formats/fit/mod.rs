//! U-Boot's FIT (flat image tree): images with hashes, configurations that say which of them belong together, and
//! signatures over either, as u-boot's doc/usage/fit/source_file_format.rst and signature.rst say.

mod tree;
mod verify;

use std::collections::BTreeSet;

use crate::error::Result;
use crate::formats;
use crate::source::Source;
use crate::trust::Hash;

use tree::{Node, Tree};

pub use tree::MAGIC;

const MAX_IMAGES: usize = 64;
const MAX_CONFIGURATIONS: usize = 64;
const MAX_SIGNATURES: usize = 64;
const MAX_HASHES: usize = 8;
/// Content lies in one of three ways; two at once would be two contents.
const CONTENT: [&str; 3] = ["data", "data-offset", "data-position"];
/// Of a configuration, what always names images.
const NAMES_IMAGES: [&str; 10] = [
    "kernel",
    "fdt",
    "ramdisk",
    "setup",
    "fpga",
    "firmware",
    "loadables",
    "standalone",
    "script",
    "tee",
];

/// One hash node of an image.
struct Recorded {
    algorithm: String,
    /// `None` for what proves nothing: crc32, md5, sha1.
    hash: Option<Hash>,
    value: Vec<u8>,
}

/// One signature node, of an image or of a configuration.
struct Signature {
    name: String,
    algorithm: String,
    hash: Option<Hash>,
    padding: Option<String>,
    key_name: String,
    value: Vec<u8>,
    /// What it says that it covers: `hashed-nodes`, and the length in `hashed-strings`. Claims, to be compared.
    nodes: Option<BTreeSet<String>>,
    strings: Option<u32>,
}

struct Image {
    name: String,
    facts: Vec<(&'static str, String)>,
    load: Option<u64>,
    entry: Option<u64>,
    from: u64,
    to: u64,
    hashes: Vec<Recorded>,
    signatures: Vec<Signature>,
    /// The paths that a signature over a configuration with this image covers.
    paths: Vec<String>,
}

struct Configuration {
    name: String,
    path: String,
    description: String,
    compatible: Vec<String>,
    images: BTreeSet<String>,
    signatures: Vec<Signature>,
}

/// A well-formed FIT. Nothing in it is proven yet.
pub struct Fit {
    tree: Tree,
    images: Vec<Image>,
    configurations: Vec<Configuration>,
}

/// Whether it is a FIT and not a device tree of some machine. What begins like a tree and is none is a broken FIT.
pub fn begins(source: &Source, start: &[u8]) -> Result<bool> {
    if !start.starts_with(&MAGIC) {
        return Ok(false);
    }
    Ok(match Tree::parse(source)? {
        Ok(tree) => tree
            .root()
            .is_some_and(|root| tree.child(root, "images").is_some()),
        Err(_) => true,
    })
}

/// Read the FIT in `source`, to be verified when its bytes are hashed.
pub fn parse(source: &Source) -> Result<formats::Parsed> {
    let tree = match Tree::parse(source)? {
        Ok(tree) => tree,
        Err(why) => return Ok(Err(why)),
    };
    let fit = match fit(tree, source.size()) {
        Ok(fit) => fit,
        Err(why) => return Ok(Err(why)),
    };
    if let Err(why) = nothing_else(&fit, source)? {
        return Ok(Err(why));
    }
    Ok(Ok(Box::new(verify::Verified::new(fit))))
}

type Parsed<T> = std::result::Result<T, String>;

fn fit(tree: Tree, size: u64) -> Parsed<Fit> {
    // libfdt takes "kernel@1" for "kernel": what is signed could be another node than what is booted (CVE-2021-27138).
    if let Some(node) = tree.nodes.iter().find(|node| node.name.contains('@')) {
        return Err(format!(
            "the node {:?} has an @ in its name, by which another one can take its place; write it with a hyphen",
            node.path
        ));
    }
    if !tree.reserves_nothing {
        return Err("it has memory reservations, which no signature covers".to_owned());
    }
    let root = tree.root().ok_or("it has no root")?;
    let folder = tree.child(root, "images").ok_or("it has no images")?;
    let images: Vec<_> = tree
        .children(folder)
        .map(|node| image(&tree, node, size).map_err(|why| format!("{:?}: {why}", node.path)))
        .collect::<Parsed<_>>()?;
    let configurations: Vec<_> = match tree.child(root, "configurations") {
        None => Vec::new(),
        Some(folder) => tree
            .children(folder)
            .map(|node| configuration(&tree, node, &images).map_err(|why| format!("{:?}: {why}", node.path)))
            .collect::<Parsed<_>>()?,
    };
    let of_images = images.iter().map(|image| image.signatures.len());
    let of_configurations = configurations.iter().map(|of| of.signatures.len());
    let signatures = of_images
        .chain(of_configurations)
        .fold(0_usize, usize::saturating_add);
    if images.len() > MAX_IMAGES || configurations.len() > MAX_CONFIGURATIONS || signatures > MAX_SIGNATURES {
        return Err(format!(
            "more than {MAX_IMAGES} images, {MAX_CONFIGURATIONS} configurations or {MAX_SIGNATURES} signatures"
        ));
    }
    Ok(Fit {
        images,
        configurations,
        tree,
    })
}

fn image(tree: &Tree, node: &Node, size: u64) -> Parsed<Image> {
    let (from, to) = content(tree, node, size)?;
    let named = |prefix: &'static str| {
        tree.children(node)
            .filter(move |child| child.name.starts_with(prefix))
    };
    let hashes: Vec<_> = named("hash").map(recorded).collect::<Parsed<_>>()?;
    if hashes.len() > MAX_HASHES {
        return Err(format!("more than {MAX_HASHES} hashes"));
    }
    let mut paths = vec![node.path.clone()];
    paths.extend(named("hash").map(|hash| hash.path.clone()));
    let further = ["cipher", "dm-verity"]
        .into_iter()
        .filter_map(|name| tree.child(node, name));
    paths.extend(further.map(|node| node.path.clone()));
    let facts = ["description", "type", "os", "arch", "compression"];
    let facts = facts
        .into_iter()
        .filter_map(|name| Some((name, node.text(name)?.to_owned())));
    let cipher = tree
        .child(node, "cipher")
        .map(|cipher| ("cipher", cipher.text("algo").unwrap_or("not named").to_owned()));
    Ok(Image {
        name: node.name.clone(),
        facts: facts.chain(cipher).collect(),
        load: node.number("load"),
        entry: node.number("entry"),
        from,
        to,
        hashes,
        signatures: named("signature").map(signature).collect::<Parsed<_>>()?,
        paths,
    })
}

/// Where the content of an image is: in the tree, behind it, or at a place in the file.
fn content(tree: &Tree, node: &Node, size: u64) -> Parsed<(u64, u64)> {
    let given: Vec<_> = CONTENT
        .into_iter()
        .filter(|name| node.get(name).is_some())
        .collect();
    let [way] = given.as_slice() else {
        return Err(match given.len() {
            0 => "it has no content".to_owned(),
            _ => format!("its content is given twice: {}", given.join(" and ")),
        });
    };
    if *way == "data" {
        return node
            .get("data")
            .map(|data| (data.from, data.to))
            .ok_or_else(|| "no content".to_owned());
    }
    let number = |name: &str| {
        let cell = node.get(name).is_some_and(|property| property.value.len() == 4);
        node.number(name)
            .filter(|_| cell)
            .ok_or_else(|| format!("{name} is not a number of 32 bits"))
    };
    let base = if *way == "data-offset" {
        tree.size.next_multiple_of(4)
    } else {
        0
    };
    let from = base.saturating_add(number(way)?);
    let to = from.saturating_add(number("data-size")?);
    if from < tree.size || to > size {
        return Err(format!(
            "its content is outside: {from} to {to}, between the tree ({}) and the end of the file ({size}) was \
             expected",
            tree.size
        ));
    }
    Ok((from, to))
}

fn strong(name: &str) -> Option<Hash> {
    match name {
        "sha256" => Some(Hash::Sha256),
        "sha384" => Some(Hash::Sha384),
        "sha512" => Some(Hash::Sha512),
        _ => None,
    }
}

fn recorded(node: &Node) -> Parsed<Recorded> {
    let algorithm = node
        .text("algo")
        .ok_or_else(|| format!("{:?} names no algorithm", node.path))?;
    let value = node
        .get("value")
        .ok_or_else(|| format!("{:?} has no value", node.path))?;
    Ok(Recorded {
        algorithm: algorithm.to_owned(),
        hash: strong(algorithm),
        value: value.value.clone(),
    })
}

fn signature(node: &Node) -> Parsed<Signature> {
    let algorithm = node
        .text("algo")
        .ok_or_else(|| format!("{:?} names no algorithm", node.path))?;
    let value = node.get("value").map(|value| value.value.clone());
    let nodes = match node.get("hashed-nodes") {
        None => None,
        Some(list) => {
            let list = list
                .strings()
                .ok_or_else(|| format!("{:?}: hashed-nodes is no list", node.path))?;
            Some(list.into_iter().map(str::to_owned).collect())
        }
    };
    let strings = match node.get("hashed-strings").map(|range| range.value.as_slice()) {
        None => None,
        Some([0, 0, 0, 0, size @ ..]) if size.len() == 4 => {
            crate::formats::fields::bytes(size, 0).map(u32::from_be_bytes)
        }
        Some(_) => return Err(format!("{:?}: hashed-strings does not begin at 0", node.path)),
    };
    Ok(Signature {
        name: node.name.clone(),
        algorithm: algorithm.to_owned(),
        hash: algorithm.split(',').next().and_then(strong),
        padding: node.text("padding").map(str::to_owned),
        key_name: node.text("key-name-hint").unwrap_or_default().to_owned(),
        // mkimage leaves it out where it had no key.
        value: value.unwrap_or_default(),
        nodes,
        strings,
    })
}

fn configuration(tree: &Tree, node: &Node, images: &[Image]) -> Parsed<Configuration> {
    let mut named = BTreeSet::new();
    for property in &node.properties {
        let name = property.name.as_str();
        if matches!(name, "description" | "compatible") {
            continue;
        }
        let expected = NAMES_IMAGES.contains(&name);
        for text in property.strings().unwrap_or_default() {
            if images.iter().any(|image| image.name == text) {
                named.insert(text.to_owned());
            } else if expected {
                return Err(format!("{name} names {text:?}, which is none of the images"));
            }
        }
    }
    let compatible = node
        .get("compatible")
        .and_then(|list| list.strings())
        .unwrap_or_default();
    Ok(Configuration {
        name: node.name.clone(),
        path: node.path.clone(),
        description: node.text("description").unwrap_or_default().to_owned(),
        compatible: compatible.into_iter().map(str::to_owned).collect(),
        images: named,
        signatures: tree
            .children(node)
            .filter(|child| child.name.starts_with("signature"))
            .map(signature)
            .collect::<Parsed<_>>()?,
    })
}

/// Behind the tree there is only content of images, each byte of one, and zeros between.
fn nothing_else(fit: &Fit, source: &Source) -> Result<Parsed<()>> {
    let mut ranges: Vec<_> = fit
        .images
        .iter()
        .filter(|image| image.from >= fit.tree.size)
        .map(|image| (image.from, image.to))
        .collect();
    ranges.sort_unstable();
    ranges.push((source.size(), source.size()));
    let mut at = fit.tree.size;
    for (from, to) in ranges {
        if from < at {
            return Ok(Err(format!("the byte at offset {from} is content of two images")));
        }
        while at < from {
            let length = from.saturating_sub(at).min(1 << 16);
            let gap = source.read_exact(at, usize::try_from(length).unwrap_or_default())?;
            if gap.iter().any(|byte| *byte != 0) {
                return Ok(Err(format!(
                    "something between offset {at} and {from} belongs to no image; expected zeros"
                )));
            }
            at = at.saturating_add(length);
        }
        at = to;
    }
    Ok(Ok(()))
}
