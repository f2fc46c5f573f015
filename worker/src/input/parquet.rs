//! Parquet input: rows as JSON objects.
//!
//! ```text
//!  PAR1 │ row group │ row group │ … │ footer: schema, where row groups and their columns are │ length │ PAR1
//! ```
//!
//! A split reads the footer, then the row groups that begin in it; of each only the columns that are
//! asked for, in one request for each stretch of them where there is memory for it, or else piece by piece. A page of each
//! column is in memory while its rows are read.

mod column;
mod decimal;
mod json;
mod pages;
mod ranges;
mod schema;
mod thrift;
mod time;

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use mapreduce_api::v1alpha1::{BinaryColumns, Compression};
use parquet::basic::Type as PhysicalType;
use parquet::column::reader::get_column_reader;
use parquet::errors::ParquetError;
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::schema::types::Type;

use self::column::Column;
use self::json::RowWriter;
use self::pages::{CheckedPages, PageLevels};
use self::ranges::ObjectRanges;
use self::schema::Node;
use super::rows::{Columns, Rows};
use crate::error::{Error, Result};
use crate::memory::{self, CodecMemory, LARGE_RECORD, LargeRecord, large_record};
use crate::record::format::ParquetOptions;
use crate::record::json::plain;
use crate::record::lines::Lines;
use crate::record::row::Row;
use crate::record::split::{Split, Url};
use crate::storage::Stores;

/// Bytes of a chunk of rows.
const CHUNK_BYTES: usize = 256 << 10;

/// Reads the rows of a split, a chunk at a time.
pub(super) struct ParquetReader {
    file: SerializedFileReader<ObjectRanges>,
    ranges: ObjectRanges,
    url: Url,
    columns: Columns,
    /// How the values of each column are put together.
    nodes: Vec<Node>,
    /// The columns of a row's JSON: all but a key column that only is the key.
    shown: usize,
    key: Option<usize>,
    /// The file's columns of values that are read.
    leaves: Vec<usize>,
    /// Row groups that are still to be read, and the number of the row before each.
    groups: std::vec::IntoIter<(usize, u64)>,
    /// The columns of the row group that is read, and its rows that are still to come.
    open: Vec<Column>,
    rows_left: u64,
    number: u64,
    offset: u64,
    rows: Rows,
    /// Held while the rows of a row group are large, on an average.
    large: Option<LargeRecord>,
    /// The memory of a row group's decoders.
    decoders: Option<CodecMemory>,
}

impl ParquetReader {
    /// The rows of a split: of those row groups that begin in it.
    pub(super) fn new(
        split: &Split,
        options: &ParquetOptions,
        compression: Compression,
        stores: &Stores,
    ) -> Result<Self> {
        guarded(&split.url, || Self::open(split, options, compression, stores))
    }

    fn open(
        split: &Split,
        options: &ParquetOptions,
        compression: Compression,
        stores: &Stores,
    ) -> Result<Self> {
        let url: Url = Arc::from(split.url.as_str());
        let ranges = ObjectRanges::open(split, compression, stores)?;
        ranges.check_footer().map_err(|error| damaged(&url, error))?;
        let file = SerializedFileReader::new(ranges.clone()).map_err(|error| damaged(&url, error))?;
        let metadata = file.metadata();
        let (columns, shown) = wanted(metadata.file_metadata().schema_descr().root_schema(), options)
            .map_err(|error| Error::permanent(format!("{url}: {error}")))?;
        let (nodes, leaves) = assemble(metadata.file_metadata().schema_descr().root_schema(), &columns)
            .map_err(|why| damaged(&url, ParquetError::General(why)))?;
        if options.binary == BinaryColumns::Error
            && let Some(i) = nodes.iter().position(Node::has_binary)
        {
            let name = columns.name(i);
            return Err(Error::permanent(format!(
                "{url}: the column `{name}` holds bytes that are not text"
            ))
            .because(
                "leave it out of input.format.parquet.columns, or take it as base64 with \
                     input.format.parquet.binary: Base64",
            ));
        }
        let mut before = 0;
        let mut groups = Vec::new();
        for (i, group) in metadata.row_groups().iter().enumerate() {
            if ranges.is_whole || (split.start..split.end).contains(&start_of(group)) {
                groups.push((i, before));
            }
            before += group.num_rows().max(0) as u64;
        }
        let key = options.key_column.as_deref().and_then(|key| columns.position(key));
        Ok(Self {
            file,
            ranges,
            columns,
            nodes,
            shown,
            key,
            leaves,
            groups: groups.into_iter(),
            open: Vec::new(),
            rows_left: 0,
            number: 0,
            offset: 0,
            rows: Rows::default(),
            large: None,
            decoders: None,
            url,
        })
    }

