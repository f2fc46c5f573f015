//! Cuts content at delimiters: chunks of whole records.

use std::io::Read;

use super::large::grow;
use super::source::{ObjectReader, SplitEnd};
use crate::error::Result;
use crate::memory::{LARGE_RECORD, LargeRecord};
use crate::record::lines::{Delimiter, Lines, SLACK};
use crate::record::skipped::shown;
use crate::record::split::{RecordLimit, Url};

/// Bytes of a chunk, where records are shorter: it stays in the processor's second-level cache.
const CHUNK_BYTES: usize = 256 << 10;

/// Reads the records of a split, a chunk at a time.
pub struct LineReader {
    content: Box<dyn Read + Send>,
    delimiter: Delimiter,
    url: Url,
    most: RecordLimit,
    end: SplitEnd,
    /// Content from `offset` on: `used..filled` of it is not handed out yet.
    buffer: Vec<u8>,
    /// Held while the buffer is for a large record.
    large: Option<LargeRecord>,
    used: usize,
    filled: usize,
    offset: u64,
    at_end: bool,
}

impl std::fmt::Debug for LineReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LineReader")
            .field("url", &self.url)
            .field("offset", &self.offset)
            .finish_non_exhaustive()
    }
}

impl LineReader {
    /// The records of a split. `buffer` is memory to use again.
    pub fn new(
        source: ObjectReader,
        delimiter: Delimiter,
        most: RecordLimit,
        url: Url,
        buffer: Vec<u8>,
    ) -> Result<Self> {
        let ObjectReader { content, offset, start, end } = source;
        let mut reader = Self {
            content,
            delimiter,
            url,
            most,
            end,
            buffer,
            large: None,
            used: 0,
            filled: 0,
            offset,
            at_end: false,
        };
        if reader.buffer.len() < CHUNK_BYTES + SLACK {
            reader.buffer.resize(CHUNK_BYTES + SLACK, 0);
        }
        if start > offset {
            reader.skip_first()?;
        }
        Ok(reader)
    }

    /// Skips a record that is too long, and gives as much of it as is shown.
    pub fn skip_long(&mut self) -> Result<Vec<u8>> {
        let text = shown(&self.buffer[self.used..self.filled]).to_vec();
        self.skip_first()?;
        Ok(text)
    }

    /// The buffer, for the next split's reader.
    pub fn into_buffer(mut self) -> Vec<u8> {
        self.used = self.filled;
        self.shrink();
        self.buffer
    }

    /// The record that begins before the split is its neighbour's: goes past its delimiter.
    fn skip_first(&mut self) -> Result<()> {
        let length = self.delimiter.bytes().len();
        loop {
            if let Some(at) = self.delimiter.first(&self.buffer[self.used..self.filled]) {
                self.used += at + length;
                return Ok(());
            }
            // All but the bytes that may begin a delimiter can go.
            self.used = self.used.max((self.filled + 1).saturating_sub(length));
            if self.at_end || self.is_past_end() {
                self.used = self.filled;
                self.at_end = true;
                return Ok(());
            }
            self.fill()?;
        }
    }

    /// Where in the content the next record begins.
    fn position(&self) -> u64 {
        self.offset + self.used as u64
    }

    /// Whether the next record is not the split's.
    fn is_past_end(&self) -> bool {
        self.end.get().is_some_and(|end| self.position() >= end)
    }

    /// Reads more after what is there, making room first.
    fn fill(&mut self) -> Result<()> {
        if self.used > 0 {
            self.buffer.copy_within(self.used..self.filled, 0);
            self.offset += self.used as u64;
            self.filled -= self.used;
            self.used = 0;
        }
        if self.filled + SLACK == self.buffer.len() {
            if self.filled as u64 > self.most.bytes {
                return Err(self.most.exceeded(&self.url, self.offset));
            }
            grow(&mut self.buffer, &mut self.large, self.most.bytes);
        }
        let room = self.buffer.len() - SLACK;
        let got = self.content.read(&mut self.buffer[self.filled..room])?;
        self.filled += got;
        self.at_end = got == 0;
        Ok(())
    }

    /// Gives back what a large record has taken.
    fn shrink(&mut self) {
        if self.large.is_none() || self.filled - self.used > CHUNK_BYTES {
            return;
        }
        let mut small = Vec::with_capacity(LARGE_RECORD);
        small.extend_from_slice(&self.buffer[self.used..self.filled]);
        self.offset += self.used as u64;
        (self.used, self.filled) = (0, small.len());
        small.resize(CHUNK_BYTES + SLACK, 0);
        self.buffer = small;
        self.large = None;
    }

    /// The next records; none at the end of the split.
    pub fn next_chunk(&mut self) -> Result<Option<Lines<'_>>> {
        self.shrink();
        let mut searched = 0;
        loop {
            if self.is_past_end() || (self.at_end && self.used == self.filled) {
                return Ok(None);
            }
            if let Some(to) = self.chunk_end(&mut searched) {
                let from = std::mem::replace(&mut self.used, to);
                return Ok(Some(Lines {
                    bytes: &self.buffer[from..to],
                    padded: &self.buffer[from..to + SLACK],
                    offset: self.offset + from as u64,
                }));
            }
            self.fill()?;
        }
    }

    /// Where the last whole record of the split ends in the buffer. `searched` says how much of what is there has
    /// been found to have no delimiter.
    fn chunk_end(&self, searched: &mut usize) -> Option<usize> {
        let length = self.delimiter.bytes().len();
        let text = &self.buffer[self.used..self.filled];
        let last = || self.delimiter.last(&text[*searched..]).map(|at| *searched + at);
        let end = self.end.get().map(|end| end - self.position());
        let found = match end.and_then(|end| usize::try_from(end).ok()).filter(|end| *end <= text.len()) {
            Some(end) => {
                // The first delimiter that ends at the split's end or after it ends the last record. Until that
                // is there, the records before it can go.
                let from = end.saturating_sub(length).max(*searched);
                let behind = self.delimiter.first(&text[from..]).map(|at| from + at);
                behind.or_else(|| if self.at_end { None } else { last() })
            }
            None if self.at_end => None,
            None if text.len() < CHUNK_BYTES && self.filled + SLACK < self.buffer.len() => return None,
            None => last(),
        };
        match found {
            Some(at) => Some(self.used + at + length),
            None if self.at_end => Some(self.filled),
            None => {
                if !self.delimiter.overlaps_itself() {
                    *searched = (text.len() + 1).saturating_sub(length).max(*searched);
                }
                None
            }
        }
    }
}

#[cfg(test)]
mod tests;
