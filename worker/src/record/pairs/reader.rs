//! Reads the pairs of a split, a block at a time.

use std::io::Read;

use super::PairsPlace;
use crate::error::Result;
use crate::memory::{LARGE_RECORD, LargeRecord, large_record};
use crate::record::block::{BlockHeader, HEADER};
use crate::record::lines::{Lines, SLACK};
use crate::record::segments::cut_short;
use crate::record::split::Split;

/// The blocks of a split.
pub struct PairsReader {
    content: Box<dyn Read + Send>,
    url: String,
    /// Where in the object the next block begins.
    at: u64,
    end: u64,
    stored: Vec<u8>,
    raw: Vec<u8>,
    /// Held while there is a large pair.
    large: Option<LargeRecord>,
}

impl std::fmt::Debug for PairsReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PairsReader").field("url", &self.url).field("at", &self.at).finish_non_exhaustive()
    }
}

impl PairsReader {
    /// The blocks of a split, which begins and ends at a block's edge. `buffer` is memory to use again.
    pub fn new(place: &PairsPlace, split: &Split, buffer: Vec<u8>) -> Result<Self> {
        let content = place.open(split)?;
        let url = split.url.clone();
        Ok(Self {
            content,
            url,
            at: split.start,
            end: split.end,
            stored: Vec::new(),
            raw: buffer,
            large: None,
        })
    }

    /// The buffer, for the next split's reader.
    pub fn into_buffer(mut self) -> Vec<u8> {
        self.shrink();
        self.raw
    }

    /// Gives back what a large pair has taken.
    fn shrink(&mut self) {
        for buffer in [&mut self.stored, &mut self.raw] {
            if buffer.capacity() > LARGE_RECORD {
                *buffer = Vec::new();
            }
        }
        self.large = None;
    }

    /// The records of the next block, as they are in it; none at the end of the split. All are at their
    /// block's offset.
    pub fn next_chunk(&mut self) -> Result<Option<Lines<'_>>> {
        if self.at >= self.end {
            return Ok(None);
        }
        if self.large.is_some() {
            self.shrink();
        }
        let offset = self.at;
        let (in_place, bytes) =
            self.read_block().map_err(|error| error.context(format!("can't read the pairs {}", self.url)))?;
        let block = if in_place { &mut self.stored } else { &mut self.raw };
        block.resize(bytes + SLACK, 0);
        Ok(Some(Lines { bytes: &block[..bytes], padded: block, offset }))
    }

    /// Whether the block is stored as it is, and its bytes.
    fn read_block(&mut self) -> Result<(bool, usize)> {
        let mut header = [0; HEADER];
        self.content.read_exact(&mut header).map_err(cut_short)?;
        let header = BlockHeader::parse(&header)?;
        if header.stored.max(header.raw) as usize > LARGE_RECORD {
            self.large = Some(large_record());
        }
        // All at once: growing would take more than that.
        self.stored.clear();
        self.stored.reserve_exact(header.stored as usize + SLACK);
        self.stored.resize(header.stored as usize, 0);
        self.content.read_exact(&mut self.stored).map_err(cut_short)?;
        self.at += HEADER as u64 + u64::from(header.stored);
        let decoded = header.decode(&self.stored, &mut self.raw)?;
        Ok((decoded.as_ptr() == self.stored.as_ptr(), decoded.len()))
    }
}
