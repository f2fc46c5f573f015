//! `spec.steps`: several maps and reduces, each reading what the one before it has written.
//!
//! ```text
//!  input ──> steps[0] ── pairs ──> steps[1] ── pairs ──> … ──> last step ──> output
//! ```
//!
//! A job without `steps` is one step without a name: `MapReduceJobSpec::phases` gives both alike.

use serde::{Deserialize, Serialize};

use super::phase::{Combine, Map, Reduce};

/// A map and a reduce of a chain of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(kube::KubeSchema))]
#[cfg_attr(feature = "crd", x_kube(
    validation = ("!has(self.combine) || (has(self.reduce) && has(self.reduce.__function__))",
                  "combine requires reduce.function"),
    validation = (crate::v1alpha1::combine::RULE, crate::v1alpha1::combine::RULE_MESSAGE),
))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Step {
    /// What the step is called: a DNS label that no other step has.
    #[cfg_attr(
        feature = "crd",
        schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))
    )]
    pub name: String,

    /// The step's map phase. After the first step its input is the pairs of the step before.
    #[serde(default, skip_serializing_if = "Map::is_default")]
    pub map: Map,

    /// A function applied to the step's map output before it is shuffled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub combine: Option<Combine>,

    /// The step's reduce phase; when absent the step is map-only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reduce: Option<Reduce>,
}
