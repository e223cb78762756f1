//! Ed25519 by one rule, alone or in batches: RFC 8032 §5.1.7 with the cofactor, canonical encodings of the key, R
//! and S, and neither key nor R of small order. A single check and every split into batches give one verdict.

#![expect(
    clippy::arithmetic_side_effects,
    reason = "group and field operations cannot overflow"
)]

use std::sync::LazyLock;

use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT, EIGHT_TORSION};
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::VartimeMultiscalarMul;
use sha2::Digest;

use crate::digest::Sha512;

/// Named in the documentation and in every report that relied on it.
pub const RULE: &str = "RFC 8032 §5.1.7 with cofactor, canonical encodings, no small-order points";

/// A public key that obeys the rule.
#[derive(Clone)]
pub struct Key {
    bytes: [u8; 32],
    minus: EdwardsPoint,
}

/// The y of the eight points of small order: 1, -1, 0, and the two of the points of order 8.
static SMALL_ORDER: LazyLock<[[u8; 32]; 8]> =
    LazyLock::new(|| EIGHT_TORSION.map(|point| without_sign(point.compress().to_bytes())));

/// A canonical encoding of a point that is not of small order.
fn point(bytes: &[u8; 32]) -> Option<EdwardsPoint> {
    // Every point of such a y is of small order; x = 0 with a sign bit, which is not canonical, has one of them.
    if !below_prime(bytes) || SMALL_ORDER.contains(&without_sign(*bytes)) {
        return None;
    }
    CompressedEdwardsY(*bytes).decompress()
}

/// The encoded y alone: the top bit is the sign of x.
fn without_sign(mut bytes: [u8; 32]) -> [u8; 32] {
    if let Some(last) = bytes.last_mut() {
        *last &= 0x7f;
    }
    bytes
}

/// Whether the little-endian number without its top bit is below 2^255 - 19.
fn below_prime(bytes: &[u8; 32]) -> bool {
    let [first, middle @ .., last] = bytes;
    !(*first >= 0xed && middle.iter().all(|b| *b == 0xff) && last & 0x7f == 0x7f)
}

impl Key {
    pub fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        let bytes: [u8; 32] = bytes.try_into().map_err(|_| "an Ed25519 key has 32 bytes")?;
        let point = point(&bytes)
            .ok_or("the Ed25519 key is not a canonical encoding of a point of sufficient order")?;
        Ok(Key { bytes, minus: -point })
    }

    /// Begin to hash the message for one signature; feed the message, then call [`Key::finish`].
    pub fn begin(&self, signature: &[u8]) -> Option<Pending> {
        let signature: &[u8; 64] = signature.try_into().ok()?;
        let (r, s) = signature.split_first_chunk::<32>()?;
        let s = Option::from(Scalar::from_canonical_bytes(s.try_into().ok()?))?;
        Some(Pending {
            r: point(r)?,
            encoded_r: *r,
            s,
            hash: Sha512::new_with_prefix(r).chain_update(self.bytes),
        })
    }

    /// What is left to check once the message was hashed by `hash`, which began as [`Pending::hash`].
    pub fn finish(pending: &Pending, hash: Sha512) -> Claim {
        Claim {
            r: pending.r,
            encoded_r: pending.encoded_r,
            s: pending.s,
            k: Scalar::from_bytes_mod_order_wide(&hash.finalize().into()),
        }
    }

    /// The message's parts, one after the other, under one signature; `None` where the rule refuses the encoding.
    pub fn claim(&self, message: &[&[u8]], signature: &[u8]) -> Option<Claim> {
        let pending = self.begin(signature)?;
        let mut hash = pending.hash.clone();
        for part in message {
            hash.update(part);
        }
        Some(Self::finish(&pending, hash))
    }

    /// One signature alone: its error is of small order.
    pub fn holds(&self, claim: &Claim) -> bool {
        (self.combined(&claim.k, &claim.s) - claim.r).is_small_order()
    }

    /// \[S\]B - \[k\]A.
    fn combined(&self, k: &Scalar, s: &Scalar) -> EdwardsPoint {
        EdwardsPoint::vartime_double_scalar_mul_basepoint(k, &self.minus, s)
    }
}

/// A signature that is well formed, waiting for its message.
pub struct Pending {
    r: EdwardsPoint,
    encoded_r: [u8; 32],
    s: Scalar,
    pub hash: Sha512,
}

/// The equation that is left of a signature over a message. Its error, \[S\]B - R - \[k\]A, is of small order (the
/// cofactor clears it) exactly where the signature is valid.
pub struct Claim {
    r: EdwardsPoint,
    encoded_r: [u8; 32],
    s: Scalar,
    k: Scalar,
}

/// Up to this many, single checks are as fast.
const FEW: usize = 8;
/// How many are looked at together first when culprits are sought.
const SLICE: usize = 512;

/// A claim, its key, and where the caller has it.
struct Item<'a> {
    place: usize,
    owner: usize,
    key: &'a Key,
    claim: &'a Claim,
}

/// Check many at once: which of them hold. Each is a key's place in `keys` and its claim.
///
/// One equation over all of them, each with a weight that nobody could choose, proves them together. Where it
/// fails, the culprits are found by halving, and the same equation without them must hold for the others.
pub fn verify_batch(keys: &[&Key], claims: &[(usize, Claim)]) -> Vec<bool> {
    verify_batch_unless(keys, claims, &|| false)
}

