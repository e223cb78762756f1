//! Envelopes, parse included, beside the bare verification of the same signatures, on the same threads.
//!
//! `./run bench-verifier` prints the ratios; `cargo bench --no-default-features --bench signatures` the details.

use std::fs::File;
use std::hint::black_box;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use _verifier::keys::ed25519::Key;
use _verifier::pool::pool;
use _verifier::source::{Progress, Source};
use _verifier::statements::batch;
use _verifier::trust::{Purpose, Trust};
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
    ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, VerificationAlgorithm,
};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use criterion::{Criterion, criterion_group, criterion_main};
use ed25519_dalek::{Signature, VerifyingKey};
use rayon::prelude::*;

const ED25519: usize = 100_000;
const OTHERS: usize = 10_000;
/// Made once and repeated: RSA signs slowly.
const DIFFERENT: usize = 250;
const KEYS: usize = 300;
const AT: f64 = 1_795_262_400.0;

/// What was signed, by which key, and how.
struct Signed {
    message: Vec<u8>,
    key: usize,
    signature: Vec<u8>,
}

/// Signed envelopes in a file, and the same without their envelopes.
struct Batch {
    file: PathBuf,
    trust: Trust,
    signed: Vec<Signed>,
}

impl Drop for Batch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file);
    }
}

fn pem(public: &PublicKeyX509Der<'_>) -> String {
    let text = BASE64_STANDARD.encode(public.as_ref());
    let lines: Vec<&str> = (0..text.len())
        .step_by(64)
        .map(|at| &text[at..text.len().min(at + 64)])
        .collect();
    format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        lines.join("\n")
    )
}

fn payload(n: usize) -> Vec<u8> {
    let digest = blake3::hash(&n.to_le_bytes()).to_hex();
    let log = "0123456789abcdef".repeat(22);
    format!(
        "{{\"_type\": \"https://in-toto.io/Statement/v1\", \"subject\": [{{\"name\": \"LOT-2026-11-{n:08}\", \
         \"digest\": {{\"sha256\": \"{digest}\"}}}}], \"predicateType\": \"https://lotgate.example/unit-test/v1\", \
         \"predicate\": {{\"stage\": \"end-of-line\", \"measured\": {{\"capacity_ah\": 280.1, \"ocv_v\": 3.289}}, \
         \"station\": {{\"id\": \"EOL-07\", \"operator\": \"4711\"}}, \"log\": \"{log}\"}}}}"
    )
    .into_bytes()
}

/// Write `count` envelopes; those that `bad` names carry another payload than was signed.
fn batch(
    name: &str,
    count: usize,
    different: usize,
    keys: &[String],
    sign: &dyn Fn(usize, &[u8]) -> Vec<u8>,
    bad: &dyn Fn(usize) -> bool,
) -> Batch {
    let members: Vec<String> = keys
        .iter()
        .enumerate()
        .map(|(n, pem)| format!("{{\"id\": \"key-{n}\", \"public_key\": {pem:?}}}"))
        .collect();
    let trust = Trust::parse(&format!("{{\"version\": 1, \"keys\": [{}]}}", members.join(", "))).unwrap();
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.jsonl"));
    let mut out = BufWriter::new(File::create(&file).unwrap());
    let mut signed: Vec<Signed> = Vec::new();
    for n in 0..count {
        if n < different {
            let payload = payload(n);
            let kind = "application/vnd.in-toto+json";
            let head = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len());
            let message = [head.as_bytes(), &payload].concat();
            let key = n % keys.len();
            let signature = sign(key, &message);
            signed.push(Signed {
                message,
                key,
                signature,
            });
        }
        let nth = n % different;
        let payload = payload(if bad(n) { nth + 1 } else { nth });
        writeln!(
            out,
            "{{\"payload\": \"{}\", \"payloadType\": \"application/vnd.in-toto+json\", \"signatures\": \
             [{{\"keyid\": \"key-{}\", \"sig\": \"{}\"}}]}}",
            BASE64_STANDARD.encode(payload),
            signed[nth].key,
            BASE64_STANDARD.encode(&signed[nth].signature)
        )
        .unwrap();
    }
    out.flush().unwrap();
    Batch { file, trust, signed }
}

/// How many envelopes pass.
fn ours(batch: &Batch) -> u64 {
    let mut report = |_| Ok(());
    let mut sink = |_| Ok(());
    let mut progress = Progress::new(&mut report);
    let done = batch::verify(
        &Source::open(&batch.file).unwrap(),
        &batch.trust,
        Purpose::Attestation,
        AT,
        &mut sink,
        &mut progress,
    );
    done.unwrap().passed
}

