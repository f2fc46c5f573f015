//! Reads the records of a split, whatever its format.

use std::sync::Arc;

use mapreduce_api::v1alpha1::Compression;

use super::format::{Chunk, Format};
use super::lines::LineReader;
use super::source::{Split, Url, open};
use crate::error::Result;
use crate::storage::Stores;

/// The records of a split, a chunk at a time.
#[derive(Debug)]
pub struct Reader<'f> {
    lines: LineReader,
    format: &'f Format,
    url: Url,
}

impl<'f> Reader<'f> {
    /// Opens a split. `buffer` is memory to use again.
    pub fn open(
        split: &Split,
        format: &'f Format,
        compression: Compression,
        stores: &Stores,
        buffer: Vec<u8>,
    ) -> Result<Self> {
        let source = open(split, compression, format.overlap(), stores)?;
        let url: Url = Arc::from(split.url.as_str());
        let delimiter = format.delimiter.clone();
        let lines = LineReader::new(
            source,
            split.start,
            delimiter,
            format.max_record_bytes,
            Arc::clone(&url),
            buffer,
        )?;
        Ok(Self { lines, format, url })
    }

    /// The next records; none at the end of the split.
    pub fn next_chunk(&mut self) -> Result<Option<Chunk<'_>>> {
        let Self { lines, format, url } = self;
        Ok(lines.next_chunk()?.map(|lines| Chunk { lines, format, url }))
    }

    /// The buffer, for the next split's reader.
    pub fn into_buffer(self) -> Vec<u8> {
        self.lines.into_buffer()
    }
}
