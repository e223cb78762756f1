//! The rule for Ed25519: CCTV's edge cases, crafted torsion, and one verdict however the input is split.

use std::path::Path;

use _verifier::keys::ed25519::{Claim, Key, verify_batch};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
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

fn cctv() -> Option<Vec<Case>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors/cctv/ed25519vectors.json");
    let Ok(text) = std::fs::read_to_string(&path) else {
        println!("skipped: the CCTV vectors are not beside the project");
        return None;
    };
    let cases: Vec<Case> = serde_json::from_str(&text).unwrap();
    assert!(cases.len() > 900);
    Some(cases)
}

/// A small generator with a seed, so that every failure can be seen again.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }
}

/// The verdicts of batches of random sizes, in a random order of the input, in the input's order again.
fn in_random_batches(signed: &[Signed], seed: u64) -> Vec<bool> {
    let mut dice = Dice(seed);
    let keys: Vec<&Key> = signed.iter().map(|one| &one.key).collect();
    let mut order: Vec<usize> = (0..signed.len()).collect();
    for at in (1..order.len()).rev() {
        order.swap(at, dice.below(at + 1));
    }
    let mut held = vec![false; signed.len()];
    let mut rest = order.as_slice();
    while !rest.is_empty() {
        let (part, after) = rest.split_at(1 + dice.below(rest.len()));
        // What the rule refuses by its encoding never reaches a batch.
        let claims = part
            .iter()
            .filter_map(|place| Some((*place, signed[*place].claim()?)))
            .collect::<Vec<_>>();
        for ((place, _), verdict) in claims.iter().zip(verify_batch(&keys, &claims)) {
            held[*place] = verdict;
        }
        rest = after;
    }
    held
}

/// A key that obeys the rule, a message and what is claimed to be a signature.
struct Signed {
    key: Key,
    message: Vec<u8>,
    signature: Vec<u8>,
}

impl Signed {
    fn claim(&self) -> Option<Claim> {
        self.key.claim(&[&self.message], &self.signature)
    }

    fn alone(&self) -> bool {
        self.claim().is_some_and(|claim| self.key.holds(&claim))
    }
}