    /// The next rows; none at the end.
    pub(super) fn next_chunk(&mut self) -> Result<Option<(Lines<'_>, &[Row])>> {
        let url = Arc::clone(&self.url);
        guarded(&url, || self.read_rows())?;
        Ok(self.rows.chunk())
    }

    /// Makes a chunk's rows.
    fn read_rows(&mut self) -> Result<()> {
        self.rows.clear();
        while self.rows.text.len() < CHUNK_BYTES {
            if self.rows_left > 0 {
                self.rows_left -= 1;
                self.push_row().map_err(|error| damaged(&self.url, error))?;
            } else if !self.next_group()? {
                break;
            }
        }
        Ok(())
    }

    /// Goes to the next row group; false when there is none.
    fn next_group(&mut self) -> Result<bool> {
        self.open.clear();
        let Some((i, before)) = self.groups.next() else { return Ok(false) };
        let damaged = |error: ParquetError| damaged(&self.url, error);
        let metadata = self.file.metadata().row_group(i);
        if metadata.num_columns() != self.file.metadata().file_metadata().schema_descr().num_columns() {
            return Err(damaged(json::uneven()));
        }
        let mut parts: Vec<Range<u64>> = (self.leaves.iter())
            .map(|&leaf| {
                let (start, length) = metadata.column(leaf).byte_range();
                start..start + length
            })
            .collect();
        parts.sort_unstable_by_key(|range| range.start);
        self.ranges.keep(&parts)?;
        self.offset = start_of(metadata);
        self.number = before;
        self.rows_left = metadata.num_rows().max(0) as u64;
        (self.large, self.decoders) = (None, None);
        self.decoders =
            Some(memory::codec(self.leaves.iter().map(|&leaf| decoder_bytes(metadata, leaf)).sum()));
        if self.leaves.iter().map(|&leaf| row_bytes(metadata, leaf)).sum::<usize>() > LARGE_RECORD / 4 {
            self.large = Some(large_record());
        }
        let group = self.file.get_row_group(i).map_err(damaged)?;
        for &leaf in &self.leaves {
            let descriptor = metadata.column(leaf).column_descr_ptr();
            let (max_def, max_rep) = (descriptor.max_def_level(), descriptor.max_rep_level());
            let levels = PageLevels::default();
            let pages = CheckedPages::new(group.get_column_page_reader(leaf).map_err(damaged)?, &levels);
            let reader = get_column_reader(descriptor, Box::new(pages));
            let row_bytes = row_bytes(metadata, leaf);
            self.open.push(Column::new(reader, max_def, max_rep, row_bytes, levels).map_err(damaged)?);
        }
        Ok(true)
    }

    fn push_row(&mut self) -> parquet::errors::Result<()> {
        self.number += 1;
        if self.open.iter().any(Column::is_at_end) {
            return Err(json::uneven());
        }
        let Rows { text, rows } = &mut self.rows;
        let start = text.len();
        let mut row = RowWriter { columns: &mut self.open, bad: None };
        let (mut end, mut key) = (0, None);
        if self.shown == 0 {
            text.extend_from_slice(b"{}");
            end = text.len();
        }
        for (i, node) in self.nodes.iter().enumerate() {
            if i < self.shown {
                self.columns.begin(i, text);
            }
            let (from, was_good) = (text.len(), row.bad.is_none());
            row.write(node, text)?;
            if let Some(why) = row.bad.take_if(|_| was_good) {
                row.bad = Some(format!("column `{}`: {why}", self.columns.name(i)));
            }
            if self.key == Some(i) {
                key = Some((from, text.len()));
            }
            if i + 1 == self.shown {
                text.push(b'}');
                end = text.len();
            }
        }
        let bad = row.bad.take();
        if !self.open.iter().all(Column::is_between_rows) {
            return Err(json::uneven());
        }
        if let (Some((from, to)), None) = (key, &bad) {
            let json = String::from_utf8_lossy(&text[from..to]).into_owned();
            text.truncate(end);
            text.extend_from_slice(plain(&json).unwrap_or_default().as_bytes());
            key = Some((end, text.len()));
        } else {
            text.truncate(end);
            key = None;
        }
        let bad = bad.map(Into::into);
        rows.push(Row { number: self.number, offset: self.offset, key, value: (start, end), bad });
        Ok(())
    }
}

