//! `spec.input`: what to read, and how it is cut into splits and records.

use serde::{Deserialize, Serialize};

use crate::quantity::Bytes;

/// Where the input is and what a record of it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(kube::KubeSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Input {
    /// Objects, prefixes (ending in `/`) or globs (`*`, `**`, `?`, `[a-z]`, `{a,b}`) under
    /// `file://` or `s3://bucket/`, and objects under `http(s)://`. `file:` may be relative to the manifest in
    /// `mapreduce run`.
    #[cfg_attr(feature = "crd", schemars(length(min = 1, max = 1024), inner(length(min = 1, max = 2048))))]
    pub urls: Vec<String>,

    /// What a record is.
    #[serde(default)]
    pub format: InputFormat,

    /// How objects are compressed. `Auto` looks at the first bytes, then at the extension.
    #[serde(default)]
    pub compression: Compression,

    /// Target size of a split: larger objects are cut on record boundaries, smaller ones are
    /// packed together.
    #[serde(default = "default_split_size")]
    pub split_size: Bytes,

    /// Whether a prefix includes what is below its folders.
    #[serde(default = "yes")]
    pub recursive: bool,

    /// Whether names that begin with `_` or `.` below a prefix or a glob's fixed part are skipped.
    #[serde(default = "yes")]
    pub ignore_hidden: bool,

    /// Whether a URL or glob may match nothing.
    #[serde(default)]
    pub allow_empty: bool,
}

fn default_split_size() -> Bytes {
    Bytes(128 << 20)
}

fn yes() -> bool {
    true
}

/// What a record is: a type, and its options under the type's own name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(kube::KubeSchema))]
#[cfg_attr(feature = "crd", x_kube(
    validation = ("!has(self.lines) || self.type == 'Lines'", "lines goes with type: Lines"),
    validation = ("!has(self.keyValue) || self.type == 'KeyValue'", "keyValue goes with type: KeyValue"),
    validation = ("!has(self.fixedLength) || self.type == 'FixedLength'", "fixedLength goes with type: FixedLength"),
    validation = ("!has(self.csv) || self.type == 'Csv'", "csv goes with type: Csv"),
    validation = ("!has(self.jsonLines) || self.type == 'JsonLines'", "jsonLines goes with type: JsonLines"),
    validation = ("!has(self.parquet) || self.type == 'Parquet'", "parquet goes with type: Parquet"),
    validation = ("!has(self.wholeFile) || self.type == 'WholeFile'", "wholeFile goes with type: WholeFile"),
))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InputFormat {
    /// The kind of record.
    #[serde(rename = "type")]
    pub kind: InputFormatType,

    /// Options of `Lines`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lines: Option<LinesFormat>,

    /// Options of `KeyValue`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_value: Option<KeyValueFormat>,

    /// Options of `FixedLength`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed_length: Option<FixedLengthFormat>,

    /// Options of `Csv`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub csv: Option<CsvFormat>,

    /// Options of `JsonLines`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json_lines: Option<JsonLinesFormat>,

    /// Options of `Parquet`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parquet: Option<ParquetFormat>,

    /// Options of `WholeFile`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whole_file: Option<WholeFileFormat>,
}

/// The kinds of record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum InputFormatType {
    /// Byte offset → the line without its end.
    #[default]
    Lines,
    /// A line's text before the first separator → the text after it.
    KeyValue,
    /// First bytes of a record → the rest.
    FixedLength,
    /// Key column or row number → the row as one JSON object.
    Csv,
    /// A member of the JSON text, or its offset → the JSON text, which is a line.
    JsonLines,
    /// Key column or row number → the row as one JSON object.
    Parquet,
    /// The object's URL → its bytes.
    WholeFile,
}

