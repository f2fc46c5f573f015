//! A run's revision: what the run does, fixed when its planning begins.
//!
//! ```text
//!  NAME-job, immutable │ job.json   what the user wrote, as every pod reads it
//!                      │ pods.json  the pod template of each phase of each step, with the operator's defaults in it
//! ```
//!
//! All Jobs of a run are made from it, whatever becomes of the resource or of the operator's flags meanwhile. The
//! status has the digest of `job.json`, and so has each pod, which compares it with what it mounts.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, PodTemplateSpec};
use kube::ResourceExt as _;
use kube::api::ObjectMeta;
use mapreduce_api::ids::JobId;
use mapreduce_api::v1alpha1::{MapReduceJob, MapReduceJobSpec};
use mapreduce_api::wire::{self, JobFile};

use super::names::{Child, DESCRIPTION};
use super::pod_template::pod_template;
use super::{labels, names};
use crate::context::PodDefaults;
use crate::job::invalid::Invalid;
use crate::job::{steps, validate};

/// The key of the pod templates.
const PODS: &str = "pods.json";

/// What a run does.
#[derive(Clone, Debug)]
pub struct Revision {
    /// The description, as it is written.
    description: String,
    /// The same, read.
    pub file: JobFile,
    /// By the end of a Job's name.
    pods: BTreeMap<String, PodTemplateSpec>,
}

/// Why there is no revision.
#[derive(Debug, thiserror::Error)]
pub enum RevisionError {
    /// The job can't be run.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// It isn't JSON, or can't be written as such.
    #[error("ConfigMap {name} can't be read: {source}")]
    Json {
        /// The ConfigMap.
        name: String,
        /// Why.
        source: serde_json::Error,
    },
}

impl Revision {
    /// What a run does that is planned now.
    pub fn new(job: &MapReduceJob, defaults: &PodDefaults) -> Result<Self, RevisionError> {
        let description = describe(job).map_err(json_of(job))?;
        Self::of(job, description, defaults)
    }

    /// The revision that a ConfigMap holds. An older operator has left the pods out: their templates are made of
    /// the description.
    pub fn read(
        config: &ConfigMap,
        job: &MapReduceJob,
        defaults: &PodDefaults,
    ) -> Result<Self, RevisionError> {
        let text = |key: &str| config.data.as_ref().and_then(|data| data.get(key));
        let description = text(DESCRIPTION).cloned().unwrap_or_default();
        let Some(pods) = text(PODS) else { return Self::of(job, description, defaults) };
        let pods = serde_json::from_str(pods).map_err(json_of(job))?;
        let file = serde_json::from_str(&description).map_err(json_of(job))?;
        Ok(Self { description, file, pods })
    }

    fn of(job: &MapReduceJob, description: String, defaults: &PodDefaults) -> Result<Self, RevisionError> {
        let file: JobFile = serde_json::from_str(&description).map_err(json_of(job))?;
        let fixed = MapReduceJob { spec: file.spec.clone(), ..job.clone() };
        let mut pods = BTreeMap::new();
        for step in steps::all(&fixed.spec) {
            let valid = validate::parsed(&fixed, step)?;
            for child in Child::ALL {
                let key = child.end_of_name(step.number());
                pods.entry(key).or_insert_with(|| pod_template(&valid, child, defaults));
            }
        }
        Ok(Self { description, file, pods })
    }

    /// The name: the digest of the description.
    pub fn digest(&self) -> String {
        wire::digest(self.description.as_bytes())
    }

    /// What the pods of a Job are made from.
    pub fn pods(&self, child: Child, step: Option<i32>) -> Option<&PodTemplateSpec> {
        self.pods.get(&child.end_of_name(step))
    }

    /// A copy for the cleanup of a job that is being deleted. Nothing owns it, so the garbage collector leaves it: who
    /// lets the job go removes it.
    pub fn cleanup_config_map(&self, job: &MapReduceJob) -> Result<ConfigMap, serde_json::Error> {
        let mut copy = self.config_map(job)?;
        copy.metadata.name = Some(names::cleanup_config_map(&job.name_any()));
        copy.metadata.owner_references = None;
        Ok(copy)
    }

    /// The ConfigMap that holds it.
    pub fn config_map(&self, job: &MapReduceJob) -> Result<ConfigMap, serde_json::Error> {
        let name = job.name_any();
        Ok(ConfigMap {
            metadata: ObjectMeta {
                name: Some(names::config_map(&name)),
                namespace: job.namespace(),
                labels: Some(labels::common(&name, &job.uid().unwrap_or_default(), None)),
                owner_references: Some(vec![validate::owner(job)]),
                ..ObjectMeta::default()
            },
            immutable: Some(true),
            data: Some(BTreeMap::from([
                (DESCRIPTION.to_owned(), self.description.clone()),
                (PODS.to_owned(), serde_json::to_string(&self.pods)?),
            ])),
            ..ConfigMap::default()
        })
    }
}

/// The digest of what a ConfigMap says that a run does.
pub fn digest_in(config: &ConfigMap) -> String {
    let description = config.data.as_ref().and_then(|data| data.get(DESCRIPTION));
    wire::digest(description.map_or(b"", |text| text.as_bytes()))
}

/// The digest of what a run does that is planned now.
pub fn digest_of(job: &MapReduceJob) -> Result<String, serde_json::Error> {
    Ok(wire::digest(describe(job)?.as_bytes()))
}

/// What pods read: all but what concerns the operator alone, which may be changed while the job runs.
fn describe(job: &MapReduceJob) -> Result<String, serde_json::Error> {
    let spec = MapReduceJobSpec {
        suspend: false,
        active_deadline_seconds: None,
        pending_deadline_seconds: None,
        ttl_seconds_after_finished: None,
        ..job.spec.clone()
    };
    let id = JobId::new(job.uid().unwrap_or_default());
    serde_json::to_string(&JobFile { id, name: job.name_any(), spec })
}

fn json_of(job: &MapReduceJob) -> impl Fn(serde_json::Error) -> RevisionError {
    let name = names::config_map(&job.name_any());
    move |source| RevisionError::Json { name: name.clone(), source }
}
