//! What a record of the input is, and the records of a chunk.

use std::borrow::Cow;
use std::sync::Arc;

use mapreduce_api::quantity::Bytes;
use mapreduce_api::v1alpha1::{BinaryColumns, Input, InputFormat, InputFormatType};

use super::block::record_at;
use super::json::{self, Path};
use super::lines::{Delimiter, Lines};
use super::pairs::PairsPlace;
use super::row::Row;
use super::split::{RecordLimit, Url};
use crate::error::{Error, Result};

/// Why a text of two bytes a character is refused.
pub(crate) const UTF_16: &str = "it is UTF-16: convert it to UTF-8, as `iconv -f UTF-16 -t UTF-8` does";

/// Whether a text begins with the mark of UTF-16, of either order of bytes.
pub(crate) fn is_utf_16(text: &[u8]) -> bool {
    matches!(text, [0xff, 0xfe, ..] | [0xfe, 0xff, ..])
}

/// Bytes that a record has at most where the manifest doesn't say.
const DEFAULT_RECORD_BYTES: u64 = 64 << 20;

/// How records are cut, and what key and value of one are.
#[derive(Clone, Debug)]
pub struct Format {
    /// What ends a record.
    pub delimiter: Delimiter,
    /// Most bytes of a record.
    pub max_record: RecordLimit,
    pub(crate) record: RecordKind,
}

#[derive(Clone, Debug)]
pub(crate) enum RecordKind {
    /// Offset → line; whether a `\r` at its end goes too.
    Line { crlf: bool },
    /// Before the first separator → after it.
    KeyValue { separator: Arc<[u8]> },
    /// First `key` bytes → the rest of `record` bytes.
    FixedLength { record: usize, key: usize },
    /// Key column or row number → the row as a JSON object.
    Csv { header: bool, delimiter: u8, key_column: Option<Arc<str>> },
    /// A member or the offset → the line, a JSON text.
    JsonLines { pointer: Option<Path> },
    /// URL → content.
    WholeFile,
    /// Key column or row number → the row, all of it or some columns, as a JSON object.
    Parquet(ParquetOptions),
    /// A pair of the step before, from where those are kept.
    Pair(PairsPlace),
}

/// What of a Parquet file is read.
#[derive(Clone, Debug)]
pub(crate) struct ParquetOptions {
    /// The columns of a row; none for all.
    pub(crate) columns: Arc<[Arc<str>]>,
    /// The column whose value is the key.
    pub(crate) key_column: Option<Arc<str>>,
    /// What becomes of columns of bytes.
    pub(crate) binary: BinaryColumns,
}

/// A record's key: made into text only where a function looks at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key<'a> {
    /// A byte offset or a row's number.
    Number(u64),
    /// Bytes of the record.
    Bytes(&'a [u8]),
}

impl Key<'_> {
    /// The key as bytes: a number as decimal text.
    pub fn to_bytes<'b>(&'b self, scratch: &'b mut Vec<u8>) -> &'b [u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Number(number) => {
                use std::io::Write as _;
                scratch.clear();
                // Writing to a vector can't fail.
                let _ = write!(scratch, "{number}");
                scratch
            }
        }
    }
}

/// A record as a map function gets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its key.
    pub key: Key<'a>,
    /// Its value.
    pub value: &'a [u8],
    /// Where in the object's content it begins.
    pub offset: u64,
}

/// Whole records of one object.
#[derive(Clone, Copy, Debug)]
pub struct Chunk<'a> {
    /// Their bytes.
    pub lines: Lines<'a>,
    /// Where in them the rows of a table are; none where the bytes themselves are cut.
    pub(crate) rows: &'a [Row],
    /// What a record of them is.
    pub format: &'a Format,
    /// The object.
    pub url: &'a Url,
}

/// What a record may be told to have at most: it is whole in memory.
const MAX_RECORD_BYTES: u64 = 1 << 30;

