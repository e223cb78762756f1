//! The rule for Ed25519: CCTV's edge cases, crafted torsion, and one verdict however the input is split.

use std::path::Path;

use _verifier::keys::ed25519::{Key, verify_batch};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT, EIGHT_TORSION};
use curve25519_dalek::scalar::Scalar;
use serde::Deserialize;
use sha2::{Digest, Sha512};

#[derive(Deserialize)]
struct Case {
    number: usize,
    key: String,
    sig: String,
    msg: String,
    flags: Option<Vec<String>>,
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

fn alone(key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    Key::parse(key).is_ok_and(|key| {
        key.claim(&[message], signature)
            .is_some_and(|claim| key.holds(&claim))
    })
}

#[test]
fn cctv_edge_cases_follow_the_rule_exactly() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors/cctv/ed25519vectors.json");
    let Ok(text) = std::fs::read_to_string(&path) else {
        println!("skipped: the CCTV vectors are not beside the project");
        return;
    };
    let cases: Vec<Case> = serde_json::from_str(&text).unwrap();
    assert!(cases.len() > 900);
    let (mut valid, mut refused) = (0, 0);
    for case in cases {
        let flags = case.flags.unwrap_or_default();
        // Residues and components of small order are what the cofactor clears; the rest is what the rule refuses.
        let expected = !flags.iter().any(|flag| {
            ["low_order_A", "low_order_R", "non_canonical_A", "non_canonical_R"].contains(&flag.as_str())
        });
        let found = alone(&bytes(&case.key), case.msg.as_bytes(), &bytes(&case.sig));
        assert_eq!(found, expected, "case {} with {flags:?}", case.number);
        if found { valid += 1 } else { refused += 1 }
    }
    assert!(valid > 50 && refused > 500, "{valid} valid, {refused} refused");
}

/// A signature by the holder of `secret` whose key and R carry points of small order.
fn with_torsion(secret: Scalar, nonce: Scalar, a: usize, r: usize, message: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let key = (ED25519_BASEPOINT_POINT * secret + EIGHT_TORSION[a]).compress();
    let point = (ED25519_BASEPOINT_POINT * nonce + EIGHT_TORSION[r]).compress();
    let hash = Sha512::new()
        .chain_update(point.as_bytes())
        .chain_update(key.as_bytes())
        .chain_update(message);
    let k = Scalar::from_bytes_mod_order_wide(&hash.finalize().into());
    let s = nonce + k * secret;
    let signature = [point.as_bytes().as_slice(), s.as_bytes()].concat();
    (key.as_bytes().to_vec(), signature)
}

#[test]
fn torsion_gives_one_verdict_alone_and_in_every_batch() {
    let mut signed = Vec::new();
    for a in 0..8 {
        for r in 0..8 {
            let secret = Scalar::from(1_000_003_u64 + a as u64);
            let nonce = Scalar::from(77_777_u64 + 8 * a as u64 + r as u64);
            let message = format!("torsion {a} {r}").into_bytes();
            let (key, signature) = with_torsion(secret, nonce, a, r, &message);
            signed.push((Key::parse(&key).unwrap(), message, signature));
        }
    }
    for (key, message, signature) in &signed {
        let claim = key.claim(&[message], signature).unwrap();
        assert!(key.holds(&claim));
    }
    let keys: Vec<&Key> = signed.iter().map(|(key, ..)| key).collect();
    for size in [1, 2, 16, 17, 31, 40, 64] {
        for (start, part) in signed.chunks(size).enumerate() {
            let items = part
                .iter()
                .enumerate()
                .map(|(n, (key, message, signature))| {
                    (start * size + n, key.claim(&[message], signature).unwrap())
                })
                .collect::<Vec<_>>();
            assert!(
                verify_batch(&keys, &items).into_iter().all(|held| held),
                "batches of {size}"
            );
        }
    }
}

#[test]
fn a_batch_names_exactly_the_culprits_however_it_is_split() {
    let pairs: Vec<_> = (0..7_u8)
        .map(|n| Ed25519KeyPair::from_seed_unchecked(&[n; 32]).unwrap())
        .collect();
    let keys: Vec<_> = pairs
        .iter()
        .map(|pair| Key::parse(pair.public_key().as_ref()).unwrap())
        .collect();
    let keys: Vec<&Key> = keys.iter().collect();
    let messages: Vec<_> = (0..300).map(|n| format!("message {n}").into_bytes()).collect();
    for culprits in [
        vec![],
        vec![0],
        vec![299],
        vec![5, 6, 150, 151],
        (0..300).collect(),
    ] {
        for size in [300, 128, 100, 17, 16, 1] {
            let mut found = Vec::new();
            for start in (0..300).step_by(size) {
                let items: Vec<_> = (start..(start + size).min(300))
                    .map(|n| {
                        let signature = pairs[n % 7].sign(&messages[n]);
                        let bad = culprits.contains(&n);
                        let message: &[u8] = if bad { b"another message" } else { &messages[n] };
                        (n % 7, keys[n % 7].claim(&[message], signature.as_ref()).unwrap())
                    })
                    .collect();
                found.extend(verify_batch(&keys, &items));
            }
            let named: Vec<_> = (0..300).filter(|n| !found[*n]).collect();
            assert_eq!(named, culprits, "in batches of {size}");
        }
    }
}

#[test]
fn s_above_the_order_is_refused() {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[1; 32]).unwrap();
    let key = Key::parse(pair.public_key().as_ref()).unwrap();
    let mut signature = pair.sign(b"m").as_ref().to_vec();
    assert!(key.claim(&[b"m"], &signature).is_some());
    // Add the group's order L to S.
    let order = bytes("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
    let mut carry = 0_u16;
    for (byte, add) in signature[32..].iter_mut().zip(order) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        *byte = sum as u8;
        carry = sum >> 8;
    }
    assert!(key.claim(&[b"m"], &signature).is_none());
    assert!(key.claim(&[b"m"], &signature[..63]).is_none());
}
