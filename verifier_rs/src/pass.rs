//! One read of a file, into all the digests that anybody wants of it or of a part of it.

use sha2::{Digest, Sha256};

use crate::digest::{Sha384, Sha512};
use crate::error::Result;
use crate::hasher::Tree;
use crate::source::{Progress, Sink, Source};
use crate::trust::Hash;

/// What was asked of a pass; gives it back when the pass is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(usize);

/// A state that is fed from `from` on; digests that begin together and end apart share one.
struct Lane {
    from: u64,
    to: u64,
    kind: Option<Kind>,
    sink: Sink,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sha(Hash),
    Blake3,
}

struct Want {
    lane: usize,
    to: u64,
    done: Option<Sink>,
}

/// The plan of one read, and afterwards its results.
#[derive(Default)]
pub struct Pass {
    lanes: Vec<Lane>,
    wants: Vec<Want>,
}

impl Pass {
    /// The digest of `from..to`. Asked for twice it is made once.
    pub fn digest(&mut self, from: u64, to: u64, hash: Hash) -> Ticket {
        let sink = match hash {
            Hash::Sha256 => Sink::Sha256(Sha256::new()),
            Hash::Sha384 => Sink::Sha384(Sha384::new()),
            Hash::Sha512 => Sink::Sha512(Sha512::new()),
        };
        self.want(from, to, Some(Kind::Sha(hash)), sink)
    }

    /// BLAKE3 of `from..to`.
    pub fn blake3(&mut self, from: u64, to: u64) -> Ticket {
        self.want(from, to, Some(Kind::Blake3), Sink::Blake3(Tree::default()))
    }

    /// Feed `from..to` to a state that already began, such as that of a signature over the message itself.
    pub fn feed(&mut self, from: u64, to: u64, sink: Sink) -> Ticket {
        self.want(from, to, None, sink)
    }

    fn want(&mut self, from: u64, to: u64, kind: Option<Kind>, sink: Sink) -> Ticket {
        let shared = |lane: &Lane| kind.is_some() && lane.kind == kind && lane.from == from;
        let lane = self.lanes.iter().position(shared).unwrap_or_else(|| {
            self.lanes.push(Lane { from, to, kind, sink });
            self.lanes.len().saturating_sub(1)
        });
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.to = lane.to.max(to);
        }
        let known = |want: &Want| kind.is_some() && want.lane == lane && want.to == to;
        Ticket(self.wants.iter().position(known).unwrap_or_else(|| {
            self.wants.push(Want { lane, to, done: None });
            self.wants.len().saturating_sub(1)
        }))
    }

    /// A digest that is known already; what asked for it gets this one.
    pub fn given(&mut self, ticket: Ticket, digest: Vec<u8>) {
        if let Some(want) = self.wants.get_mut(ticket.0) {
            want.done = Some(Sink::Known(digest));
        }
    }

    /// How many different states there are to feed.
    pub fn len(&self) -> usize {
        self.lanes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    /// Read the file once, from the first byte that somebody wants to the last.
    pub fn run(&mut self, source: &Source, progress: &mut Progress<'_>) -> Result<()> {
        let mut cuts: Vec<u64> = self.lanes.iter().map(|lane| lane.from).collect();
        cuts.extend(self.wants.iter().map(|want| want.to));
        cuts.sort_unstable();
        cuts.dedup();
        self.settle(0);
        for pair in cuts.windows(2) {
            let [from, to] = *pair else { continue };
            let mut fed: Vec<&mut Sink> = self
                .lanes
                .iter_mut()
                .filter(|lane| lane.from <= from && to <= lane.to)
                .map(|lane| &mut lane.sink)
                .collect();
            if !fed.is_empty() {
                source.feed(from, to, &mut fed, progress)?;
            }
            self.settle(to);
        }
        Ok(())
    }

    /// Keep the state of everything that ends at `position`.
    fn settle(&mut self, position: u64) {
        for want in &mut self.wants {
            if want.done.is_none()
                && let Some(lane) = self.lanes.get(want.lane)
                && (want.to == position || want.to <= lane.from)
            {
                want.done = Some(lane.sink.clone());
            }
        }
    }

    /// The digest that was asked for; empty before the pass.
    pub fn bytes(&self, ticket: Ticket) -> Vec<u8> {
        self.state(ticket).map(Sink::digest).unwrap_or_default()
    }

    /// The state that was fed; `None` before the pass.
    pub fn state(&self, ticket: Ticket) -> Option<&Sink> {
        self.wants.get(ticket.0)?.done.as_ref()
    }
}
