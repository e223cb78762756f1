//! Ed25519 by one rule, alone or in batches: RFC 8032 §5.1.7 with the cofactor, canonical encodings of the key, R
//! and S, and neither key nor R of small order. A single check and every split into batches give one verdict.

#![expect(
    clippy::arithmetic_side_effects,
    reason = "group and field operations cannot overflow"
)]

use curve25519_dalek::constants::ED25519_BASEPOINT_POINT;
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::{IsIdentity, VartimeMultiscalarMul};
use sha2::{Digest, Sha512};

/// Named in the documentation and in every report that relied on it.
pub const RULE: &str = "RFC 8032 §5.1.7 with cofactor, canonical encodings, no small-order points";

/// A public key that obeys the rule.
#[derive(Clone)]
pub struct Key {
    bytes: [u8; 32],
    minus: EdwardsPoint,
}

/// A canonical encoding of a point that is not of small order.
fn point(bytes: &[u8; 32]) -> Option<EdwardsPoint> {
    let compressed = CompressedEdwardsY(*bytes);
    let point = compressed.decompress()?;
    // y below the field's prime; x = 0 with a sign bit is of small order anyway.
    (!point.is_small_order() && below_prime(bytes)).then_some(point)
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
        let point = point(r)?;
        Some(Pending {
            r: point,
            s,
            hash: Sha512::new_with_prefix(r).chain_update(self.bytes),
        })
    }

    /// What is left to check once the message was hashed by `hash`, which began as [`Pending::hash`].
    pub fn finish(pending: &Pending, hash: Sha512) -> Claim {
        Claim {
            r: pending.r,
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

    /// One signature alone: \[8\](\[S\]B - R - \[k\]A) is the identity.
    pub fn holds(&self, claim: &Claim) -> bool {
        let sum = EdwardsPoint::vartime_double_scalar_mul_basepoint(&claim.k, &self.minus, &claim.s);
        (sum - claim.r).mul_by_cofactor().is_identity()
    }
}

/// A signature that is well formed, waiting for its message.
pub struct Pending {
    r: EdwardsPoint,
    s: Scalar,
    pub hash: Sha512,
}

/// The equation that is left of a signature over a message.
pub struct Claim {
    r: EdwardsPoint,
    s: Scalar,
    k: Scalar,
}

/// Below this, single checks are as fast.
const SMALL: usize = 16;

/// Check many at once: which of them hold. Each item is a key's place in `keys` and its claim.
pub fn verify_batch(keys: &[&Key], items: &[(usize, Claim)]) -> Vec<bool> {
    let single = |(key, claim): &(usize, Claim)| keys.get(*key).is_some_and(|key| key.holds(claim));
    if items.len() > SMALL && all_hold(keys, items) {
        return vec![true; items.len()];
    }
    // Someone is wrong: look for them in small groups, so that a few culprits cost little.
    let mut out = Vec::with_capacity(items.len());
    for group in items.chunks(SMALL) {
        if items.len() > SMALL && all_hold(keys, group) {
            out.resize(out.len().saturating_add(group.len()), true);
        } else {
            out.extend(group.iter().map(single));
        }
    }
    out
}

/// \[8\](\[Σ zS\]B - Σ \[z\]R - Σ \[zk\]A) is the identity, for weights z that nobody could choose.
///
/// The weights are drawn from all that is being checked, so that the verdict is a function of the input alone.
fn all_hold(keys: &[&Key], items: &[(usize, Claim)]) -> bool {
    let mut transcript = blake3::Hasher::new_derive_key("lotgate 2026 ed25519 batch weights");
    for (key, claim) in items {
        let Some(owner) = keys.get(*key) else { return false };
        transcript.update(&owner.bytes);
        transcript.update(claim.s.as_bytes());
        transcript.update(claim.k.as_bytes());
        transcript.update(claim.r.compress().as_bytes());
    }
    let mut weights = transcript.finalize_xof();
    let mut base = Scalar::ZERO;
    let mut of_key = vec![Scalar::ZERO; keys.len()];
    let mut scalars = Vec::with_capacity(items.len().saturating_add(keys.len()));
    let mut points = Vec::with_capacity(scalars.capacity());
    for (key, claim) in items {
        let mut weight = [0; 32];
        if let Some(half) = weight.first_chunk_mut::<16>() {
            weights.fill(half);
        }
        let z = Scalar::from_bytes_mod_order(weight);
        base += z * claim.s;
        if let Some(sum) = of_key.get_mut(*key) {
            *sum += z * claim.k;
        }
        scalars.push(-z);
        points.push(claim.r);
    }
    for (key, sum) in keys.iter().zip(of_key) {
        if sum != Scalar::ZERO {
            scalars.push(sum);
            points.push(key.minus);
        }
    }
    scalars.push(base);
    points.push(ED25519_BASEPOINT_POINT);
    EdwardsPoint::vartime_multiscalar_mul(scalars, points)
        .mul_by_cofactor()
        .is_identity()
}