/// Checks how long a manifest lets records be.
///
/// # Errors
///
/// A usage error that names the field.
pub fn check_record_limits(format: &InputFormat) -> Result<()> {
    let limits = [
        ("lines", format.lines.as_ref().and_then(|options| options.max_record_bytes)),
        ("keyValue", format.key_value.as_ref().and_then(|options| options.max_record_bytes)),
        ("csv", format.csv.as_ref().and_then(|options| options.max_record_bytes)),
        ("jsonLines", format.json_lines.as_ref().and_then(|options| options.max_record_bytes)),
        ("wholeFile", format.whole_file.as_ref().and_then(|options| options.max_record_bytes)),
    ];
    let is_wrong = |limit: Option<Bytes>| limit.is_some_and(|most| !(1..=MAX_RECORD_BYTES).contains(&most.0));
    match limits.into_iter().find(|(_, limit)| is_wrong(*limit)) {
        None => Ok(()),
        Some((options, _)) => Err(Error::usage(format!(
            "spec.input.format.{options}.maxRecordBytes: a record has from 1 to 1Gi bytes"
        ))),
    }
}

impl Format {
    /// The format that a manifest asks for.
    pub fn new(input: &Input) -> Self {
        let (delimiter, most, record) = match input.format.kind {
            InputFormatType::Lines => {
                let options = input.format.lines.clone().unwrap_or_default();
                let delimiter = options.delimiter.unwrap_or_else(|| "\n".into()).into_bytes();
                let crlf = delimiter == b"\n";
                (delimiter, options.max_record_bytes, RecordKind::Line { crlf })
            }
            InputFormatType::KeyValue => {
                let options = input.format.key_value.clone().unwrap_or_default();
                let separator = options.separator.unwrap_or_else(|| "\t".into()).into_bytes().into();
                (b"\n".to_vec(), options.max_record_bytes, RecordKind::KeyValue { separator })
            }
            InputFormatType::FixedLength => {
                let options = input.format.fixed_length.clone().unwrap_or_default();
                let record = usize::try_from(options.record_bytes).unwrap_or_default().max(1);
                let key = usize::try_from(options.key_bytes).unwrap_or_default().min(record);
                (b"\n".to_vec(), None, RecordKind::FixedLength { record, key })
            }
            InputFormatType::Csv => {
                let options = input.format.csv.clone().unwrap_or_default();
                let delimiter = options.delimiter.bytes().next().unwrap_or(b',');
                let key_column = options.key_column.map(Into::into);
                let record = RecordKind::Csv { header: options.header, delimiter, key_column };
                (b"\n".to_vec(), options.max_record_bytes, record)
            }
            InputFormatType::JsonLines => {
                let options = input.format.json_lines.clone().unwrap_or_default();
                let pointer = options.key_pointer.as_deref().map(Path::pointer);
                (b"\n".to_vec(), options.max_record_bytes, RecordKind::JsonLines { pointer })
            }
            InputFormatType::Parquet => {
                let options = input.format.parquet.clone().unwrap_or_default();
                let columns = options.columns.into_iter().map(Into::into).collect();
                let key_column = options.key_column.map(Into::into);
                let binary = options.binary.unwrap_or_default();
                (b"\n".to_vec(), None, RecordKind::Parquet(ParquetOptions { columns, key_column, binary }))
            }
            InputFormatType::WholeFile => {
                let options = input.format.whole_file.clone().unwrap_or_default();
                (b"\n".to_vec(), options.max_record_bytes, RecordKind::WholeFile)
            }
        };
        let (setting, check) = match record {
            RecordKind::KeyValue { .. } => ("input.format.keyValue.maxRecordBytes", ""),
            RecordKind::JsonLines { .. } => ("input.format.jsonLines.maxRecordBytes", ""),
            RecordKind::Csv { .. } => {
                ("input.format.csv.maxRecordBytes", ", or see whether a quote is not closed")
            }
            RecordKind::WholeFile => ("input.format.wholeFile.maxRecordBytes", ""),
            _ => ("input.format.lines.maxRecordBytes", ", or check the delimiter"),
        };
        let bytes = most.map_or(DEFAULT_RECORD_BYTES, |most| most.0);
        Self {
            delimiter: Delimiter::new(&delimiter),
            max_record: RecordLimit { bytes, setting, check },
            record,
        }
    }

