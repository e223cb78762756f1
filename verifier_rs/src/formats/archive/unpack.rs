//! Compressed members, unpacked as they are read, with bounds on memory, size and ratio.

use std::io::{BufRead, BufReader, Read};

use flate2::bufread::GzDecoder;
use lzma_rust2::XzReader;
use ruzstd::decoding::StreamingDecoder;

use crate::formats::archive::{Fault, Input, Window};

/// Of a decompressor: `xz -9` has a dictionary of 64 MiB.
const MAX_MEMORY: u32 = 96 * 1024 * 1024;
/// What comes out of one member.
const MAX_SIZE: u64 = 64 * 1024 * 1024 * 1024;
/// More than images of file systems reach; the most that gzip can do is 1,032.
const MAX_RATIO: u64 = 200;
/// Whatever the ratio.
const SMALL: u64 = 16 * 1024 * 1024;
const BUFFER: usize = 256 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    None,
    Gzip,
    Xz,
    Zstd,
}

impl Compression {
    /// By what follows the stem of a member's name, such as ".tar" and ".tar.gz".
    pub fn of(extension: &str) -> Option<Self> {
        match extension {
            "" => Some(Compression::None),
            ".gz" => Some(Compression::Gzip),
            ".xz" => Some(Compression::Xz),
            ".zst" => Some(Compression::Zstd),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Compression::None => "none",
            Compression::Gzip => "gzip",
            Compression::Xz => "xz",
            Compression::Zstd => "zstd",
        }
    }
}

enum Inner<'a> {
    Plain(BufReader<Window<'a>>),
    Gzip(Box<GzDecoder<BufReader<Window<'a>>>>),
    Xz(Box<XzReader<BufReader<Window<'a>>>>),
    Zstd(Box<StreamingDecoder<BufReader<Window<'a>>, ruzstd::decoding::FrameDecoder>>),
}

/// The unpacked bytes of a range of a file.
pub struct Unpacked<'a> {
    inner: Inner<'a>,
    /// How much may still come out.
    left: u64,
}

impl<'a> Unpacked<'a> {
    pub fn new(window: Window<'a>, compression: Compression) -> Result<Self, Fault> {
        let left = match compression {
            Compression::None => MAX_SIZE,
            _ => window.size().saturating_mul(MAX_RATIO).clamp(SMALL, MAX_SIZE),
        };
        let input = BufReader::with_capacity(BUFFER, window);
        let inner = match compression {
            Compression::None => Inner::Plain(input),
            Compression::Gzip => Inner::Gzip(Box::new(GzDecoder::new(input))),
            Compression::Xz => Inner::Xz(Box::new(XzReader::new_mem_limit(input, false, MAX_MEMORY / 1024))),
            Compression::Zstd => {
                let decoder = StreamingDecoder::new_with_max_window_size(input, MAX_MEMORY.into());
                Inner::Zstd(Box::new(decoder.map_err(|error| Fault::Bad(error.to_string()))?))
            }
        };
        Ok(Unpacked { inner, left })
    }

    /// Behind the compressed stream there must be nothing, as behind the archive in it.
    pub fn finish(mut self) -> Result<(), Fault> {
        let mut one = [0];
        if self.read(&mut one)? != 0 {
            return Err(Fault::Bad("data follows the end of the archive".to_owned()));
        }
        let mut input = match self.inner {
            Inner::Plain(input) => input,
            Inner::Gzip(decoder) => decoder.into_inner(),
            Inner::Xz(decoder) => decoder.into_inner(),
            Inner::Zstd(decoder) => decoder.into_inner(),
        };
        if input.fill_buf()?.is_empty() {
            Ok(())
        } else {
            Err(Fault::Bad(
                "data follows the end of the compressed stream; only one stream is read".to_owned(),
            ))
        }
    }
}

impl Read for Unpacked<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let got = match &mut self.inner {
            Inner::Plain(input) => input.read(buffer),
            Inner::Gzip(decoder) => decoder.read(buffer),
            Inner::Xz(decoder) => decoder.read(buffer),
            Inner::Zstd(decoder) => decoder.read(buffer),
        }?;
        let out = u64::try_from(got).unwrap_or(u64::MAX);
        self.left = self.left.checked_sub(out).ok_or_else(|| {
            std::io::Error::other(format!(
                "it unpacks to more than {MAX_RATIO} times its size (or to more than {MAX_SIZE} bytes)"
            ))
        })?;
        Ok(got)
    }
}

impl Input for Unpacked<'_> {
    fn pass_over(&mut self, count: u64) -> Result<(), Fault> {
        std::io::copy(&mut self.take(count), &mut std::io::sink())?;
        Ok(())
    }
}
