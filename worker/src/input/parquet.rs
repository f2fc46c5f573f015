//! Parquet input: rows as JSON objects.
//!
//! ```text
//!  PAR1 │ row group │ row group │ … │ footer: schema, where row groups and their columns are │ length │ PAR1
//! ```
//!
//! A split reads the footer, then the row groups that begin in it; of each only the columns that are
//! asked for, in one request for each stretch of them. They are in memory while their rows are read.

mod json;
mod pages;
mod thrift;

use std::io::Read;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Buf as _, Bytes};
use mapreduce_api::v1alpha1::Compression;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::reader::{ChunkReader, FileReader as _, Length, SerializedFileReader};
use parquet::record::reader::{ReaderIter, TreeBuilder};
use parquet::record::{Field, Row as ParquetRow};
use parquet::schema::types::{SchemaDescriptor, Type};

use self::pages::CheckedGroup;
use super::rows::{Columns, Rows};
use super::source::{codec_of, open};
use crate::error::{Error, Result};
use crate::record::lines::{Lines, SLACK};
use crate::record::row::Row;
use crate::record::split::Codec;
use crate::record::split::{Split, Url};
use crate::storage::{Counter, Entry, Location, Stores};

/// Bytes of a chunk of rows.
const CHUNK_BYTES: usize = 256 << 10;
/// Columns with less than this between them are read at once.
const GAP: u64 = 1 << 20;

/// Reads the rows of a split, a chunk at a time.
pub(super) struct ParquetReader {
    file: SerializedFileReader<Ranges>,
    ranges: Ranges,
    url: Url,
    /// The columns that are read; none for all of them.
    schema: Arc<SchemaDescriptor>,
    columns: Columns,
    /// The columns of a row's JSON: all but a key column that only is the key.
    shown: usize,
    key: Option<usize>,
    /// Row groups that are still to be read, and the number of the row before each.
    groups: std::vec::IntoIter<(usize, u64)>,
    iter: Option<ReaderIter>,
    number: u64,
    offset: u64,
    rows: Rows,
}

impl ParquetReader {
    /// The rows of a split: of those row groups that begin in it.
    pub(super) fn new(
        split: &Split,
        names: &[Arc<str>],
        key_column: Option<&str>,
        compression: Compression,
        stores: &Stores,
    ) -> Result<Self> {
        guarded(&split.url, || Self::open(split, names, key_column, compression, stores))
    }

    fn open(
        split: &Split,
        names: &[Arc<str>],
        key_column: Option<&str>,
        compression: Compression,
        stores: &Stores,
    ) -> Result<Self> {
        let url: Url = Arc::from(split.url.as_str());
        let damaged = |error: ParquetError| damaged(&url, error);
        let ranges = Ranges::open(split, compression, stores)?;
        ranges.check_footer().map_err(damaged)?;
        let file = SerializedFileReader::new(ranges.clone()).map_err(damaged)?;
        let metadata = file.metadata();
        let fields = metadata.file_metadata().schema_descr().root_schema().get_fields();
        let known: Vec<Arc<str>> = fields.iter().map(|field| Arc::from(field.name())).collect();
        let mut wanted = if names.is_empty() { known.clone() } else { names.to_vec() };
        let shown = wanted.len();
        if let Some(key) = key_column
            && !wanted.iter().any(|name| **name == *key)
        {
            wanted.push(key.into());
        }
        if let Some(missing) = wanted.iter().find(|name| !known.contains(name)) {
            let known = known.join(", ");
            return Err(Error::permanent(format!(
                "{url}: there is no column `{missing}`: there are {known}"
            )));
        }
        let columns =
            Columns::new(wanted.clone()).map_err(|error| Error::permanent(format!("{url}: {error}")))?;
        let schema = projection(metadata, &wanted).map_err(damaged)?;
        let mut before = 0;
        let mut groups = Vec::new();
        for (i, group) in metadata.row_groups().iter().enumerate() {
            if ranges.is_whole || (split.start..split.end).contains(&start_of(group)) {
                groups.push((i, before));
            }
            before += group.num_rows() as u64;
        }
        let key = key_column.and_then(|key| columns.position(key));
        Ok(Self {
            file,
            ranges,
            schema,
            columns,
            shown,
            key,
            groups: groups.into_iter(),
            iter: None,
            number: 0,
            offset: 0,
            rows: Rows::default(),
            url,
        })
    }

    /// The next rows; none at the end.
    pub(super) fn next_chunk(&mut self) -> Result<Option<(Lines<'_>, &[Row])>> {
        let url = Arc::clone(&self.url);
        guarded(&url, || self.read_rows())?;
        if self.rows.rows.is_empty() {
            return Ok(None);
        }
        let bytes = self.rows.text.len();
        self.rows.text.resize(bytes + SLACK, 0);
        let lines = Lines { bytes: &self.rows.text[..bytes], padded: &self.rows.text, offset: 0 };
        Ok(Some((lines, &self.rows.rows)))
    }

