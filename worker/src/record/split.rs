//! A part of the input, as the plan cuts it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// A part of the input that one task reads by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// The object.
    pub url: String,
    /// The version when the plan was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The size, as stored.
    pub size: u64,
    /// Where the split begins.
    pub start: u64,
    /// Where it ends; records that begin before are read to their end.
    pub end: u64,
    /// How a part of an object is compressed, which begins and ends with frames then.
    #[serde(default, skip_serializing_if = "Codec::is_none")]
    pub codec: Codec,
}

impl Split {
    /// Bytes of the split, as stored.
    pub fn bytes(&self) -> u64 {
        self.end - self.start
    }

    /// Whether the split is a whole object.
    pub fn is_whole(&self) -> bool {
        self.start == 0 && self.end == self.size
    }
}

/// A way in which bytes are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Codec {
    /// Not at all.
    #[default]
    None,
    /// gzip, one or more members.
    Gzip,
    /// bzip2, one or more streams.
    Bzip2,
    /// zstd, one or more frames.
    Zstd,
    /// LZ4 frames.
    Lz4,
}

impl Codec {
    /// Whether there is nothing to decode.
    pub fn is_none(&self) -> bool {
        *self == Self::None
    }
}

/// Names an object in the errors of functions that only see its records.
pub(crate) type Url = Arc<str>;

/// The most bytes of a record, and the setting that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordLimit {
    /// The number.
    pub bytes: u64,
    /// The setting's name in the manifest.
    pub setting: &'static str,
    /// What else may be wrong with a longer record.
    pub check: &'static str,
}

impl RecordLimit {
    /// The error of a record that is longer.
    pub(crate) fn exceeded(self, url: &str, offset: u64) -> Error {
        let Self { bytes, setting, check } = self;
        Error::bad_record(format!("longer than {bytes} bytes: raise {setting}{check}"), url, offset)
    }
}
