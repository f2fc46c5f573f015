//! zstd: frames one after the other, those that are skipped among them.

use std::io::{self, Cursor, Read};

use zstd::stream::read::Decoder;

use super::lz4::Lz4Frames;
use super::{Stored, is_skipped, next_magic, skip_frame};

/// Windows of 2 GiB, the most that the library has.
const WINDOW_LOG: u32 = 31;

/// Frames of zstd; or of lz4, where that shows only behind frames that are skipped, which both have.
pub(super) enum ZstdFrames {
    /// Not begun.
    Stored(Stored),
    Frames(Box<dyn Read + Send>),
    End,
}

impl ZstdFrames {
    pub(super) fn new(input: Stored) -> Self {
        Self::Stored(input)
    }

    fn begin(mut input: Stored) -> io::Result<Self> {
        loop {
            let magic = next_magic(&mut input)?;
            if is_skipped(&magic) {
                skip_frame(&mut input)?;
                continue;
            }
            if magic.is_empty() {
                return Ok(Self::End);
            }
            let is_lz4 = super::Codec::Lz4.can_begin(&magic);
            let rest = Cursor::new(magic).chain(input);
            return Ok(Self::Frames(if is_lz4 {
                Box::new(Lz4Frames::new(Stored::new(Box::new(rest))))
            } else {
                let mut decoder = Decoder::with_buffer(rest)?;
                decoder.window_log_max(WINDOW_LOG)?;
                Box::new(decoder)
            }));
        }
    }
}

impl Read for ZstdFrames {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            match self {
                Self::Frames(frames) => return frames.read(buf),
                Self::End => return Ok(0),
                Self::Stored(_) => {}
            }
            if let Self::Stored(input) = std::mem::replace(self, Self::End) {
                *self = Self::begin(input)?;
            }
        }
    }
}