/// The same; once `stopped` says that nobody wants to know any more, nothing is said to hold.
pub fn verify_batch_unless(
    keys: &[&Key],
    claims: &[(usize, Claim)],
    stopped: &dyn Fn() -> bool,
) -> Vec<bool> {
    let items = claims.iter().enumerate().filter_map(|(place, (owner, claim))| {
        keys.get(*owner).map(|key| Item {
            place,
            owner: *owner,
            key,
            claim,
        })
    });
    let mut items: Vec<_> = items.collect();
    // The claims of one key beside each other, because their multiples of it make one.
    items.sort_by_key(|item| item.owner);
    let mut culprits = Vec::new();
    if items.len() <= FEW || !all_but_culprits_hold(&items, &mut culprits, stopped) {
        culprits = items
            .iter()
            .filter(|item| stopped() || !item.key.holds(item.claim))
            .map(|item| item.place)
            .collect();
    }
    let mut out = vec![false; claims.len()];
    if stopped() {
        return out;
    }
    for item in &items {
        if let Some(slot) = out.get_mut(item.place) {
            *slot = true;
        }
    }
    for place in culprits {
        if let Some(slot) = out.get_mut(place) {
            *slot = false;
        }
    }
    out
}

/// Whether all hold, but for the culprits that were found. It can only be wrong about innocents: where errors were
/// made to cancel each other out, their makers are not found and this is false.
fn all_but_culprits_hold(items: &[Item<'_>], culprits: &mut Vec<usize>, stopped: &dyn Fn() -> bool) -> bool {
    let weights = weights(items);
    let mut minus_error = minus_weighted_error(items, &weights);
    if minus_error.is_small_order() {
        return true;
    }
    let mut found = Vec::new();
    for (nth, slice) in items.chunks(SLICE).enumerate() {
        if stopped() {
            return true;
        }
        find_culprits(nth.saturating_mul(SLICE), slice, &error(slice), &mut found);
    }
    let weighted = found
        .iter()
        .filter_map(|(nth, error)| Some((*weights.get(*nth)?, *error)));
    let (scalars, errors): (Vec<Scalar>, Vec<EdwardsPoint>) = weighted.unzip();
    minus_error += EdwardsPoint::vartime_multiscalar_mul(scalars, errors);
    culprits.extend(
        found
            .iter()
            .filter_map(|(nth, _)| items.get(*nth))
            .map(|item| item.place),
    );
    minus_error.is_small_order()
}

/// A weight of 128 bits for each, drawn from all that is being checked: the verdict is a function of the input
/// alone, and whoever changes any part of it changes every weight.
fn weights(items: &[Item<'_>]) -> Vec<Scalar> {
    let mut transcript = Vec::with_capacity(items.len().saturating_mul(128));
    for Item { key, claim, .. } in items {
        for part in [
            &key.bytes,
            &claim.encoded_r,
            claim.s.as_bytes(),
            claim.k.as_bytes(),
        ] {
            transcript.extend_from_slice(part);
        }
    }
    let mut weights = vec![0; items.len().saturating_mul(16)];
    blake3::Hasher::new_derive_key("lotgate 2026 ed25519 batch weights")
        .update(&transcript)
        .finalize_xof()
        .fill(&mut weights);
    let (weights, _) = weights.as_chunks();
    weights
        .iter()
        .map(|bytes| Scalar::from(u128::from_le_bytes(*bytes)))
        .collect()
}

/// Σ \[z\]R + Σ \[zk\]A - \[Σ zS\]B
fn minus_weighted_error(items: &[Item<'_>], weights: &[Scalar]) -> EdwardsPoint {
    let mut scalars = Vec::with_capacity(items.len().saturating_mul(2));
    let mut points = Vec::with_capacity(scalars.capacity());
    let mut base = Scalar::ZERO;
    let mut rest = weights.iter();
    for group in items.chunk_by(|a, b| a.owner == b.owner) {
        let mut of_key = Scalar::ZERO;
        for (item, z) in group.iter().zip(&mut rest) {
            base += z * item.claim.s;
            of_key += z * item.claim.k;
            scalars.push(*z);
            points.push(item.claim.r);
        }
        if let Some(item) = group.first() {
            scalars.push(-of_key);
            points.push(item.key.minus);
        }
    }
    scalars.push(-base);
    points.push(ED25519_BASEPOINT_POINT);
    EdwardsPoint::vartime_multiscalar_mul(scalars, points)
}

/// The sum of all errors, without weights.
fn error(items: &[Item<'_>]) -> EdwardsPoint {
    let sum =
        |group: &[Item<'_>], part: fn(&Claim) -> &Scalar| group.iter().map(|item| part(item.claim)).sum();
    let s: Scalar = sum(items, |claim| &claim.s);
    let k = |group: &[Item<'_>]| -> Scalar { sum(group, |claim| &claim.k) };
    let groups: Vec<_> = items.chunk_by(|a, b| a.owner == b.owner).collect();
    let combined = if let [group @ [item, ..]] = groups.as_slice() {
        item.key.combined(&k(group), &s)
    } else {
        let keys = groups
            .iter()
            .filter_map(|group| Some((k(group), group.first()?.key.minus)));
        let (scalars, points): (Vec<_>, Vec<_>) = keys.chain([(s, ED25519_BASEPOINT_POINT)]).unzip();
        EdwardsPoint::vartime_multiscalar_mul(scalars, points)
    };
    combined - items.iter().map(|item| item.claim.r).sum::<EdwardsPoint>()
}

/// Halve what has an error until each culprit is alone with its own; `first` is the place of the first item.
fn find_culprits(
    first: usize,
    items: &[Item<'_>],
    sum: &EdwardsPoint,
    found: &mut Vec<(usize, EdwardsPoint)>,
) {
    if sum.is_small_order() {
        return;
    }
    if items.len() <= 1 {
        found.push((first, *sum));
        return;
    }
    let middle = items.len() / 2;
    let (left, right) = items.split_at(middle);
    let of_left = error(left);
    find_culprits(first, left, &of_left, found);
    find_culprits(first.saturating_add(middle), right, &(sum - of_left), found);
}