/// Options of `Lines`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LinesFormat {
    /// What ends a record; a newline unless said otherwise. Only with the default is a `\r`
    /// before it dropped too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "crd", schemars(length(min = 1, max = 256)))]
    pub delimiter: Option<String>,

    /// A longer record is a bad record. 64Mi unless said otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_record_bytes: Option<Bytes>,
}

/// Options of `KeyValue`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyValueFormat {
    /// What stands between key and value; a TAB unless said otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "crd", schemars(length(min = 1, max = 256)))]
    pub separator: Option<String>,

    /// A longer record is a bad record. 64Mi unless said otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_record_bytes: Option<Bytes>,
}

/// Options of `FixedLength`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(kube::KubeSchema))]
#[cfg_attr(feature = "crd", x_kube(
    validation = ("self.keyBytes <= self.recordBytes", "keyBytes is at most recordBytes"),
))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FixedLengthFormat {
    /// Bytes of a record.
    #[serde(default = "default_record_bytes")]
    #[cfg_attr(feature = "crd", schemars(range(min = 1, max = 67_108_864)))]
    pub record_bytes: i32,

    /// Bytes of its key, at its beginning.
    #[serde(default = "default_key_bytes")]
    #[cfg_attr(feature = "crd", schemars(range(min = 0, max = 67_108_864)))]
    pub key_bytes: i32,
}

impl Default for FixedLengthFormat {
    fn default() -> Self {
        Self { record_bytes: default_record_bytes(), key_bytes: default_key_bytes() }
    }
}

fn default_record_bytes() -> i32 {
    100
}

fn default_key_bytes() -> i32 {
    10
}

/// Options of `Csv`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct CsvFormat {
    /// Whether the first row of each object names the columns; otherwise they are `1`, `2`, …
    pub header: bool,

    /// What stands between fields: one ASCII character.
    #[cfg_attr(feature = "crd", schemars(regex(pattern = r"^[\t -!#-~]$")))]
    pub delimiter: String,

    /// The column whose value is the key; the row's number in its object unless said otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "crd", schemars(length(min = 1, max = 256)))]
    pub key_column: Option<String>,

    /// A longer row is a bad record. 64Mi unless said otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_record_bytes: Option<Bytes>,
}

impl Default for CsvFormat {
    fn default() -> Self {
        Self { header: true, delimiter: ",".into(), key_column: None, max_record_bytes: None }
    }
}

/// Options of `JsonLines`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JsonLinesFormat {
    /// A JSON pointer, as `/user/id`, to the member that is the key; the byte offset unless said
    /// otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "crd", schemars(length(min = 1, max = 256)))]
    pub key_pointer: Option<String>,

    /// A longer record is a bad record. 64Mi unless said otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_record_bytes: Option<Bytes>,
}

/// Options of `Parquet`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ParquetFormat {
    /// The columns of a row, in this order; all of them unless said otherwise. Others are not read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "crd", schemars(length(max = 1024), inner(length(min = 1, max = 256))))]
    pub columns: Vec<String>,

    /// The column whose value is the key; the row's number in its object unless said otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "crd", schemars(length(min = 1, max = 256)))]
    pub key_column: Option<String>,

    /// What becomes of columns of bytes that are not text; `Base64` unless said otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binary: Option<BinaryColumns>,
}

/// Options of `WholeFile`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WholeFileFormat {
    /// A larger object is a bad record. 64Mi unless said otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_record_bytes: Option<Bytes>,
}

/// What becomes of bytes that are not text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum BinaryColumns {
    /// A string of base64.
    #[default]
    Base64,
    /// A file with such a column is an error, unless `columns` leave it out.
    Error,
}

/// How input objects are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum Compression {
    /// By the first bytes, then by the extension.
    #[default]
    Auto,
    /// Not at all, whatever the bytes look like.
    None,
    /// gzip, of one or more members.
    Gzip,
    /// bzip2, of one or more streams.
    Bzip2,
    /// zstd, of one or more frames.
    Zstd,
    /// LZ4 frames.
    Lz4,
}
