//! What a FIT proves: each image has the hashes that it records, and each signature against the approved keys.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::error::Result;
use crate::file::Request;
use crate::formats::fit::{Configuration, Fit, Image, Signature};
use crate::formats::{Container, Reading, several};
use crate::keys::Algorithm;
use crate::keys::method::{Method, verify_message};
use crate::outcome::{Finding, Outcome};
use crate::pass::{Pass, Ticket};
use crate::signatures::raw;
use crate::source::{Source, hex};
use crate::time;
use crate::trust::{EcdsaEncoding, Hash, Options, RsaPadding, Trust, TrustKey};
use crate::verdict::Verdict;

/// What U-Boot leaves out of what it signs; the hashes of an image bind its content.
const LEFT_OUT: [&str; 4] = ["data", "data-size", "data-position", "data-offset"];

/// A FIT with what has to be computed over it.
pub struct Verified {
    fit: Fit,
    /// For each image, the digests that somebody asks for.
    digests: Vec<Vec<(Hash, Ticket)>>,
}

impl Verified {
    pub fn new(fit: Fit) -> Self {
        Verified {
            fit,
            digests: Vec::new(),
        }
    }

    fn digest(&self, place: usize, hash: Hash, pass: &Pass) -> Vec<u8> {
        let known = self.digests.get(place).map(Vec::as_slice).unwrap_or_default();
        let ticket = known.iter().find(|(of, _)| *of == hash);
        ticket.map(|(_, ticket)| pass.bytes(*ticket)).unwrap_or_default()
    }

    fn format(&self, pass: &Pass) -> Finding {
        let mut faults = Vec::new();
        for (place, image) in self.fit.images.iter().enumerate() {
            for recorded in &image.hashes {
                let computed = recorded.hash.map(|hash| self.digest(place, hash, pass));
                if computed
                    .as_ref()
                    .is_some_and(|computed| *computed != recorded.value)
                {
                    faults.push(format!(
                        "the content of {:?} does not have the {} that it records: expected {}, found {}",
                        image.name,
                        recorded.algorithm,
                        hex(&recorded.value),
                        hex(&computed.unwrap_or_default())
                    ));
                }
            }
        }
        if faults.is_empty() {
            Finding::new(
                Outcome::Pass,
                format!(
                    "A well-formed FIT image with {} image(s) and {} configuration(s).",
                    self.fit.images.len(),
                    self.fit.configurations.len()
                ),
            )
        } else {
            Finding::new(
                Outcome::Fail,
                format!("A FIT image that was damaged or altered: {}.", several(&faults)),
            )
        }
    }

    fn verdicts(&self, pass: &Pass, source: &Source, request: &Request<'_>) -> Result<Vec<Verdict>> {
        let mut verdicts = Vec::new();
        for configuration in &self.fit.configurations {
            for signature in &configuration.signatures {
                verdicts.push(self.of_configuration(configuration, signature, source, request)?);
            }
        }
        for (place, image) in self.fit.images.iter().enumerate() {
            for signature in &image.signatures {
                let what = format!("{:?} of image {:?}", signature.name, image.name);
                verdicts.push(one(&what, signature, request, |_, method| {
                    let digest = method.hash().map(|hash| self.digest(place, hash, pass));
                    digest.is_some_and(|digest| method.verify_digest(&digest, &signature.value))
                }));
            }
        }
        Ok(verdicts)
    }

    fn of_configuration(
        &self,
        configuration: &Configuration,
        signature: &Signature,
        source: &Source,
        request: &Request<'_>,
    ) -> Result<Verdict> {
        let what = format!("{:?} of configuration {:?}", signature.name, configuration.name);
        let refused = |why: String| {
            Verdict::unproven(
                &what,
                Finding::new(Outcome::Fail, format!("{what} does not count: {why}.")),
                Finding::new(Outcome::NotRun, "Not checked: nobody is proven to have signed."),
                request.moment(),
            )
        };
        // What it must cover follows from the configuration; what it says that it covers must be just that.
        let nodes = self.covered(configuration);
        let Some(listed) = &signature.nodes else {
            return Ok(refused(
                "it does not say what it covers (hashed-nodes)".to_owned(),
            ));
        };
        if let Some(open) = nodes.difference(listed).next() {
            return Ok(refused(format!(
                "it does not cover {open:?}, so that anybody can exchange it; name it in sign-images"
            )));
        }
        if let Some(other) = listed.difference(&nodes).next() {
            return Ok(refused(format!(
                "it covers {other:?}, which does not belong to the configuration"
            )));
        }
        let Some(strings) = signature
            .strings
            .filter(|size| *size <= self.fit.tree.strings_size)
        else {
            return Ok(refused(
                "it does not cover the names of the properties (hashed-strings)".to_owned(),
            ));
        };
        let message = match self.fit.tree.signed(source, &nodes, &LEFT_OUT, strings)? {
            Ok(message) => message,
            Err(why) => return Ok(refused(why)),
        };
        Ok(one(&what, signature, request, |key, method| {
            verify_message(&key.key, method, &[&message], &signature.value)
        }))
    }