/// The columns that are read, in their order, and how many of them are a row's: the key column may come after those.
fn wanted(root: &Type, options: &ParquetOptions) -> Result<(Columns, usize), String> {
    let known: Vec<Arc<str>> = root.get_fields().iter().map(|field| Arc::from(field.name())).collect();
    let mut wanted = if options.columns.is_empty() { known.clone() } else { options.columns.to_vec() };
    let shown = wanted.len();
    if let Some(key) = &options.key_column
        && !wanted.contains(key)
    {
        wanted.push(Arc::clone(key));
    }
    if let Some(missing) = wanted.iter().find(|name| !known.contains(name)) {
        return Err(format!("there is no column `{missing}`: there are {}", known.join(", ")));
    }
    Ok((Columns::new(wanted)?, shown))
}

/// How each of the columns is put together, and which of the file's columns of values that takes.
fn assemble(root: &Type, columns: &Columns) -> Result<(Vec<Node>, Vec<usize>), String> {
    let (mut nodes, mut leaves) = (Vec::new(), Vec::new());
    for i in 0..columns.len() {
        let mut first = 0;
        for field in root.get_fields() {
            let count = leaf_count(field);
            if field.name() == columns.name(i) {
                nodes.push(schema::node(field, &mut leaves.len())?);
                leaves.extend(first..first + count);
                break;
            }
            first += count;
        }
    }
    Ok((nodes, leaves))
}

fn leaf_count(field: &Type) -> usize {
    match field {
        Type::PrimitiveType { .. } => 1,
        Type::GroupType { fields, .. } => fields.iter().map(|field| leaf_count(field)).sum(),
    }
}

/// Bytes of a row in a column of values, on an average.
fn row_bytes(group: &RowGroupMetaData, leaf: usize) -> usize {
    let bytes = group.column(leaf).uncompressed_size().max(0) / group.num_rows().max(1);
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// Pages of a column, as stored and decoded.
const PAGES: u64 = 2 << 20;
/// Bytes of a decoded dictionary for each that is stored: a text takes 40 bytes beside its own.
const TEXT_DICTIONARY: u64 = 8;
const DICTIONARY: u64 = 2;
/// More than any dictionary has: a damaged file may say anything.
const MAX_DICTIONARY: i64 = 1 << 32;

/// About what the decoder of a column of values takes.
fn decoder_bytes(group: &RowGroupMetaData, leaf: usize) -> u64 {
    let column = group.column(leaf);
    let pages = PAGES.min(column.uncompressed_size().max(0) as u64);
    let of_dictionary = match column.column_type() {
        PhysicalType::BYTE_ARRAY => TEXT_DICTIONARY,
        _ => DICTIONARY,
    };
    let dictionary =
        column.dictionary_page_offset().map_or(0, |at| column.data_page_offset().saturating_sub(at));
    let dictionary = dictionary.clamp(0, MAX_DICTIONARY) as u64;
    pages + dictionary * of_dictionary
}

/// Where a row group begins.
fn start_of(group: &RowGroupMetaData) -> u64 {
    group.columns().iter().map(|column| column.byte_range().0).min().unwrap_or_default()
}

/// The library panics at some damaged objects: an error then too.
fn guarded<T>(url: &str, call: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|_| {
        Err(Error::permanent(format!("{url} is damaged Parquet data")).because("the decoder panicked"))
    })
}

/// An error of the library: one of ours that went through it, or one that the object is to blame for.
fn damaged(url: &str, error: ParquetError) -> Error {
    match error {
        ParquetError::External(inner) => match inner.downcast::<Error>() {
            Ok(own) => *own,
            Err(other) => Error::permanent(format!("{url} is damaged Parquet data")).because(other),
        },
        ParquetError::NYI(what) => Error::permanent(format!("{url} can't be read: {what}")),
        other if other.to_string().contains("Disabled feature") => {
            Error::permanent(format!("{url} can't be read: its pages are compressed with brotli"))
                .because("write it with zstd, snappy, gzip or lz4")
        }
        other if other.to_string().contains("encrypted") => {
            Error::permanent(format!("{url} can't be read: it is encrypted, or a column of it"))
                .because("write it without encryption")
        }
        other => Error::permanent(format!("{url} is damaged Parquet data")).because(other),
    }
}

#[cfg(test)]
mod tests;
