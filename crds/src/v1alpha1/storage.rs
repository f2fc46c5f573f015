//! `spec.storage` and `spec.shuffle`: how object stores are reached, and where intermediate data goes.

use serde::{Deserialize, Serialize};

use super::phase::LocalObject;

/// How object stores are reached, by kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Storage {
    /// `s3://` URLs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3: Option<S3Storage>,

    /// How long a job waits for a store that is away before it fails. No attempt of a task is spent on that.
    #[serde(default = "default_timeout_seconds")]
    #[cfg_attr(feature = "crd", schemars(range(min = 0, max = 315_360_000)))]
    pub timeout_seconds: i64,
}

impl Default for Storage {
    fn default() -> Self {
        Self { s3: None, timeout_seconds: default_timeout_seconds() }
    }
}

fn default_timeout_seconds() -> i64 {
    600
}

/// How `s3://` URLs are reached.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct S3Storage {
    /// The server's address where it isn't AWS, as `http://minio.default.svc:9000`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "crd", schemars(length(min = 1, max = 2048)))]
    pub endpoint: Option<String>,

    /// The region; `us-east-1` when neither this nor `AWS_REGION` says otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "crd", schemars(length(min = 1, max = 64)))]
    pub region: Option<String>,

    /// A Secret whose keys are named as the environment variables are: `AWS_ACCESS_KEY_ID`,
    /// `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`. Without it the pods' own identity is used;
    /// `mapreduce run` always uses its environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalObject>,
}

/// Where intermediate data goes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Shuffle {
    /// A prefix; a folder per job is made under it and removed at the end. When absent, pods
    /// use a folder under the output prefix and `mapreduce run` its memory and temporary files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "crd", schemars(length(min = 1, max = 2048)))]
    pub url: Option<String>,

    /// How blocks of intermediate data are compressed, in the shuffle's objects and in scratch files.
    #[serde(default)]
    pub compression: ShuffleCompression,
}

/// How blocks of intermediate data are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum ShuffleCompression {
    /// By what is scarce: zstd for a bucket, none for local and scratch files.
    #[default]
    Auto,
    /// Not at all.
    None,
    /// LZ4: little time, some gain.
    Lz4,
    /// zstd at level 1: a third of the size for prose.
    Zstd,
}