    /// The nodes that belong to a configuration: the root, itself, its images with what binds their content.
    fn covered(&self, configuration: &Configuration) -> BTreeSet<String> {
        let mut nodes = BTreeSet::from(["/".to_owned(), configuration.path.clone()]);
        for image in &self.fit.images {
            if configuration.images.contains(&image.name) {
                nodes.extend(image.paths.iter().cloned());
            }
        }
        nodes
    }

    /// Whether anything could be booted that no signature covers.
    fn coverage(&self, request: &Request<'_>) -> Finding {
        if request.signature.is_some() {
            return Finding::new(
                Outcome::Pass,
                "The detached signature is over the whole file, so everything in it is covered.",
            );
        }
        let fit = &self.fit;
        let mut faults = Vec::new();
        for configuration in fit.configurations.iter().filter(|of| of.signatures.is_empty()) {
            faults.push(format!(
                "configuration {:?} is not signed, so its images can be mixed with others",
                configuration.name
            ));
        }
        if fit.configurations.is_empty() && fit.images.len() > 1 {
            faults
                .push("no configuration says which images belong together, so they can be mixed".to_owned());
        }
        for image in fit.images.iter().filter(|image| image.signatures.is_empty()) {
            let named = |of: &Configuration| !of.signatures.is_empty() && of.images.contains(&image.name);
            if !fit.configurations.iter().any(named) {
                faults.push(format!("image {:?} is in no signed configuration", image.name));
            } else if !image.hashes.iter().any(|hash| hash.hash.is_some()) {
                faults.push(format!(
                    "image {:?} has no hash that binds its content (sha256, sha384 or sha512)",
                    image.name
                ));
            }
        }
        if faults.is_empty() {
            let text = "Every configuration is signed, and what is signed binds the content of every image.";
            Finding::new(Outcome::Pass, text)
        } else {
            Finding::new(
                Outcome::Fail,
                format!("Not everything is covered by a signature: {}.", several(&faults)),
            )
        }
    }
}

/// The verdict on a signature; `holds` tries one key in the way in which it is enrolled.
fn one(
    what: &str,
    signature: &Signature,
    request: &Request<'_>,
    holds: impl Fn(&TrustKey, &Method) -> bool,
) -> Verdict {
    let what = format!("The {} signature {what}", signature.algorithm);
    if signature.value.is_empty() {
        return Verdict::unreadable(
            &what,
            "it has no value: mkimage had no key for it",
            request.moment(),
        );
    }
    if signature.hash.is_none() {
        let why = "only signatures over sha256, sha384 and sha512 prove anything";
        return Verdict::unreadable(&what, why, request.moment());
    }
    raw::by_any(&what, request, |key| {
        let method = method(key)?;
        let agrees = method.hash() == signature.hash && padded(key, signature);
        (agrees && holds(key, &method)).then(|| method.rule().to_owned())
    })
}

/// The way of the key's enrolment; ECDSA always as r‖s, which is how mkimage writes it.
fn method(key: &TrustKey) -> Option<Method> {
    let ecdsa = matches!(key.key.algorithm, Algorithm::EcdsaP256 | Algorithm::EcdsaP384);
    let options = Options {
        ecdsa_encoding: ecdsa.then_some(EcdsaEncoding::P1363),
        rsa_padding: key.options.rsa_padding,
        pss_salt: key.options.pss_salt,
        hash: key.options.hash,
        ..Options::default()
    };
    Method::of(&key.key, &options).ok()
}

