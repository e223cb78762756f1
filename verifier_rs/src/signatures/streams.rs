//! Signatures over the message itself: what each key that could have made one needs of the file while it is read.

use crate::keys::hss::OneTimeKey;
use crate::keys::method::Pending;
use crate::pass::{Pass, Ticket};
use crate::source::Sink;
use crate::trust::TrustKey;

#[derive(Default)]
pub struct Streams {
    /// For each key that signs the message itself: its place, and the check that waits.
    pending: Vec<(usize, Pending)>,
    tickets: Vec<Ticket>,
}

impl Streams {
    /// Of those among `keys` that sign the message itself.
    pub fn begin<'a>(keys: impl Iterator<Item = (usize, &'a TrustKey)>, signature: &[u8]) -> Self {
        Streams {
            pending: keys
                .filter_map(|(place, key)| Some((place, key.method.begin(&key.key, signature)?)))
                .collect(),
            tickets: Vec::new(),
        }
    }

    pub fn plan(&mut self, pass: &mut Pass, size: u64) {
        let pending = self.pending.iter();
        self.tickets = pending
            .map(|(_, pending)| pass.feed(0, size, pending.sink()))
            .collect();
    }

    fn of<'a>(&'a self, pass: &'a Pass, place: usize) -> impl Iterator<Item = (&'a Pending, &'a Sink)> {
        let all = self.pending.iter().zip(&self.tickets);
        all.filter(move |((of, _), _)| *of == place)
            .filter_map(|((_, pending), ticket)| Some((pending, pass.state(*ticket)?)))
    }

    /// Whether the signature over the file holds with the key at this place.
    pub fn hold(&self, pass: &Pass, place: usize, key: &TrustKey) -> bool {
        self.of(pass, place)
            .any(|(pending, state)| pending.holds(&key.key, state))
    }

    /// The one-time keys that the signature has used up, once it holds.
    pub fn one_time_keys(&self, pass: &Pass, place: usize) -> Vec<OneTimeKey> {
        self.of(pass, place)
            .flat_map(|(pending, state)| pending.one_time_keys(state))
            .collect()
    }
}
