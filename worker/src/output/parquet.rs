//! Parquet output: the columns `key` and `value`, both text.

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
use crate::error::{Error, Result};

/// Bytes of a row group before it is compressed: both columns are in memory until then.
const GROUP_BYTES: usize = 32 << 20;
const GROUP_ROWS: usize = 1 << 20;

/// Writes pairs as rows.
pub(super) struct ParquetWriter<W: Write + Send> {
    file: SerializedFileWriter<W>,
    columns: [Column; 2],
}

#[derive(Default)]
struct Column {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Column {
    fn push(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
        self.ends.push(self.bytes.len());
    }

    /// The values, which are forgotten.
    fn take(&mut self) -> Vec<ByteArray> {
        let bytes = Bytes::from(std::mem::take(&mut self.bytes));
        let mut from = 0;
        let mut value = |to| ByteArray::from(bytes.slice(std::mem::replace(&mut from, to)..to));
        self.ends.drain(..).map(&mut value).collect()
    }
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
    pub(super) fn new(out: W) -> Result<Self> {
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
        Ok(Self { file, columns: Default::default() })
    }

    pub(super) fn write(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let (key, value) = texts(key, value)?;
        let [keys, values] = &mut self.columns;
        keys.push(key);
        values.push(value);
        if keys.bytes.len() + values.bytes.len() >= GROUP_BYTES || keys.ends.len() >= GROUP_ROWS {
            self.end_group().map_err(failed)?;
        }
        Ok(())
    }

    fn end_group(&mut self) -> parquet::errors::Result<()> {
        let mut group = self.file.next_row_group()?;
        for column in &mut self.columns {
            let values = column.take();
            let Some(mut writer) = group.next_column()? else { break };
            writer.typed::<ByteArrayType>().write_batch(&values, None, None)?;
            writer.close()?;
        }
        group.close()?;
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<W> {
        if !self.columns[0].ends.is_empty() {
            self.end_group().map_err(failed)?;
        }
        self.file.into_inner().map_err(failed)
    }
}