    /// Makes a chunk's rows.
    fn read_rows(&mut self) -> Result<()> {
        self.rows.clear();
        while self.rows.text.len() < CHUNK_BYTES {
            let row = self.iter.as_mut().and_then(Iterator::next).transpose();
            match row.map_err(|error| damaged(&self.url, error))? {
                Some(row) => self.push_row(&row),
                None if self.next_group()? => {}
                None => break,
            }
        }
        Ok(())
    }

    /// Goes to the next row group; false when there is none.
    fn next_group(&mut self) -> Result<bool> {
        self.iter = None;
        let Some((i, before)) = self.groups.next() else { return Ok(false) };
        let damaged = |error: ParquetError| damaged(&self.url, error);
        let group = self.file.metadata().row_group(i);
        let columns = group.columns().iter().filter(|column| {
            let name = column.column_path().parts().first().map(String::as_str);
            name.is_some_and(|name| self.columns.position(name).is_some())
        });
        let mut parts: Vec<Range<u64>> = columns
            .map(|column| {
                let (start, length) = column.byte_range();
                start..start + length
            })
            .collect();
        parts.sort_unstable_by_key(|range| range.start);
        self.ranges.keep(&parts)?;
        self.offset = start_of(group);
        self.number = before;
        let group = CheckedGroup(self.file.get_row_group(i).map_err(damaged)?);
        let iter = TreeBuilder::new().as_iter(Arc::clone(&self.schema), &group).map_err(damaged)?;
        self.iter = Some(iter);
        Ok(true)
    }

    fn push_row(&mut self, row: &ParquetRow) {
        self.number += 1;
        let Rows { text, rows } = &mut self.rows;
        let start = text.len();
        let mut written = Ok(());
        for (i, (name, field)) in row.get_column_iter().enumerate().take(self.shown) {
            self.columns.begin(i, text);
            written = written
                .and_then(|()| json::push(text, field).map_err(|why| format!("column `{name}`: {why}")));
        }
        text.push(b'}');
        let end = text.len();
        let mut key = None;
        if let Some(field) = self.key.and_then(|i| row.get_column_iter().nth(i)) {
            written = written.and_then(|()| push_key(text, field.1));
            key = Some((end, text.len()));
        }
        let bad = written.err().map(Into::into);
        rows.push(Row { number: self.number, offset: self.offset, key, value: (start, end), bad });
    }
}

/// A string's own text, otherwise the JSON text.
fn push_key(text: &mut Vec<u8>, field: &Field) -> Result<(), String> {
    if let Field::Str(key) = field {
        text.extend_from_slice(key.as_bytes());
        return Ok(());
    }
    json::push(text, field)
}

/// Where a row group begins.
fn start_of(group: &RowGroupMetaData) -> u64 {
    group.columns().iter().map(|column| column.byte_range().0).min().unwrap_or_default()
}

/// The schema with some of its columns, in this order.
fn projection(metadata: &ParquetMetaData, names: &[Arc<str>]) -> Result<Arc<SchemaDescriptor>, ParquetError> {
    let root = metadata.file_metadata().schema_descr().root_schema();
    let fields = names
        .iter()
        .filter_map(|name| root.get_fields().iter().find(|field| field.name() == &**name).cloned());
    let projected = Type::group_type_builder(root.name()).with_fields(fields.collect()).build()?;
    Ok(Arc::new(SchemaDescriptor::new(Arc::new(projected))))
}

/// The library panics at some damaged objects: an error then too.
fn guarded<T>(url: &str, call: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|_| {
        Err(Error::permanent(format!("{url} is damaged Parquet data"))
            .because("it makes no sense to its reader"))
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
        other => Error::permanent(format!("{url} is damaged Parquet data")).because(other),
    }
}

/// An object by ranges: those that are kept, and others as they are asked for.
#[derive(Clone)]
struct Ranges {
    source: Arc<Mutex<Kept>>,
    size: u64,
    /// Whether all of it is kept: it was compressed as a whole, or comes only in one piece.
    is_whole: bool,
}

struct Kept {
    url: Url,
    place: Location,
    entry: Entry,
    counter: Counter,
    /// Where stretches begin, and their bytes.
    stretches: Vec<(u64, Bytes)>,
}