    /// The pairs of the step before.
    pub fn pairs(place: PairsPlace) -> Self {
        let record = RecordKind::Pair(place);
        let max_record = RecordLimit { bytes: u64::MAX, setting: "", check: "" };
        Self { delimiter: Delimiter::new(b"\n"), max_record, record }
    }

    /// Whether records are pairs of the step before.
    pub fn is_pairs(&self) -> bool {
        matches!(self.record, RecordKind::Pair(_))
    }

    /// Whether an object of this format can be cut, at multiples of [`Self::align`].
    pub fn can_be_split(&self) -> bool {
        self.why_whole().is_none()
    }

    /// Why an object of this format can't be cut, if it can't.
    pub fn why_whole(&self) -> Option<&'static str> {
        match self.record {
            RecordKind::Csv { .. } => Some("a newline of it may be in quotes"),
            RecordKind::WholeFile => Some("it is one record"),
            RecordKind::FixedLength { .. } | RecordKind::Parquet(_) => None,
            _ if self.delimiter.overlaps_itself() => {
                Some("where its records end shows only from its beginning")
            }
            _ => None,
        }
    }

    /// Whether records can be read without knowing how much content is before them, their keys aside.
    pub fn can_begin_anywhere(&self) -> bool {
        use RecordKind::{JsonLines, KeyValue, Line};
        self.why_whole().is_none() && matches!(self.record, Line { .. } | KeyValue { .. } | JsonLines { .. })
    }

    /// Whether a record's key is its offset.
    pub fn is_keyed_by_offset(&self) -> bool {
        matches!(self.record, RecordKind::Line { .. } | RecordKind::JsonLines { pointer: None })
    }

    /// What the edges of splits should be multiples of. Elsewhere they are right too, but a record's
    /// bytes are read twice.
    pub fn align(&self) -> u64 {
        match self.record {
            RecordKind::FixedLength { record, .. } => record as u64,
            _ => 1,
        }
    }

    /// Bytes before a split that its reader has to see.
    pub fn overlap(&self) -> u64 {
        match self.record {
            RecordKind::FixedLength { .. } => 0,
            _ => self.delimiter.bytes().len() as u64,
        }
    }

    /// A record's bytes as they are in the input: what key and value were made of.
    pub fn whole<'r>(&self, key: Key<'_>, value: &'r [u8]) -> Cow<'r, [u8]> {
        match (&self.record, key) {
            (RecordKind::KeyValue { separator }, Key::Bytes(key)) => {
                Cow::Owned([key, separator, value].concat())
            }
            (RecordKind::Pair(_), Key::Bytes(key)) => Cow::Owned([key, b"\t", value].concat()),
            (RecordKind::FixedLength { .. }, Key::Bytes(key)) => Cow::Owned([key, value].concat()),
            _ => Cow::Borrowed(value),
        }
    }

    /// Whether a record is its line whole, ended by a newline.
    pub fn is_plain_lines(&self) -> bool {
        matches!(self.record, RecordKind::Line { crlf: true })
    }
}

/// A record that can't be given to a function.
#[derive(Debug)]
pub struct BadRecord<'a> {
    /// Why not.
    pub error: Box<Error>,
    /// Its bytes.
    pub text: &'a [u8],
}

impl<'a> Chunk<'a> {
    /// Records whose bytes are one after the other.
    pub fn new(lines: Lines<'a>, format: &'a Format, url: &'a Url) -> Self {
        Self { lines, rows: &[], format, url }
    }

