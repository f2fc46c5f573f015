//! `spec.steps`: several maps and reduces, each reading what the one before it has written.
//!
//! ```text
//!  input ──> steps[0] ── pairs ──> steps[1] ── pairs ──> … ──> last step ──> output
//! ```
//!
//! A job without `steps` is one step without a name: [`MapReduceJobSpec::phases`] gives both alike.

use serde::{Deserialize, Serialize};

use super::job::MapReduceJobSpec;
use super::phase::{Combine, Map, Reduce};

/// A map and a reduce of a chain of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(kube::KubeSchema))]
#[cfg_attr(feature = "crd", x_kube(
    validation = ("!has(self.combine) || (has(self.reduce) && has(self.reduce.__function__))",
                  "combine goes with a reduce function"),
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

/// What is done in one step.
#[derive(Clone, Copy, Debug)]
pub struct Phases<'a> {
    /// The step's name; none in a job without `steps`.
    pub name: Option<&'a str>,
    /// Its map phase.
    pub map: &'a Map,
    /// Its combine function.
    pub combine: Option<&'a Combine>,
    /// Its reduce phase.
    pub reduce: Option<&'a Reduce>,
}

impl MapReduceJobSpec {
    /// How many steps there are: one without `steps`.
    pub fn step_count(&self) -> usize {
        self.steps.len().max(1)
    }

    /// What is done in a step, by its number from 0. Past the end it is the last step.
    pub fn phases(&self, step: usize) -> Phases<'_> {
        match self.steps.get(step).or_else(|| self.steps.last()) {
            Some(step) => Phases {
                name: Some(&step.name),
                map: &step.map,
                combine: step.combine.as_ref(),
                reduce: step.reduce.as_ref(),
            },
            None => Phases {
                name: None,
                map: &self.map,
                combine: self.combine.as_ref(),
                reduce: self.reduce.as_ref(),
            },
        }
    }

    /// The job as if it had this step alone.
    #[must_use]
    pub fn of_step(&self, step: usize) -> Self {
        let Phases { map, combine, reduce, .. } = self.phases(step);
        let (map, combine, reduce) = (map.clone(), combine.cloned(), reduce.cloned());
        let rest =
            Self { map: Map::default(), combine: None, reduce: None, steps: Vec::new(), ..self.clone() };
        Self { map, combine, reduce, ..rest }
    }
}

impl Phases<'_> {
    /// Whether the step has no reduce phase.
    pub fn is_map_only(&self) -> bool {
        self.reduce.is_none_or(|reduce| reduce.tasks == Some(0))
    }

    /// The field of the manifest that these phases' fields are below, as `spec` or `spec.steps[2]`.
    pub fn path(spec: &MapReduceJobSpec, step: usize) -> String {
        if spec.steps.is_empty() { "spec".to_owned() } else { format!("spec.steps[{step}]") }
    }
}
