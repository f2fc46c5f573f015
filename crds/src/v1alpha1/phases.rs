//! What a job does step by step, and whether it is worth a pod for each task: what is read out of several fields of
//! [`MapReduceJobSpec`] together.

use super::job::MapReduceJobSpec;
use super::phase::{Combine, Map, Reduce};
use super::small::{Small, SmallMode};

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

    /// Whether the job, or its last step, has no reduce phase: a part per map task, in the order the map
    /// emitted.
    pub fn is_map_only(&self) -> bool {
        self.phases(usize::MAX).is_map_only()
    }

    /// Whether so much input is small, and the job may run whole in a pod of its map phase. A reduce phase that asks
    /// for other pods gets them, and so do steps.
    pub fn is_small(&self, input_bytes: u64) -> bool {
        let same_pods = self.reduce.as_ref().is_none_or(|reduce| {
            let map = &self.map;
            (reduce.image.is_none() || reduce.image == map.image)
                && (reduce.resources.is_none() || reduce.resources == map.resources)
                && (reduce.service_account_name.is_none()
                    || reduce.service_account_name == map.service_account_name)
                && (reduce.template.is_none() || reduce.template == map.template)
        });
        let Small { mode, max_bytes } = &self.small;
        *mode == SmallMode::Auto && input_bytes <= max_bytes.0 && self.steps.is_empty() && same_pods
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::v1alpha1::MapReduceJobSpec;

    #[test]
    fn a_job_is_small_by_its_input_unless_it_asks_for_other_pods() {
        let takes = |more: serde_json::Value, bytes| {
            let mut spec =
                json!({"input": {"urls": ["s3://b/in/"]}, "output": {"url": "s3://b/out/"}, "reduce": {}});
            spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let spec: MapReduceJobSpec = serde_json::from_value(spec).unwrap();
            spec.is_small(bytes)
        };
        assert!(takes(json!({}), 64 << 20));
        assert!(!takes(json!({}), (64 << 20) + 1));
        assert!(!takes(json!({"small": {"mode": "Never"}}), 1));
        assert!(takes(json!({"small": {"maxBytes": "1Gi"}}), 1 << 30));
        assert!(!takes(json!({"reduce": {"image": "theirs:1"}}), 1));
        assert!(takes(json!({"map": {"image": "theirs:1"}, "reduce": {"image": "theirs:1"}}), 1));
        assert!(!takes(json!({"reduce": {"resources": {"limits": {"memory": "8Gi"}}}}), 1));
    }
}