fn ed25519(c: &mut Criterion) {
    let pairs: Vec<_> = (0..KEYS).map(|_| Ed25519KeyPair::generate().unwrap()).collect();
    let pems: Vec<_> = pairs
        .iter()
        .map(|pair| pem(&pair.public_key().as_der().unwrap()))
        .collect();
    let sign = |key: usize, message: &[u8]| pairs[key].sign(message).as_ref().to_vec();
    let make = |name: &str, bad: &dyn Fn(usize) -> bool| batch(name, ED25519, ED25519, &pems, &sign, bad);
    let good = make("ed25519", &|_| false);
    let all = make("ed25519-all-bad", &|_| true);
    assert_eq!((ours(&good), ours(&all)), (ED25519 as u64, 0));

    let messages: Vec<&[u8]> = good.signed.iter().map(|one| one.message.as_slice()).collect();
    let signatures: Vec<_> = good
        .signed
        .iter()
        .map(|one| Signature::from_slice(&one.signature).unwrap())
        .collect();
    let public: Vec<_> = pairs
        .iter()
        .map(|pair| VerifyingKey::from_bytes(pair.public_key().as_ref().try_into().unwrap()).unwrap())
        .collect();
    let keys: Vec<_> = good.signed.iter().map(|one| public[one.key]).collect();
    let parsed: Vec<_> = pairs
        .iter()
        .map(|pair| Key::parse(pair.public_key().as_ref()).unwrap())
        .collect();

    let mut group = c.benchmark_group("ed25519");
    group.sample_size(10).measurement_time(Duration::from_secs(10));
    // Its best size on the machine at hand is 1,024 to 4,096.
    group.bench_function("bare", |b| {
        b.iter(|| {
            pool().unwrap().install(|| {
                (
                    messages.par_chunks(2048),
                    signatures.par_chunks(2048),
                    keys.par_chunks(2048),
                )
                    .into_par_iter()
                    .for_each(|(m, s, k)| ed25519_dalek::verify_batch(m, s, k).unwrap());
            });
        });
    });
    group.bench_function("envelopes", |b| b.iter(|| ours(black_box(&good))));
    group.bench_function("envelopes-all-bad", |b| b.iter(|| ours(black_box(&all))));
    group.bench_function("singles", |b| {
        b.iter(|| {
            pool().unwrap().install(|| {
                let holds = good.signed.par_iter().all(|one| {
                    let key = &parsed[one.key];
                    key.claim(&[&one.message], &one.signature)
                        .is_some_and(|claim| key.holds(&claim))
                });
                assert!(holds);
            });
        });
    });
}

fn digests(
    c: &mut Criterion,
    name: &str,
    algorithm: &'static dyn VerificationAlgorithm,
    keys: &[(String, Vec<u8>)],
    sign: &dyn Fn(usize, &[u8]) -> Vec<u8>,
) {
    let pems: Vec<String> = keys.iter().map(|(pem, _)| pem.clone()).collect();
    let made = batch(name, OTHERS, DIFFERENT, &pems, sign, &|_| false);
    assert_eq!(ours(&made), OTHERS as u64);
    let parsed: Vec<_> = keys
        .iter()
        .map(|(_, raw)| ParsedPublicKey::new(algorithm, raw).unwrap())
        .collect();
    let mut group = c.benchmark_group(name);
    group.sample_size(10).measurement_time(Duration::from_secs(5));
    group.bench_function("bare", |b| {
        b.iter(|| {
            pool().unwrap().install(|| {
                (0..OTHERS).into_par_iter().for_each(|n| {
                    let one = &made.signed[n % DIFFERENT];
                    parsed[one.key].verify_sig(&one.message, &one.signature).unwrap();
                });
            });
        });
    });
    group.bench_function("envelopes", |b| b.iter(|| ours(black_box(&made))));
}

fn p256(c: &mut Criterion) {
    let random = SystemRandom::new();
    let pairs: Vec<_> = (0..DIFFERENT)
        .map(|_| EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap())
        .collect();
    let keys: Vec<_> = pairs
        .iter()
        .map(|pair| {
            (
                pem(&pair.public_key().as_der().unwrap()),
                pair.public_key().as_ref().to_vec(),
            )
        })
        .collect();
    let sign = |key: usize, message: &[u8]| pairs[key].sign(&random, message).unwrap().as_ref().to_vec();
    digests(c, "ecdsa-p256", &ECDSA_P256_SHA256_ASN1, &keys, &sign);
}

fn rsa3072(c: &mut Criterion) {
    let random = SystemRandom::new();
    let pair = RsaKeyPair::generate(KeySize::Rsa3072).unwrap();
    let key = (
        pem(&pair.public_key().as_der().unwrap()),
        pair.public_key().as_ref().to_vec(),
    );
    let sign = |_: usize, message: &[u8]| {
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
            .unwrap();
        signature
    };
    digests(c, "rsa-3072", &RSA_PKCS1_2048_8192_SHA256, &[key], &sign);
}

criterion_group!(benches, ed25519, p256, rsa3072);
criterion_main!(benches);
