//! PEM blocks, several in a row: strictly blocks and white space, nothing in between.

use crate::x509::certificate::Certificate;

/// Certificates in one file.
pub const MAX_BLOCKS: usize = 64;

/// The contents of all blocks, which must bear one of these labels.
pub fn blocks(text: &str, labels: &[&str], most: usize) -> Result<Vec<Vec<u8>>, String> {
    let mut blocks = Vec::new();
    let mut rest = text.trim();
    if rest.contains("PRIVATE KEY-----") {
        return Err("there is a private key in it: it must never be uploaded or shared".to_owned());
    }
    while !rest.is_empty() {
        if blocks.len() == most {
            return Err(format!("expected at most {most} PEM blocks, found more"));
        }
        let end = rest
            .find("-----END ")
            .and_then(|at| {
                let tail = rest.get(at..)?;
                let dashes = tail.get(9..)?.find("-----")?;
                at.checked_add(dashes)?.checked_add(14)
            })
            .ok_or("a PEM block has no end")?;
        let (block, after) = rest.split_at_checked(end).ok_or("a PEM block has no end")?;
        if !block.starts_with("-----BEGIN ") {
            return Err("expected nothing but PEM blocks, found other text".to_owned());
        }
        let (label, der) = der::pem::decode_vec(block.as_bytes()).map_err(|error| {
            format!(
                "PEM block {} cannot be decoded ({error})",
                blocks.len().saturating_add(1)
            )
        })?;
        if !labels.contains(&label) {
            return Err(format!(
                "expected a PEM block {}, found {label}",
                labels.join(" or ")
            ));
        }
        blocks.push(der);
        rest = after.trim_start();
    }
    Ok(blocks)
}

/// A file of certificates, the signer's usually first.
pub fn certificates(text: &str) -> Result<Vec<Certificate>, String> {
    let blocks = blocks(text, &["CERTIFICATE"], MAX_BLOCKS)?;
    if blocks.is_empty() {
        return Err("expected PEM certificates, found none".to_owned());
    }
    blocks
        .iter()
        .enumerate()
        .map(|(place, der)| {
            Certificate::from_der(der)
                .map_err(|why| format!("certificate {}: {why}", place.saturating_add(1)))
        })
        .collect()
}
