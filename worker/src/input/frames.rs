//! Where a compressed object can be cut: at frames that are decoded by themselves.
//!
//! ```text
//!  bgzf: gzip members of at most 64 KiB, which say how long they are
//!   1f 8b 08 04 │ 6 bytes │ n (2) │ n bytes, in them 'B' 'C' 02 00 size-1 (2) │ deflate │ 8 bytes
//!
//!  zstd: frames of blocks, and frames that are skipped
//!   28 b5 2f fd │ descriptor, window, dictionary, content's size (1–14) │ blocks │ checksum (0 or 4)
//!                 block: 3 bytes: last (1 bit), kind (2), size (21) │ data
//!   50–5f 2a 4d 18 │ n (4) │ n bytes
//! ```
//!
//! What looks like the beginning of a frame may be data: an archive in an archive is stored as it is. So a
//! frame is followed by another, and that by another, for longer than data can be at a stretch without a
//! header of its own in between: a chain that is none breaks there. Should a false one be taken all the same,
//! that is an error and never a wrong result: the split before ends in the middle of a frame.

use crate::error::Result;
use crate::record::split::Codec;
use crate::storage::{ListedObject, Location};

/// The largest frame of zstd, compressed, that is looked for.
pub const LARGEST_ZSTD_FRAME: u64 = 4 << 20;

/// A kind of frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameFormat {
    /// Blocks of bgzf.
    Bgzf,
    /// Frames of zstd.
    Zstd,
}

/// What some bytes are the beginning of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Frame {
    /// A frame of so many bytes.
    Whole(usize),
    /// A frame that ends after them, as far as they tell.
    Longer,
    /// No frame.
    No,
}

impl FrameFormat {
    /// The frames that a codec may have.
    pub fn of(codec: Codec) -> Option<Self> {
        match codec {
            Codec::Gzip => Some(Self::Bgzf),
            Codec::Zstd => Some(Self::Zstd),
            Codec::None | Codec::Bzip2 | Codec::Lz4 => None,
        }
    }

    /// For how many bytes frames have to follow each other: more than data is stored at a stretch.
    fn proof(self) -> usize {
        match self {
            Self::Bgzf => (64 << 10) + 64,
            Self::Zstd => (128 << 10) + 64,
        }
    }

    /// Bytes that are read to find a frame: the first, and if there is none in them, the second.
    fn windows(self) -> &'static [u64] {
        match self {
            Self::Bgzf => &[256 << 10],
            Self::Zstd => &[1 << 20, 2 * LARGEST_ZSTD_FRAME],
        }
    }

    fn at(self, bytes: &[u8]) -> Frame {
        match self {
            Self::Bgzf => bgzf(bytes),
            Self::Zstd => zstd(bytes),
        }
    }

    /// Whether frames follow each other from the first byte on.
    pub fn begin(self, bytes: &[u8]) -> bool {
        let mut at = 0;
        while at < self.proof() {
            match self.at(&bytes[at..]) {
                Frame::Whole(length) => at += length,
                Frame::Longer | Frame::No => return false,
            }
        }
        bytes.len() >= at + 4 && self.at(&bytes[at..]) != Frame::No
    }

    /// Where the first frame begins.
    pub fn find(self, bytes: &[u8]) -> Option<usize> {
        (0..bytes.len()).find(|&at| self.begin(&bytes[at..]))
    }

    /// Where the first frame of an object begins from a byte on. Near the object's end none is found.
    pub fn find_in(self, place: &Location, entry: &ListedObject, from: u64) -> Result<Option<u64>> {
        self.look(place, entry, from, |bytes| self.find(bytes).map(|at| from + at as u64))
    }

    /// Whether an object is made of frames that are small enough to be found.
    pub fn are_in(self, place: &Location, entry: &ListedObject) -> Result<bool> {
        Ok(self.look(place, entry, 0, |bytes| self.begin(bytes).then_some(()))?.is_some())
    }

    fn look<T>(
        self,
        place: &Location,
        entry: &ListedObject,
        from: u64,
        found: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<Option<T>> {
        for window in self.windows() {
            let to = entry.size.min(from + window);
            let found = found(&place.store.read(&entry.key, from..to)?);
            if found.is_some() || to == entry.size {
                return Ok(found);
            }
        }
        Ok(None)
    }
}

fn bgzf(bytes: &[u8]) -> Frame {
    const MAGIC: [u8; 4] = [0x1f, 0x8b, 8, 4];
    if !bytes.iter().zip(MAGIC).all(|(byte, magic)| *byte == magic) {
        return Frame::No;
    }
    let Some(header) = bytes.first_chunk::<12>() else { return Frame::Longer };
    let extra = 12 + usize::from(u16::from_le_bytes([header[10], header[11]]));
    let Some(mut fields) = bytes.get(12..extra) else { return Frame::Longer };
    while let [a, b, low, high, rest @ ..] = fields {
        let Some((field, rest)) = rest.split_at_checked(u16::from_le_bytes([*low, *high]).into()) else {
            return Frame::No;
        };
        if let ([b'B', b'C'], [low, high]) = ([*a, *b], field) {
            let length = usize::from(u16::from_le_bytes([*low, *high])) + 1;
            return match length {
                // Some deflated data, the checksum and the length.
                _ if length < extra + 2 + 8 => Frame::No,
                _ if length <= bytes.len() => Frame::Whole(length),
                _ => Frame::Longer,
            };
        }
        fields = rest;
    }
    Frame::No
}

fn zstd(bytes: &[u8]) -> Frame {
    const LARGEST_BLOCK: usize = 128 << 10;
    let Some((magic, rest)) = bytes.split_first_chunk::<4>() else { return Frame::Longer };
    match magic {
        [0x50..=0x5f, 0x2a, 0x4d, 0x18] => match rest.first_chunk::<4>() {
            Some(size) => match u32::from_le_bytes(*size) as usize {
                size if 8 + size <= bytes.len() => Frame::Whole(8 + size),
                _ => Frame::Longer,
            },
            None => Frame::Longer,
        },
        [0x28, 0xb5, 0x2f, 0xfd] => {
            let Some(&descriptor) = rest.first() else { return Frame::Longer };
            if descriptor & 0x08 != 0 {
                return Frame::No;
            }
            let is_single_segment = descriptor & 0x20 != 0;
            let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
            let content_size = match descriptor >> 6 {
                0 => usize::from(is_single_segment),
                power => 1 << power,
            };
            let mut at = 5 + usize::from(!is_single_segment) + dictionary + content_size;
            loop {
                let Some(&[a, b, c]) = bytes.get(at..at + 3).and_then(<[u8]>::first_chunk) else {
                    return Frame::Longer;
                };
                let header = u32::from_le_bytes([a, b, c, 0]);
                let size = (header >> 3) as usize;
                let stored = match (header >> 1) & 3 {
                    1 => 1,
                    0 | 2 => size,
                    _ => return Frame::No,
                };
                if size > LARGEST_BLOCK {
                    return Frame::No;
                }
                at += 3 + stored;
                if header & 1 == 1 {
                    break;
                }
            }
            at += if descriptor & 4 != 0 { 4 } else { 0 };
            if at <= bytes.len() { Frame::Whole(at) } else { Frame::Longer }
        }
        _ => Frame::No,
    }
}

/// Bytes of the frame that some bytes begin with, if it is one and whole.
#[cfg(fuzzing)]
pub fn length_of(frames: FrameFormat, bytes: &[u8]) -> Option<usize> {
    match frames.at(bytes) {
        Frame::Whole(length) => Some(length),
        Frame::Longer | Frame::No => None,
    }
}

#[cfg(test)]
mod tests;
