//! `spec.output`: where the parts go and what they look like.

use serde::{Deserialize, Serialize};

/// Where the result goes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Output {
    /// A prefix: `part-00000` … and `_SUCCESS` are written under it.
    #[cfg_attr(feature = "crd", schemars(length(min = 1, max = 2048)))]
    pub url: String,

    /// How pairs are written.
    #[serde(default)]
    pub format: OutputFormat,

    /// How parts are compressed.
    #[serde(default)]
    pub compression: OutputCompression,

    /// What to do when there is any object under the prefix: end with an error, or replace
    /// them once the new result is ready.
    #[serde(default)]
    pub if_exists: IfExists,
}

/// How pairs are written: a type, and its options under the type's own name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(kube::KubeSchema))]
#[cfg_attr(feature = "crd", x_kube(
    validation = ("!has(self.keyValue) || self.type == 'KeyValue'", "keyValue goes with type: KeyValue"),
))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OutputFormat {
    /// The kind of text or file.
    #[serde(rename = "type")]
    pub kind: OutputFormatType,

    /// Options of `KeyValue`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_value: Option<KeyValueOutput>,
}

/// Options of `KeyValue`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyValueOutput {
    /// What stands between key and value; a TAB unless said otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "crd", schemars(length(min = 1, max = 256)))]
    pub separator: Option<String>,
}

/// The kinds of output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum OutputFormatType {
    /// A line of key, separator, value.
    #[default]
    KeyValue,
    /// A line of the value alone.
    Lines,
    /// Key and value with nothing between or after them.
    FixedLength,
    /// A row of key and value, below a header with these names.
    Csv,
    /// A line with a JSON object of `key` and `value`; a value that is a JSON object, array or number is
    /// embedded, others are strings.
    JsonLines,
    /// Rows with the columns `key` and `value`, both text.
    Parquet,
}

/// How parts are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum OutputCompression {
    /// Not at all.
    #[default]
    None,
    /// gzip.
    Gzip,
    /// bzip2.
    Bzip2,
    /// zstd.
    Zstd,
    /// LZ4 frames.
    Lz4,
}

/// What to do when the output prefix holds something already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum IfExists {
    /// End with an error that names what is there.
    #[default]
    Fail,
    /// Remove what earlier runs left, once the new result is ready to commit: a failed run leaves the old
    /// result. What no run left is an error.
    Replace,
}
