//! `spec.small`: jobs that are not worth a pod for each task.

use serde::{Deserialize, Serialize};

use super::job::MapReduceJobSpec;
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

    /// Whether a job with so many bytes of input may run whole in a pod of its map phase. A reduce phase that asks for
    /// other pods gets them, and so do steps.
    pub fn takes(&self, spec: &MapReduceJobSpec, input_bytes: u64) -> bool {
        let same_pods = spec.reduce.as_ref().is_none_or(|reduce| {
            let map = &spec.map;
            (reduce.image.is_none() || reduce.image == map.image)
                && (reduce.resources.is_none() || reduce.resources == map.resources)
                && (reduce.service_account_name.is_none()
                    || reduce.service_account_name == map.service_account_name)
                && (reduce.template.is_none() || reduce.template == map.template)
        });
        self.mode == SmallMode::Auto && input_bytes <= self.max_bytes.0 && spec.steps.is_empty() && same_pods
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
            spec.small.takes(&spec, bytes)
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
