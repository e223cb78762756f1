use _verifier::formats::archive::unpack::Compression;
use _verifier::formats::mender::manifest::Manifest;
use _verifier::formats::mender::payload::{contents, files};
use _verifier::formats::mender::{Inner, Member, artifact};

pub fn run(data: &[u8]) {
    let data = with_sums(data);
    let source = super::source(&data);
    if let Ok(artifact) = artifact(&source) {
        let _ = contents(&source, &artifact.header, |_| true);
        for payload in &artifact.payloads {
            let _ = files(&source, payload);
        }
    }
    let whole = Inner {
        member: Member {
            name: "whole".to_owned(),
            from: 0,
            to: source.size(),
        },
        compression: Compression::None,
    };
    let _ = files(&source, &whole);
    let _ = Manifest::parse(&data);
}

/// Right checksums in what looks like tar headers: guessing them would take the fuzzer for ever.
fn with_sums(data: &[u8]) -> Vec<u8> {
    let mut data = data.to_vec();
    for block in data.chunks_exact_mut(512) {
        if &block[257..262] == b"ustar" {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
    data
}