/// Whether the padding that the signature names, by which U-Boot would check it, is that of the enrolment.
fn padded(key: &TrustKey, signature: &Signature) -> bool {
    let named = match signature.padding.as_deref() {
        None | Some("pkcs-1.5") => RsaPadding::Pkcs1v15,
        Some("pss") => RsaPadding::Pss,
        Some(_) => return false,
    };
    !matches!(key.key.algorithm, Algorithm::Rsa { .. })
        || key.options.rsa_padding.unwrap_or(RsaPadding::Pkcs1v15) == named
}

impl Container for Verified {
    fn plan(&mut self, pass: &mut Pass, trust: &Trust) {
        let mut keys: Vec<_> = trust.keys.iter().filter_map(|key| method(key)?.hash()).collect();
        keys.sort_unstable();
        keys.dedup();
        let images = self.fit.images.iter();
        self.digests = images
            .map(|image| {
                let mut wanted = vec![Hash::Sha256];
                wanted.extend(image.hashes.iter().filter_map(|recorded| recorded.hash));
                if !image.signatures.is_empty() {
                    wanted.extend(&keys);
                }
                wanted.sort_unstable();
                wanted.dedup();
                let ticket = |hash| (hash, pass.digest(image.from, image.to, hash));
                wanted.into_iter().map(ticket).collect()
            })
            .collect();
    }

    fn judge(&self, pass: &Pass, source: &Source, request: &Request<'_>) -> Result<Reading> {
        let verdicts = self.verdicts(pass, source, request)?;
        let coverage = (!verdicts.is_empty()).then(|| ("coverage", self.coverage(request)));
        Ok(Reading {
            format: self.format(pass),
            verdicts,
            unsigned: Finding::new(
                Outcome::Fail,
                "The FIT image carries no signature and no detached one was given; its hashes prove nothing about who \
                 made it. Sign its configurations (mkimage -F -k KEYS FILE).",
            ),
            checks: coverage.into_iter().collect(),
            claims: self.claims(pass),
        })
    }
}

impl Verified {
    /// What the FIT says about itself.
    fn claims(&self, pass: &Pass) -> Map<String, Value> {
        let fit = &self.fit;
        let mut claims = Map::new();
        let mut fact = |name: &str, value: Value| claims.insert(name.to_owned(), value);
        if let Some(root) = fit.tree.root() {
            if let Some(text) = root.text("description") {
                fact("description", json!(text));
            }
            if let Some(made) = root.number("timestamp").and_then(|made| u32::try_from(made).ok()) {
                fact("made_at", json!(time::format(f64::from(made))));
            }
            let folder = fit.tree.child(root, "configurations");
            if let Some(usual) = folder.and_then(|folder| folder.text("default")) {
                fact("default_configuration", json!(usual));
            }
        }
        let images = fit.images.iter().enumerate();
        let images: Vec<_> = images
            .map(|(place, image)| self.image_claims(place, image, pass))
            .collect();
        fact("images", images.into());
        let configurations: Vec<_> = fit
            .configurations
            .iter()
            .map(|of| {
                let images: Vec<_> = of.images.iter().map(String::as_str).collect();
                json!({
                    "name": of.name, "description": of.description, "images": images.join(", "),
                    "compatible": of.compatible.join(", "), "signed": !of.signatures.is_empty(),
                })
            })
            .collect();
        fact("configurations", configurations.into());
        let signature = |of: &str, signature: &Signature| {
            json!({
                "of": of, "algorithm": signature.algorithm, "padding": signature.padding,
                "key_name": signature.key_name,
            })
        };
        let mut signatures = Vec::new();
        for of in &fit.configurations {
            signatures.extend(of.signatures.iter().map(|one| signature(&of.name, one)));
        }
        for of in &fit.images {
            signatures.extend(of.signatures.iter().map(|one| signature(&of.name, one)));
        }
        fact("signatures", signatures.into());
        claims
    }

    fn image_claims(&self, place: usize, image: &Image, pass: &Pass) -> Value {
        let mut row = Map::new();
        row.insert("name".to_owned(), json!(image.name));
        for (name, value) in &image.facts {
            row.insert((*name).to_owned(), json!(value));
        }
        row.insert("load_addr".to_owned(), json!(image.load));
        row.insert("entry_point".to_owned(), json!(image.entry));
        row.insert("size".to_owned(), json!(image.to.saturating_sub(image.from)));
        row.insert(
            "sha256".to_owned(),
            json!(hex(&self.digest(place, Hash::Sha256, pass))),
        );
        Value::Object(row)
    }
}
