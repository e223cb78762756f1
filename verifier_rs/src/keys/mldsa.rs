//! ML-DSA (FIPS 204) over a message that is streamed: the representative µ of §6.2 is made while the file is read.

use ml_dsa::{EncodedVerifyingKey, MlDsa44, MlDsa65, MlDsa87, MlDsaParams, Signature, VerifyingKey};
use shake::{ExtendableOutput, Shake256, Update, XofReader};

/// A public key of one of the three parameter sets.
#[derive(Clone)]
pub enum Key {
    MlDsa44(Box<VerifyingKey<MlDsa44>>),
    MlDsa65(Box<VerifyingKey<MlDsa65>>),
    MlDsa87(Box<VerifyingKey<MlDsa87>>),
}

fn decode<P: MlDsaParams>(bytes: &[u8]) -> Option<Box<VerifyingKey<P>>> {
    let encoded = EncodedVerifyingKey::<P>::try_from(bytes).ok()?;
    Some(Box::new(VerifyingKey::decode(&encoded)))
}

fn holds<P: MlDsaParams>(key: &VerifyingKey<P>, mu: [u8; 64], signature: &[u8]) -> bool {
    Signature::<P>::try_from(signature).is_ok_and(|signature| key.verify_mu(&mu.into(), &signature))
}

impl Key {
    /// Read the raw key; which parameter set it is follows from its length alone (1,312, 1,952 or 2,592 bytes).
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        match bytes.len() {
            1312 => decode(bytes).map(Key::MlDsa44),
            1952 => decode(bytes).map(Key::MlDsa65),
            2592 => decode(bytes).map(Key::MlDsa87),
            _ => None,
        }
    }

    /// How long a signature by this key is.
    pub fn signature_length(&self) -> usize {
        match self {
            Key::MlDsa44(_) => 2420,
            Key::MlDsa65(_) => 3309,
            Key::MlDsa87(_) => 4627,
        }
    }

    /// The state that the message is fed to: FIPS 204 Algorithm 3 with an empty context, Algorithm 7 line 6.
    pub fn begin(raw: &[u8]) -> Shake256 {
        let mut tr = [0; 64];
        let mut of_key = Shake256::default();
        of_key.update(raw);
        of_key.finalize_xof().read(&mut tr);
        let mut state = Shake256::default();
        state.update(&tr);
        state.update(&[0, 0]);
        state
    }

    /// Whether the signature is over the message that `state` was fed.
    pub fn holds(&self, state: &Shake256, signature: &[u8]) -> bool {
        let mut mu = [0; 64];
        state.clone().finalize_xof().read(&mut mu);
        match self {
            Key::MlDsa44(key) => holds(key, mu, signature),
            Key::MlDsa65(key) => holds(key, mu, signature),
            Key::MlDsa87(key) => holds(key, mu, signature),
        }
    }
}
