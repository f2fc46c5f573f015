//! What a record of the input is: how it is cut, and what its key and value are.

use std::borrow::Cow;
use std::sync::Arc;

use mapreduce_api::quantity::Bytes;
use mapreduce_api::v1alpha1::{BinaryColumns, Input, InputFormat, InputFormatType};

use super::json::Path;
use super::key::Key;
use super::lines::Delimiter;
use super::pairs::PairsPlace;
use super::split::RecordLimit;
use crate::error::{Error, Result};

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
