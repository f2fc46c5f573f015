//! Reads the records of a split, whatever its format.

use std::sync::Arc;

use mapreduce_api::v1alpha1::Compression;

use super::csv::CsvReader;
use super::fixed::FixedReader;
use super::lines::LineReader;
use super::parquet::ParquetReader;
use super::source::open;
use super::whole::WholeReader;
use crate::error::Result;
use crate::record::chunk::Chunk;
use crate::record::format::{Format, RecordKind};
use crate::record::pairs::PairsReader;
use crate::record::split::{Split, Url};
use crate::storage::Stores;

/// The records of a split, a chunk at a time.
pub struct Reader<'f> {
    framing: Framing,
    format: &'f Format,
    url: Url,
}

/// How content is cut into chunks.
enum Framing {
    Lines(Box<LineReader>),
    Fixed(FixedReader),
    Csv(Box<CsvReader>),
    Whole(WholeReader),
    Pairs(Box<PairsReader>),
    /// With the buffer, which it has no use for.
    Parquet(Box<ParquetReader>, Vec<u8>),
}

impl std::fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("url", &self.url).field("format", self.format).finish_non_exhaustive()
    }
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
        let url: Url = Arc::from(split.url.as_str());
        let source = || open(split, compression, format.overlap(), stores);
        let most = format.max_record;
        let framing = match &format.record {
            RecordKind::Line { .. } | RecordKind::KeyValue { .. } | RecordKind::JsonLines { .. } => {
                let (delimiter, url) = (format.delimiter.clone(), Arc::clone(&url));
                Framing::Lines(Box::new(LineReader::new(source()?, delimiter, most, url, buffer)?))
            }
            RecordKind::FixedLength { record, .. } => {
                Framing::Fixed(FixedReader::new(source()?, *record, Arc::clone(&url), buffer))
            }
            RecordKind::Csv { header, delimiter, key_column } => Framing::Csv(Box::new(CsvReader::new(
                source()?,
                *header,
                *delimiter,
                key_column.clone(),
                most,
                Arc::clone(&url),
                buffer,
            )?)),
            RecordKind::Parquet(options) => {
                let reader = ParquetReader::new(split, options, compression, stores)?;
                Framing::Parquet(Box::new(reader), buffer)
            }
            RecordKind::WholeFile => {
                Framing::Whole(WholeReader::new(source()?, most, Arc::clone(&url), buffer))
            }
            RecordKind::Pair(place) => Framing::Pairs(Box::new(PairsReader::new(place, split, buffer)?)),
        };
        Ok(Self { framing, format, url })
    }

    /// The next records; none at the end of the split.
    pub fn next_chunk(&mut self) -> Result<Option<Chunk<'_>>> {
        let Self { framing, format, url } = self;
        let lines = match framing {
            Framing::Lines(reader) => reader.next_chunk()?,
            Framing::Fixed(reader) => reader.next_chunk()?,
            Framing::Whole(reader) => reader.next_chunk()?,
            Framing::Pairs(reader) => reader.next_chunk()?,
            Framing::Parquet(reader, _) => {
                let chunk = reader.next_chunk()?;
                return Ok(chunk.map(|(lines, rows)| Chunk { rows, ..Chunk::new(lines, format, url) }));
            }
            Framing::Csv(reader) => {
                let chunk = reader.next_chunk()?;
                return Ok(chunk.map(|(lines, rows)| Chunk { rows, ..Chunk::new(lines, format, url) }));
            }
        };
        Ok(lines.map(|lines| Chunk::new(lines, format, url)))
    }

    /// Skips the record that [`Self::next_chunk`] could not give, and gives what was read of it. None
    /// where it can't be known where the next one begins.
    pub fn skip_long(&mut self) -> Result<Option<Vec<u8>>> {
        match &mut self.framing {
            Framing::Lines(reader) => reader.skip_long().map(Some),
            Framing::Whole(reader) => Ok(Some(reader.skip_long())),
            Framing::Fixed(_) | Framing::Csv(_) | Framing::Parquet(..) | Framing::Pairs(_) => Ok(None),
        }
    }

    /// The buffer, for the next split's reader.
    pub fn into_buffer(self) -> Vec<u8> {
        match self.framing {
            Framing::Lines(reader) => reader.into_buffer(),
            Framing::Fixed(reader) => reader.into_buffer(),
            Framing::Csv(reader) => reader.into_buffer(),
            Framing::Whole(reader) => reader.into_buffer(),
            Framing::Pairs(reader) => reader.into_buffer(),
            Framing::Parquet(_, buffer) => buffer,
        }
    }
}

#[cfg(test)]
mod tests;
