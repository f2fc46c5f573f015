//! Parts: what reduce tasks, or the map tasks of a map-only job, write.

mod encoder;
mod format;
mod large;
mod parquet;
pub mod replaceable;

use std::io::Write;

use mapreduce_api::v1alpha1::{Output, OutputCompression, OutputFormatType};
use xxhash_rust::xxh3::Xxh3;

use self::encoder::Encoder;
use self::format::OutputEncoding;
use self::large::LargeValue;
use self::parquet::ParquetWriter;
use crate::error::Result;
use crate::memory::{self, CodecMemory};
use crate::record::Emit;
use crate::record::skipped::{LOOKED_AT, Skipping};
use crate::scratch::{ScratchBytes, ScratchPlace};
use crate::storage::{Location, StagedWriter};

pub use crate::storage::StagedPart;

/// The name of a partition's part, with the extensions of its format and compression.
pub fn part_name(output: &Output, partition: u32) -> String {
    let format = match output.format.kind {
        OutputFormatType::KeyValue => "",
        OutputFormatType::Lines => ".txt",
        OutputFormatType::FixedLength => ".bin",
        OutputFormatType::Csv => ".csv",
        OutputFormatType::JsonLines => ".jsonl",
        OutputFormatType::Parquet => ".parquet",
    };
    let compression = match output.compression {
        OutputCompression::None => "",
        OutputCompression::Gzip => ".gz",
        OutputCompression::Bzip2 => ".bz2",
        OutputCompression::Zstd => ".zst",
        OutputCompression::Lz4 => ".lz4",
    };
    format!("part-{partition:05}{format}{compression}")
}

/// What the codecs of a part take beside buffers, where that is much: pages and dictionaries of Parquet, the blocks and
/// tables of compression.
fn codec_bytes(output: &Output) -> u64 {
    let format = if output.format.kind == OutputFormatType::Parquet { 8 } else { 0 };
    let compression = match output.compression {
        OutputCompression::None | OutputCompression::Gzip | OutputCompression::Lz4 => 0,
        OutputCompression::Zstd => 4,
        OutputCompression::Bzip2 => 8,
    };
    (format + compression) << 20
}

/// Bytes that are collected before they are handed on.
const BUFFER_BYTES: usize = 512 << 10;

/// Writes a part.
pub struct PartWriter {
    body: Body,
    name: String,
    records: u64,
    /// Takes pairs that can't be written, where they are left out.
    skipping: Option<Skipping>,
    _codec: CodecMemory,
}

#[allow(clippy::large_enum_variant, reason = "one for each part, and no way round for each pair")]
enum Body {
    /// Pairs one after the other.
    Pairs { format: OutputEncoding, buffer: Vec<u8>, out: Encoder<CountingWriter> },
    /// Rows by column.
    Parquet(Box<ParquetWriter<Encoder<CountingWriter>>>),
}

impl std::fmt::Debug for PartWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PartWriter").field("name", &self.name).finish_non_exhaustive()
    }
}

impl PartWriter {
    /// Begins a part of the output at `place`; `work` is the job's work folder. Rows that are not written yet are in
    /// `scratch`.
    pub fn new(
        output: &Output,
        place: &Location,
        work: &Location,
        partition: u32,
        scratch: &ScratchPlace,
    ) -> Result<Self> {
        let name = part_name(output, partition);
        let codec = memory::codec(codec_bytes(output));
        let writer = place.store.stage(&format!("{}{name}", place.key), &work.key)?;
        let stored = CountingWriter { writer, bytes: 0, checksum: Xxh3::new() };
        let out = Encoder::new(output.compression, stored)?;
        let body = if output.format.kind == OutputFormatType::Parquet {
            Body::Parquet(Box::new(ParquetWriter::new(out, scratch)?))
        } else {
            let format = OutputEncoding::new(output);
            let mut buffer = Vec::with_capacity(BUFFER_BYTES);
            buffer.extend_from_slice(format.header());
            Body::Pairs { format, buffer, out }
        };
        Ok(Self { body, name, records: 0, skipping: None, _codec: codec })
    }

    /// Pairs that can't be written in the output's format are left out.
    #[must_use]
    pub fn leaving_out(mut self, skipping: Option<Skipping>) -> Self {
        self.skipping = skipping;
        self
    }

    /// Ends the part.
    pub fn finish(self) -> Result<StagedPart> {
        let out = match self.body {
            Body::Pairs { buffer, mut out, .. } => {
                out.write_all(&buffer)?;
                out
            }
            Body::Parquet(rows) => rows.finish()?,
        };
        let CountingWriter { writer, bytes, checksum } = out.finish()?;
        let (staged, checksum) = (writer.finish()?, checksum.digest());
        Ok(StagedPart { name: self.name, staged, bytes, records: self.records, checksum })
    }
}

impl PartWriter {
    /// Takes a pair that was written, or could not be.
    fn count(&mut self, written: Result<()>, value: LargeValue<'_>) -> Result<()> {
        match (written, &self.skipping) {
            (Ok(()), _) => {
                self.records += 1;
                Ok(())
            }
            (Err(error), Some(skipping)) if error.is_bad_record() => match value {
                LargeValue::Slice(value) => skipping.leave_out(&error, value),
                LargeValue::Scratch(_) => skipping.leave_out(&error, &value.start(LOOKED_AT)?),
            },
            (Err(error), _) => Err(error),
        }
    }

    /// Writes a pair piece by piece.
    #[cold]
    fn emit_pieces(&mut self, key: &[u8], value: LargeValue<'_>) -> Result<()> {
        let written = match &mut self.body {
            Body::Pairs { format, buffer, out } => format.write_large(key, value, &mut |piece| {
                if buffer.len() + piece.len() > BUFFER_BYTES {
                    out.write_all(buffer)?;
                    buffer.clear();
                }
                if piece.len() > BUFFER_BYTES {
                    out.write_all(piece)?;
                } else {
                    buffer.extend_from_slice(piece);
                }
                Ok(())
            }),
            Body::Parquet(rows) => rows.write_large(key, value),
        };
        self.count(written, value)
    }
}

impl Emit for PartWriter {
    #[inline]
    fn emit(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let written = match &mut self.body {
            Body::Pairs { .. } if key.len() + value.len() >= BUFFER_BYTES => {
                return self.emit_pieces(key, LargeValue::Slice(value));
            }
            Body::Pairs { format, buffer, out } => {
                let written = format.write(key, value, buffer);
                if buffer.len() >= BUFFER_BYTES {
                    out.write_all(buffer)?;
                    buffer.clear();
                }
                written
            }
            Body::Parquet(rows) => rows.write(key, value),
        };
        self.count(written, LargeValue::Slice(value))
    }

    fn emit_large(&mut self, key: &[u8], value: &ScratchBytes) -> Result<()> {
        self.emit_pieces(key, LargeValue::Scratch(value))
    }
}

/// Counts what is stored.
struct CountingWriter {
    writer: Box<dyn StagedWriter>,
    bytes: u64,
    checksum: Xxh3,
}

impl Write for CountingWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.writer.write(bytes)?;
        self.bytes += bytes.len() as u64;
        self.checksum.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