    /// Calls `f` with each record; says how many there were. A bad record is an error.
    #[inline]
    pub fn each(&self, mut f: impl FnMut(Record<'_>) -> Result<()>) -> Result<u64> {
        self.each_or_bad(|found| match found {
            Ok(record) => f(record),
            Err(bad) => Err((*bad.error).showing(bad.text)),
        })
    }

    /// Calls `f` with each record, be it good or bad; says how many there were.
    #[inline]
    pub fn each_or_bad(
        &self,
        mut f: impl FnMut(Result<Record<'_>, BadRecord<'_>>) -> Result<()>,
    ) -> Result<u64> {
        match &self.format.record {
            RecordKind::Line { crlf } => {
                let crlf = *crlf;
                self.each_line(crlf, |line| {
                    f(line.map(|(offset, line)| Record { key: Key::Number(offset), value: line, offset }))
                })
            }
            RecordKind::KeyValue { separator } => self.each_line(true, |line| {
                let (offset, line) = match line {
                    Ok(line) => line,
                    Err(bad) => return f(Err(bad)),
                };
                let at = match separator[..] {
                    [byte] => memchr::memchr(byte, line),
                    _ => memchr::memmem::find(line, separator),
                };
                let (key, value) = match at {
                    Some(at) => (&line[..at], &line[at + separator.len()..]),
                    None => (line, &b""[..]),
                };
                f(Ok(Record { key: Key::Bytes(key), value, offset }))
            }),
            RecordKind::FixedLength { record, key } => {
                let records = self.lines.bytes.chunks_exact(*record);
                let count = records.len() as u64;
                for (offset, record) in (self.lines.offset..).step_by(*record).zip(records) {
                    let (key, value) = record.split_at(*key);
                    f(Ok(Record { key: Key::Bytes(key), value, offset }))?;
                }
                Ok(count)
            }
            RecordKind::JsonLines { pointer } => self.each_json(pointer.as_ref(), f),
            RecordKind::Csv { .. } | RecordKind::Parquet(_) => self.each_row(f),
            RecordKind::WholeFile => {
                let key = Key::Bytes(self.url.as_bytes());
                f(Ok(Record { key, value: self.lines.bytes, offset: 0 }))?;
                Ok(1)
            }
            RecordKind::Pair(_) => self.each_pair(f),
        }
    }

    /// The lines that are no white space, as JSON texts.
    fn each_json(
        &self,
        pointer: Option<&Path>,
        mut f: impl FnMut(Result<Record<'_>, BadRecord<'_>>) -> Result<()>,
    ) -> Result<u64> {
        let mut count = 0;
        self.each_line(true, |line| {
            let (offset, line) = match line {
                Ok(line) => line,
                Err(bad) => return f(Err(bad)),
            };
            if line.trim_ascii().is_empty() {
                return Ok(());
            }
            count += 1;
            let bad = |reason: String| BadRecord {
                error: Error::bad_record(reason, self.url, offset).into(),
                text: line,
            };
            let no_json = |error: serde_json::Error| bad(format!("no JSON: {error}"));
            let text = match std::str::from_utf8(line) {
                // Some programs begin a text with a mark.
                Ok(text) if offset == 0 => text.strip_prefix('\u{feff}').unwrap_or(text),
                Ok(text) => text,
                Err(_) if offset == 0 && is_utf_16(line) => return f(Err(bad(UTF_16.to_owned()))),
                Err(error) => return f(Err(bad(error.to_string()))),
            };
            let Some(pointer) = pointer else {
                let checked = json::check(text).map_err(no_json);
                return f(checked.map(|()| Record {
                    key: Key::Number(offset),
                    value: text.as_bytes(),
                    offset,
                }));
            };
            let key = json::find(text, [pointer])
                .and_then(|[member]| member.map(json::plain).transpose())
                .map_err(no_json)
                .and_then(|key| key.ok_or_else(|| bad(format!("the record has no `{pointer}`"))));
            match key {
                Ok(key) => f(Ok(Record { key: Key::Bytes(key.as_bytes()), value: text.as_bytes(), offset })),
                Err(bad) => f(Err(bad)),
            }
        })?;
        Ok(count)
    }

    #[inline]
    fn each_pair(&self, mut f: impl FnMut(Result<Record<'_>, BadRecord<'_>>) -> Result<()>) -> Result<u64> {
        let Lines { bytes: block, offset, .. } = self.lines;
        let (mut at, mut count) = (0, 0);
        while at < block.len() {
            let span = record_at(block, at)?;
            let key = Key::Bytes(&block[span.key..span.value]);
            f(Ok(Record { key, value: &block[span.value..span.end], offset }))?;
            at = span.end;
            count += 1;
        }
        Ok(count)
    }

    /// The text of the record at `offset`, or the beginning of it.
    pub(crate) fn text_at(&self, offset: u64) -> &[u8] {
        if let Some(row) = self.rows.iter().find(|row| row.offset == offset) {
            return &self.lines.bytes[row.value.0..row.value.1];
        }
        let from = usize::try_from(offset.saturating_sub(self.lines.offset)).unwrap_or(usize::MAX);
        let rest = self.lines.bytes.get(from..).unwrap_or_default();
        let delimiter = self.format.delimiter.bytes();
        match &self.format.record {
            RecordKind::Line { .. } | RecordKind::KeyValue { .. } | RecordKind::JsonLines { .. } => {
                &rest[..memchr::memmem::find(rest, delimiter).unwrap_or(rest.len())]
            }
            RecordKind::FixedLength { record, .. } => &rest[..rest.len().min(*record)],
            _ => rest,
        }
    }

    fn each_row(&self, mut f: impl FnMut(Result<Record<'_>, BadRecord<'_>>) -> Result<()>) -> Result<u64> {
        for row in self.rows {
            let text = |(from, to): (usize, usize)| &self.lines.bytes[from..to];
            if let Some(reason) = &row.bad {
                let error = Error::bad_record(&**reason, self.url, row.offset);
                f(Err(BadRecord { error: error.into(), text: text(row.value) }))?;
                continue;
            }
            let key = row.key.map_or(Key::Number(row.number), |key| Key::Bytes(text(key)));
            f(Ok(Record { key, value: text(row.value), offset: row.offset }))?;
        }
        Ok(self.rows.len() as u64)
    }

    /// The lines with their offsets, without their delimiters and, with `crlf`, without a `\r`
    /// before one.
    #[inline]
    fn each_line(
        &self,
        crlf: bool,
        mut f: impl FnMut(Result<(u64, &'a [u8]), BadRecord<'a>>) -> Result<()>,
    ) -> Result<u64> {
        let Lines { bytes, offset, .. } = self.lines;
        let delimiter = self.format.delimiter.bytes();
        let most = self.format.max_record;
        let (mut from, mut count) = (0, 0);
        let mut line = |from: usize, to: usize| {
            let (begin, text) = (offset + from as u64, &bytes[from..to]);
            if text.len() as u64 > most.bytes {
                return f(Err(BadRecord { error: most.exceeded(self.url, begin).into(), text }));
            }
            count += 1;
            f(Ok((begin, text)))
        };
        if let [byte] = *delimiter {
            for at in memchr::memchr_iter(byte, bytes) {
                let cut = usize::from(crlf && at > from && bytes[at - 1] == b'\r');
                line(from, at - cut)?;
                from = at + 1;
            }
        } else {
            for at in memchr::memmem::find_iter(bytes, delimiter) {
                line(from, at)?;
                from = at + delimiter.len();
            }
        }
        if from < bytes.len() {
            line(from, bytes.len())?;
        }
        Ok(count)
    }

    /// Whether the records may be looked at without cutting them: none can be too long.
    pub fn is_plain(&self) -> bool {
        self.format.is_plain_lines() && self.lines.bytes.len() as u64 <= self.format.max_record.bytes
    }

    /// How many lines there are, where each ends with a newline.
    pub fn count_lines(&self) -> u64 {
        let bytes = self.lines.bytes;
        let ended = memchr::memchr_iter(b'\n', bytes).count();
        (ended + usize::from(bytes.last().is_some_and(|&last| last != b'\n'))) as u64
    }
}
