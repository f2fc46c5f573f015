//! LZ4: frames one after the other, those of its first version and those that are skipped among them.
//!
//! ```text
//!  04 22 4d 18     a frame, which says where it ends
//!  02 21 4c 18     the first version: blocks of 8 MiB, each n (4) │ n bytes, to the object's end or the next frame
//!  50–5f 2a 4d 18  skipped: n (4) │ n bytes
//! ```
//!
//! The library takes the end of its input for the end of a frame, so that a truncated object would read as a shorter
//! one: this looks whether the input has ended before the frame. Where a frame of the first version is cut off between
//! two blocks, nobody can tell.

use std::io::{self, Cursor, Read};

use lz4_flex::frame::FrameDecoder;

use super::{Stored, is_skipped, next_magic, skip_frame, truncated};

const MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];
pub(super) const LEGACY_MAGIC: [u8; 4] = [0x02, 0x21, 0x4c, 0x18];
/// The content of a block of the first version; the last one has less.
const LEGACY_BLOCK: usize = 8 << 20;
/// A larger number is not the size of such a block, but the beginning of the next frame.
const LEGACY_MOST: usize = LEGACY_BLOCK + LEGACY_BLOCK / 255 + 16;

pub(super) struct Lz4Frames {
    state: Lz4State,
}

enum Lz4State {
    /// Between frames; with the first bytes of the next one, where they have been read.
    Between(Stored, Option<Vec<u8>>),
    /// A frame has a decoder of its own: one that goes on with another size of blocks gets that wrong.
    Frame(Box<FrameDecoder<Watched>>),
    Legacy(Box<Legacy>),
    End,
}

impl Lz4Frames {
    pub(super) fn new(input: Stored) -> Self {
        Self { state: Lz4State::Between(input, None) }
    }

    fn begin(mut input: Stored, magic: Option<Vec<u8>>) -> io::Result<Lz4State> {
        let magic = match magic {
            Some(magic) => magic,
            None => next_magic(&mut input)?,
        };
        if magic.is_empty() {
            return Ok(Lz4State::End);
        }
        if is_skipped(&magic) {
            skip_frame(&mut input)?;
            return Ok(Lz4State::Between(input, None));
        }
        if magic == LEGACY_MAGIC {
            return Ok(Lz4State::Legacy(Box::new(Legacy {
                input,
                block: Vec::new(),
                content: Vec::new(),
                at: 0,
                is_last: false,
            })));
        }
        if magic == MAGIC {
            let input = Watched { magic: Cursor::new(MAGIC), input, is_at_end: false };
            return Ok(Lz4State::Frame(Box::new(FrameDecoder::new(input))));
        }
        if magic.len() < MAGIC.len() {
            return Err(truncated());
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, "what follows is not a frame"))
    }
}

impl Read for Lz4Frames {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        loop {
            match &mut self.state {
                Lz4State::End => return Ok(0),
                Lz4State::Frame(frame) => {
                    let got = frame.read(buf)?;
                    if got > 0 {
                        return Ok(got);
                    }
                    if frame.get_ref().is_at_end {
                        return Err(truncated());
                    }
                }
                Lz4State::Legacy(legacy) => {
                    let got = legacy.read(buf)?;
                    if got > 0 {
                        return Ok(got);
                    }
                }
                Lz4State::Between(..) => {}
            }
            self.state = match std::mem::replace(&mut self.state, Lz4State::End) {
                Lz4State::Between(input, magic) => Self::begin(input, magic)?,
                Lz4State::Frame(frame) => Lz4State::Between(frame.into_inner().input, None),
                Lz4State::Legacy(legacy) => Lz4State::Between(legacy.input, Some(legacy.block)),
                Lz4State::End => Lz4State::End,
            };
        }
    }
}

/// A frame's bytes, the magic ones again, and whether they have come to an end.
struct Watched {
    magic: Cursor<[u8; 4]>,
    input: Stored,
    is_at_end: bool,
}

impl Read for Watched {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let got = self.magic.read(buf)?;
        if got > 0 {
            return Ok(got);
        }
        let got = self.input.read(buf)?;
        self.is_at_end |= got == 0 && !buf.is_empty();
        Ok(got)
    }
}

/// A frame of the first version.
struct Legacy {
    input: Stored,
    /// A block as it is stored; after the last one what follows it.
    block: Vec<u8>,
    content: Vec<u8>,
    at: usize,
    is_last: bool,
}

impl Legacy {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.at == self.content.len() && !self.is_last {
            self.next_block()?;
        }
        let got = buf.len().min(self.content.len() - self.at);
        buf[..got].copy_from_slice(&self.content[self.at..self.at + got]);
        self.at += got;
        Ok(got)
    }

    fn next_block(&mut self) -> io::Result<()> {
        let ended = !self.content.is_empty() && self.content.len() < LEGACY_BLOCK;
        let head = next_magic(&mut self.input)?;
        let size = match head[..] {
            [] => None,
            [a, b, c, d] => {
                Some(u32::from_le_bytes([a, b, c, d]) as usize).filter(|size| *size <= LEGACY_MOST)
            }
            _ => return Err(truncated()),
        };
        let Some(size) = size else {
            self.block = head;
            (self.is_last, self.at) = (true, self.content.len());
            return Ok(());
        };
        if ended {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a block that is not full is not the last",
            ));
        }
        self.block.clear();
        if self.input.by_ref().take(size as u64).read_to_end(&mut self.block)? < size {
            return Err(truncated());
        }
        self.content.resize(LEGACY_BLOCK, 0);
        let bytes = lz4_flex::block::decompress_into(&self.block, &mut self.content)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        self.content.truncate(bytes);
        self.at = 0;
        Ok(())
    }
}
