//! `NAME-job`: the job's description, which every pod of it mounts.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::ObjectMeta;
use mapreduce_api::ids::JobId;
use mapreduce_api::wire::JobFile;

use super::{labels, names};
use crate::job::validate::ValidatedJob;

/// The key of the description.
pub const KEY: &str = "job.json";

/// The description of a job, as it was when its plan began: pods of one run must agree on the functions,
/// so a later edit of the job changes only how it is run (suspend, parallelism, deadlines, pods).
pub fn config_map(job: &ValidatedJob) -> Result<ConfigMap, serde_json::Error> {
    let file = JobFile { id: JobId::new(&job.uid), name: job.name.clone(), spec: job.spec.clone() };
    Ok(ConfigMap {
        metadata: ObjectMeta {
            name: Some(names::config_map(&job.name)),
            namespace: Some(job.namespace.clone()),
            labels: Some(labels::common(&job.name, &job.uid, None)),
            owner_references: Some(vec![job.owner.clone()]),
            ..ObjectMeta::default()
        },
        immutable: Some(true),
        data: Some(BTreeMap::from([(KEY.to_owned(), serde_json::to_string(&file)?)])),
        ..ConfigMap::default()
    })
}