impl Ranges {
    fn open(split: &Split, compression: Compression, stores: &Stores) -> Result<Self> {
        let place = stores.locate(&split.url)?;
        let entry = Entry { key: place.key.clone(), size: split.size, version: split.version.clone() };
        let (mut size, mut stretches, mut is_whole) = (split.size, Vec::new(), false);
        let can_seek = place.store.has_ranges(&entry.key)?;
        if !can_seek || codec_of(&place, &entry, compression)? != Codec::None {
            let mut content = Vec::new();
            open(split, compression, 0, stores)?.content.read_to_end(&mut content)?;
            size = content.len() as u64;
            stretches.push((0, content.into()));
            is_whole = true;
        }
        let url = Arc::from(split.url.as_str());
        let kept = Kept { url, place, entry, counter: stores.counter(), stretches };
        Ok(Self { source: Arc::new(Mutex::new(kept)), size, is_whole })
    }

    /// Reads ranges, which ascend, and forgets those before.
    fn keep(&self, ranges: &[Range<u64>]) -> Result<()> {
        if self.is_whole {
            return Ok(());
        }
        let mut stretches: Vec<Range<u64>> = Vec::new();
        for range in ranges {
            match stretches.last_mut() {
                Some(last) if range.start <= last.end + GAP => last.end = last.end.max(range.end),
                _ => stretches.push(range.clone()),
            }
        }
        let mut source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        source.stretches.clear();
        for stretch in stretches {
            let bytes = source.read(stretch.clone(), self.size)?;
            source.stretches.push((stretch.start, bytes));
        }
        Ok(())
    }

    fn get(&self, start: u64, length: usize) -> Result<Bytes> {
        let source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        let end = start.saturating_add(length as u64);
        let kept =
            source.stretches.iter().find(|(from, bytes)| *from <= start && end <= from + bytes.len() as u64);
        match kept {
            Some((from, bytes)) => Ok(bytes.slice((start - from) as usize..(end - from) as usize)),
            None => source.read(start..end, self.size),
        }
    }
}

impl Kept {
    fn read(&self, range: Range<u64>, size: u64) -> Result<Bytes> {
        if range.start > range.end || range.end > size {
            return Err(Error::permanent(format!("{} is damaged Parquet data", self.url))
                .because(format!("it points to bytes {range:?} and has {size}")));
        }
        let length = range.end - range.start;
        let mut bytes = Vec::with_capacity(length as usize);
        self.counter.counted(self.place.store.open(&self.entry, range)?).read_to_end(&mut bytes)?;
        if bytes.len() as u64 != length {
            return Err(Error::retry(format!("got {} bytes of {length} from {}", bytes.len(), self.url)));
        }
        Ok(bytes.into())
    }
}

impl Length for Ranges {
    fn len(&self) -> u64 {
        self.size
    }
}

impl Ranges {
    /// Reads the footer, which is kept for the library, and looks whether it can be one.
    fn check_footer(&self) -> parquet::errors::Result<()> {
        // What isn't so is the library's to say.
        let Some(length_at) = self.size.checked_sub(FOOTER_END) else { return Ok(()) };
        let external = |error| ParquetError::External(Box::new(error));
        let tail = self.size.saturating_sub(TAIL);
        self.keep(std::slice::from_ref(&(tail..self.size))).map_err(external)?;
        let mut end = self.get(length_at, FOOTER_END as usize).map_err(external)?;
        let length = end.get_u32_le();
        let start = length_at.checked_sub(length.into());
        let Some(start) = start.filter(|_| *end == *b"PAR1") else { return Ok(()) };
        if start < tail {
            self.keep(std::slice::from_ref(&(start..self.size))).map_err(external)?;
        }
        let footer = self.get(start, length as usize).map_err(external)?;
        thrift::check(&footer, &thrift::FOOTER)
            .map_err(|why| ParquetError::General(format!("the footer: {why}")))
    }
}

/// Bytes behind the footer: its length, and `PAR1`.
const FOOTER_END: u64 = 8;
/// Most bytes that a reader from some place on gets where they aren't kept: the footer's end.
const TAIL: u64 = 64 << 10;

impl ChunkReader for Ranges {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        let kept = {
            let source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
            let at = |(from, bytes): &(u64, Bytes)| {
                let skip = usize::try_from(start.checked_sub(*from)?).ok()?;
                (skip < bytes.len()).then(|| bytes.slice(skip..))
            };
            source.stretches.iter().find_map(at)
        };
        let bytes = match kept {
            Some(bytes) => bytes,
            None => self
                .get(start, self.size.saturating_sub(start).min(TAIL) as usize)
                .map_err(|error| ParquetError::External(Box::new(error)))?,
        };
        // Beside the file's last bytes, only a page's header is read without saying how much of it.
        if start + FOOTER_END != self.size {
            let impossible = |why| ParquetError::General(format!("the page header at byte {start}: {why}"));
            thrift::check(&bytes, &thrift::PAGE_HEADER).map_err(impossible)?;
        }
        Ok(bytes.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        self.get(start, length).map_err(|error| ParquetError::External(Box::new(error)))
    }
}

#[cfg(test)]
mod tests;
