//! Parquet output: the columns `key` and `value`, both text.
//!
//! A row group is written column by column when it is complete. Until then its rows are in memory, and in scratch files
//! where that is little; a column is read from there in batches.

use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::{Compression, LogicalType, Repetition, Type as PhysicalType};
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::Type;

use super::format::texts;
use super::large::{LargeValue, key_of_texts};
use crate::error::{Error, Result};
use crate::memory::{self, LARGE_RECORD, large_record};
use crate::scratch::{ListReader, READ, ScratchList, ScratchPlace};

/// Bytes of a row group before it is compressed.
const GROUP_BYTES: u64 = 32 << 20;
const GROUP_ROWS: u64 = 1 << 20;
/// Values of a batch: as many as the library looks at together.
const BATCH_ROWS: usize = 1024;
/// Bytes with which a batch ends before it has as many values.
const BATCH_BYTES: usize = 4 << 20;

/// Writes pairs as rows.
pub(super) struct ParquetWriter<W: Write + Send> {
    file: SerializedFileWriter<W>,
    columns: [ScratchList; 2],
}

/// The next values of a column; none after the last.
fn batch(column: &mut ListReader<'_>) -> Result<Vec<ByteArray>> {
    let (mut bytes, mut ends) = (Vec::new(), Vec::new());
    while ends.len() < BATCH_ROWS && bytes.len() < BATCH_BYTES {
        if !column.append_text(&mut bytes)? {
            break;
        }
        ends.push(bytes.len());
    }
    let bytes = Bytes::from(bytes);
    let mut from = 0;
    let mut value = |to| ByteArray::from(bytes.slice(std::mem::replace(&mut from, to)..to));
    Ok(ends.into_iter().map(&mut value).collect())
}

/// Copies of a text: where it comes from, and in the library the text itself, the dictionary's, a page's, the compressed
/// page's and two of the statistics.
const COPIES: u64 = 8;

fn check_size(bytes: u64) -> Result<()> {
    memory::check_copies("a text", "to be written as Parquet", bytes, COPIES).map_err(|error| {
        error.because("or write another spec.output.format: the others take a large pair piece by piece")
    })
}

fn failed(error: ParquetError) -> Error {
    let ParquetError::External(inner) = error else {
        return Error::permanent(format!("can't write Parquet: {error}"));
    };
    match inner.downcast::<std::io::Error>() {
        Ok(io) => Error::from(*io),
        Err(other) => Error::retry(format!("can't write Parquet: {other}")),
    }
}

impl<W: Write + Send> ParquetWriter<W> {
    pub(super) fn new(out: W, scratch: &ScratchPlace) -> Result<Self> {
        let column = |name| {
            Type::primitive_type_builder(name, PhysicalType::BYTE_ARRAY)
                .with_repetition(Repetition::REQUIRED)
                .with_logical_type(Some(LogicalType::String))
                .build()
                .map(Arc::new)
        };
        let schema = || {
            let fields = vec![column("key")?, column("value")?];
            Type::group_type_builder("schema").with_fields(fields).build().map(Arc::new)
        };
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
        let file = schema()
            .and_then(|schema| SerializedFileWriter::new(out, schema, Arc::new(properties)))
            .map_err(failed)?;
        Ok(Self { file, columns: [ScratchList::new(scratch), ScratchList::new(scratch)] })
    }

    pub(super) fn write(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let (key, value) = texts(key, value)?;
        check_size(key.len().max(value.len()) as u64)?;
        let [keys, values] = &mut self.columns;
        keys.push(key.as_bytes())?;
        values.push(value.as_bytes())?;
        self.added()
    }

    /// Writes a pair whose value may be in a scratch file.
    pub(super) fn write_large(&mut self, key: &[u8], value: LargeValue<'_>) -> Result<()> {
        check_size(match value {
            LargeValue::Slice(value) => value.len() as u64,
            LargeValue::Scratch(value) => value.len(),
        })?;
        let key = key_of_texts(key, value)?;
        check_size(key.len() as u64)?;
        let [keys, values] = &mut self.columns;
        keys.push(key.as_bytes())?;
        match value {
            LargeValue::Slice(value) => values.push(value)?,
            LargeValue::Scratch(value) => values.push_large(value)?,
        }
        self.added()
    }

    fn added(&mut self) -> Result<()> {
        let [keys, values] = &self.columns;
        if keys.bytes() + values.bytes() >= GROUP_BYTES || keys.len() >= GROUP_ROWS {
            self.end_group()?;
        }
        Ok(())
    }

    fn end_group(&mut self) -> Result<()> {
        let mut group = self.file.next_row_group().map_err(failed)?;
        for column in &mut self.columns {
            let Some(mut writer) = group.next_column().map_err(failed)? else { break };
            let _large = (column.longest() > LARGE_RECORD).then(large_record);
            let mut values = column.reader(READ);
            loop {
                let batch = batch(&mut values)?;
                if batch.is_empty() {
                    break;
                }
                writer.typed::<ByteArrayType>().write_batch(&batch, None, None).map_err(failed)?;
            }
            writer.close().map_err(failed)?;
            column.clear();
        }
        group.close().map_err(failed)?;
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<W> {
        if !self.columns[0].is_empty() {
            self.end_group()?;
        }
        self.file.into_inner().map_err(failed)
    }
}
