//! `spec.small`: jobs that are not worth a pod for each task.

use serde::{Deserialize, Serialize};

use crate::quantity::Bytes;

/// When a job runs whole in one pod, on a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Small {
    /// `Auto` where the input is small, or `Never`.
    #[serde(default)]
    pub mode: SmallMode,

    /// The most bytes of input, as stored, that are small.
    #[serde(default = "default_max_bytes")]
    pub max_bytes: Bytes,
}

fn default_max_bytes() -> Bytes {
    Bytes(64 << 20)
}

/// Whether a small job runs whole in one pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum SmallMode {
    /// Where its input is small.
    #[default]
    Auto,
    /// Each task has a pod.
    Never,
}

impl Default for Small {
    fn default() -> Self {
        Self { mode: SmallMode::default(), max_bytes: default_max_bytes() }
    }
}

impl Small {
    /// Whether nothing is said of it.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