#[test]
fn cctv_edge_cases_follow_the_rule_exactly() {
    let Some(cases) = cctv() else { return };
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
    let all = valid + refused;
    println!("conformance: CCTV Ed25519 edge cases, by our rule\t{all}\t{all}\t0");
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

#[test]
fn cctv_edge_cases_have_one_verdict_however_they_are_split() {
    let Some(cases) = cctv() else { return };
    let signed: Vec<_> = cases
        .iter()
        .filter_map(|case| {
            let key = Key::parse(&bytes(&case.key)).ok()?;
            let message = case.msg.as_bytes().to_vec();
            let signature = bytes(&case.sig);
            Some(Signed {
                key,
                message,
                signature,
            })
        })
        .collect();
    let alone: Vec<_> = signed.iter().map(Signed::alone).collect();
    assert!(alone.iter().filter(|held| **held).count() > 50);
    for seed in 0..20 {
        assert_eq!(in_random_batches(&signed, seed), alone, "seed {seed}");
    }
}

/// Signatures of every kind that matters to a batch: good, damaged, with torsion in key or R that only the cofactor
/// clears, damaged besides, and pairs made by a key's holder so that their errors cancel each other out.
fn of_every_kind(seed: u64) -> Vec<Signed> {
    let mut dice = Dice(seed);
    let mut signed = Vec::new();
    for n in 0..600 {
        let torsion = if dice.below(3) == 0 { dice.below(64) } else { 0 };
        let message = format!("message {n} of {seed}").into_bytes();
        let (secret, nonce) = (1_000_003 + dice.below(40) as u64, 1 + 1_000 * seed + n as u64);
        let (secret, nonce) = (Scalar::from(secret), Scalar::from(nonce));
        let (key, mut signature) = with_torsion(secret, nonce, torsion / 8, torsion % 8, &message);
        let damage = |signature: &mut Vec<u8>, by: Scalar| {
            let s: [u8; 32] = signature[32..].try_into().unwrap();
            let s = Scalar::from_canonical_bytes(s).unwrap() + by;
            signature[32..].copy_from_slice(s.as_bytes());
        };
        let key = || Key::parse(&key).unwrap();
        match dice.below(12) {
            0 => damage(&mut signature, Scalar::from(1 + dice.below(1000) as u64)),
            1 => {
                let mut opposite = signature.clone();
                damage(&mut signature, Scalar::from(77_u64));
                damage(&mut opposite, -Scalar::from(77_u64));
                signed.push(Signed {
                    key: key(),
                    message: message.clone(),
                    signature: opposite,
                });
            }
            _ => {}
        }
        signed.push(Signed {
            key: key(),
            message,
            signature,
        });
    }
    signed
}

#[test]
fn single_and_batch_give_one_verdict_on_every_random_split_of_every_kind_of_input() {
    for seed in 0..6 {
        let signed = of_every_kind(seed);
        let alone: Vec<_> = signed.iter().map(Signed::alone).collect();
        let held = alone.iter().filter(|held| **held).count();
        assert!(
            held > 300 && held < signed.len() - 50,
            "{held} of {} hold",
            signed.len()
        );
        for split in 0..4 {
            assert_eq!(
                in_random_batches(&signed, 100 * seed + split),
                alone,
                "seed {seed}, split {split}"
            );
        }
    }
}

#[test]
fn errors_that_cancel_each_other_out_hide_nobody() {
    let mut signed = of_every_kind(9);
    signed.retain(Signed::alone);
    for (place, by) in [(3, 5_u64), (200, 5), (10, 9), (11, 9)] {
        let by = if matches!(place, 3 | 10) {
            Scalar::from(by)
        } else {
            -Scalar::from(by)
        };
        let s: [u8; 32] = signed[place].signature[32..].try_into().unwrap();
        let s = Scalar::from_canonical_bytes(s).unwrap() + by;
        signed[place].signature[32..].copy_from_slice(s.as_bytes());
    }
    let keys: Vec<&Key> = signed.iter().map(|one| &one.key).collect();
    let claims: Vec<_> = signed
        .iter()
        .enumerate()
        .map(|(n, one)| (n, one.claim().unwrap()))
        .collect();
    let held = verify_batch(&keys, &claims);
    let named: Vec<_> = (0..held.len()).filter(|place| !held[*place]).collect();
    assert_eq!(named, [3, 10, 11, 200]);
}

#[test]
fn torsion_is_where_this_rule_and_a_check_without_the_cofactor_differ() {
    let (mut differ, mut agree) = (0, 0);
    for torsion in 0..64_u64 {
        let message = format!("torsion {torsion}").into_bytes();
        let (a, r) = ((torsion / 8) as usize, (torsion % 8) as usize);
        let (key, signature) =
            with_torsion(Scalar::from(4711_u64), Scalar::from(99 + torsion), a, r, &message);
        assert!(
            alone(&key, &message, &signature),
            "torsion {a} in the key, {r} in R"
        );
        match UnparsedPublicKey::new(&ED25519, &key).verify(&message, &signature) {
            Ok(()) => agree += 1,
            Err(_) => differ += 1,
        }
    }
    assert!(agree >= 1 && differ > 40, "{agree} agree, {differ} differ");
}

#[test]
fn every_encoding_of_a_small_order_point_is_refused_as_key_and_as_r() {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[1; 32]).unwrap();
    let key = Key::parse(pair.public_key().as_ref()).unwrap();
    let good = pair.sign(b"m").as_ref().to_vec();
    assert!(key.claim(&[b"m"], &good).is_some());
    for point in EIGHT_TORSION {
        for sign in [0, 0x80] {
            // With the sign bit flipped this is the opposite point, or the forbidden encoding of x = 0.
            let mut encoded = point.compress().to_bytes();
            encoded[31] ^= sign;
            assert!(Key::parse(&encoded).is_err(), "{encoded:?}");
            let signature = [encoded.as_slice(), &good[32..]].concat();
            assert!(key.claim(&[b"m"], &signature).is_none(), "{encoded:?}");
        }
    }
}
