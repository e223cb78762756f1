//! What parent and child say to each other over their socket: frames of one byte (what), four (length) and a body.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::cmsg_space;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recv, recvmsg, sendmsg,
};

/// No frame is longer, in either direction.
pub const MAX_FRAME: usize = 32 * 1024 * 1024;
const HEAD: usize = 5;
const CHUNK: usize = 64 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Parent: how to confine yourself, once, before anything else.
    Setup,
    /// Parent: a trust file, which the child keeps.
    Trust,
    /// Parent: work, with the descriptor of its file.
    Request,
    /// Child: confined, and how.
    Ready,
    /// Child: how far the work is.
    Progress,
    /// Child: a part of the result.
    Part,
    /// Child: the last part of the result.
    Done,
    /// Child: why there is no result, in words.
    Refused,
    /// Child: it panicked, and ends.
    Panicked,
}

impl Kind {
    const ALL: [(Kind, u8); 9] = [
        (Kind::Setup, b's'),
        (Kind::Trust, b't'),
        (Kind::Request, b'r'),
        (Kind::Ready, b'R'),
        (Kind::Progress, b'P'),
        (Kind::Part, b'C'),
        (Kind::Done, b'D'),
        (Kind::Refused, b'E'),
        (Kind::Panicked, b'X'),
    ];

    fn byte(self) -> u8 {
        let found = Self::ALL.iter().find(|(kind, _)| *kind == self);
        found.map_or(0, |(_, byte)| *byte)
    }

    fn of(byte: u8) -> io::Result<Self> {
        let found = Self::ALL.iter().find(|(_, known)| *known == byte);
        found
            .map(|(kind, _)| *kind)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a frame of an unknown kind"))
    }
}

#[derive(Debug)]
pub struct Frame {
    pub kind: Kind,
    pub body: Vec<u8>,
}

/// Send one frame, and a descriptor with its first byte.
pub fn send(socket: impl AsFd, kind: Kind, body: &[u8], file: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let too_long = || io::Error::new(io::ErrorKind::InvalidInput, "the frame is too long");
    let length = u32::try_from(body.len()).map_err(|_| too_long())?;
    if body.len() > MAX_FRAME {
        return Err(too_long());
    }
    let [a, b, c, d] = length.to_le_bytes();
    let head = [kind.byte(), a, b, c, d];
    let files = file.as_slice();
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
    let mut sent = 0_usize;
    let total = HEAD.saturating_add(body.len());
    while sent < total {
        let mut control = SendAncillaryBuffer::new(&mut space);
        if sent == 0 && !files.is_empty() && !control.push(SendAncillaryMessage::ScmRights(files)) {
            return Err(io::Error::other("no room for the descriptor"));
        }
        let parts = [
            IoSlice::new(head.get(sent..).unwrap_or_default()),
            IoSlice::new(body.get(sent.saturating_sub(HEAD)..).unwrap_or_default()),
        ];
        // Without NOSIGNAL, writing to a peer that is gone would kill this process.
        match sendmsg(&socket, &parts, &mut control, SendFlags::NOSIGNAL) {
            Ok(n) => sent = sent.saturating_add(n),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// The child's side: wait for one frame and the descriptor that may come with it; `None` where the parent is gone.
pub fn receive(socket: impl AsFd) -> io::Result<Option<(Frame, Option<OwnedFd>)>> {
    let mut head = [0; HEAD];
    let mut file = None;
    let mut got = 0_usize;
    while let Some(rest) = head.get_mut(got..)
        && !rest.is_empty()
    {
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC;
        match recvmsg(&socket, &mut [IoSliceMut::new(rest)], &mut control, flags) {
            Ok(message) if message.bytes == 0 => return Ok(None),
            Ok(message) => got = got.saturating_add(message.bytes),
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::CONNRESET) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(mut files) = message {
                file = files.next();
            }
        }
    }
    let (kind, length) = parse_head(&head)?;
    let mut body = vec![0; length];
    let mut got = 0_usize;
    while let Some(rest) = body.get_mut(got..)
        && !rest.is_empty()
    {
        match recv(&socket, rest, RecvFlags::empty()) {
            Ok((0, _)) => return Ok(None),
            Ok((n, _)) => got = got.saturating_add(n),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Some((Frame { kind, body }, file)))
}

fn parse_head(head: &[u8; HEAD]) -> io::Result<(Kind, usize)> {
    let [kind, a, b, c, d] = *head;
    let kind = Kind::of(kind)?;
    match usize::try_from(u32::from_le_bytes([a, b, c, d])) {
        Ok(length) if length <= MAX_FRAME => Ok((kind, length)),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a frame that is too long",
        )),
    }
}

/// What the parent's side found.
pub enum Step {
    Frame(Frame),
    /// Nothing whole yet; look at the clock.
    Quiet,
    Closed,
}

/// The parent's side: never waits longer than the socket's time-out, and believes no length that it was told.
#[derive(Default)]
pub struct Inbox {
    buffer: Vec<u8>,
    /// All bytes that came for this request.
    pub received: u64,
}

impl Inbox {
    pub fn next(&mut self, socket: impl AsFd) -> io::Result<Step> {
        if let Some(frame) = self.take()? {
            return Ok(Step::Frame(frame));
        }
        let mut chunk = vec![0; CHUNK];
        // A descriptor that a child would send along is closed by the kernel: recv does not take any.
        let got = match recv(socket, &mut chunk[..], RecvFlags::empty()) {
            Ok((0, _)) | Err(rustix::io::Errno::CONNRESET) => return Ok(Step::Closed),
            Ok((n, _)) => n,
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => return Ok(Step::Quiet),
            Err(error) => return Err(error.into()),
        };
        self.buffer
            .extend_from_slice(chunk.get(..got).unwrap_or_default());
        self.received = self
            .received
            .saturating_add(u64::try_from(got).unwrap_or(u64::MAX));
        Ok(self.take()?.map_or(Step::Quiet, Step::Frame))
    }

    fn take(&mut self) -> io::Result<Option<Frame>> {
        let Some((head, _)) = self.buffer.split_first_chunk::<HEAD>() else {
            return Ok(None);
        };
        let (kind, length) = parse_head(head)?;
        let end = HEAD.saturating_add(length);
        if self.buffer.len() < end {
            return Ok(None);
        }
        let body = self.buffer.get(HEAD..end).unwrap_or_default().to_vec();
        self.buffer.drain(..end);
        Ok(Some(Frame { kind, body }))
    }
}
