//! An object as one record.

use std::io::Read;

use super::source::Source;
use crate::error::Result;
use crate::record::lines::{Lines, SLACK};
use crate::record::split::{RecordLimit, Url};

/// Reads an object whole.
pub(super) struct WholeReader {
    content: Option<Box<dyn Read + Send>>,
    url: Url,
    most: RecordLimit,
    buffer: Vec<u8>,
}

impl WholeReader {
    /// `buffer` is memory to use again.
    pub(super) fn new(source: Source, most: RecordLimit, url: Url, buffer: Vec<u8>) -> Self {
        Self { content: Some(source.content), url, most, buffer }
    }

    pub(super) fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }

    /// What was read of an object that is too long.
    pub(super) fn skip_long(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }

    /// The content, once; none when it is empty.
    pub(super) fn next_chunk(&mut self) -> Result<Option<Lines<'_>>> {
        let Some(content) = self.content.take() else { return Ok(None) };
        self.buffer.clear();
        let bytes = content.take(self.most.bytes.saturating_add(1)).read_to_end(&mut self.buffer)?;
        if bytes as u64 > self.most.bytes {
            return Err(self.most.exceeded(&self.url, 0));
        }
        self.buffer.resize(bytes + SLACK, 0);
        let lines = Lines { bytes: &self.buffer[..bytes], padded: &self.buffer, offset: 0 };
        Ok(Some(lines).filter(|lines| !lines.bytes.is_empty()))
    }
}
