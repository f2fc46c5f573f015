//! Kueue's Workload of a Job: what holds a queued Job while its job is suspended.
//!
//! Kueue resumes a Job that it has admitted, whoever has suspended it. A Workload that isn't active it neither admits
//! nor keeps admitted: the Job is suspended by Kueue itself, with the tasks that are done.

use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, ResourceExt as _};
use mapreduce_api::v1alpha1::MapReduceJob;
use serde_json::json;

use super::observed::Workload;
use super::read_error::{ReadError, reading};
use crate::kube_ext::MANAGER;

/// Marks a Workload that this operator holds: what others hold stays held.
const HELD: &str = "mapreduce.dev/suspended";

fn api(client: &Client, job: &MapReduceJob) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("kueue.x-k8s.io", "v1beta1", "Workload");
    let namespace = job.namespace().unwrap_or_default();
    Api::namespaced_with(client.clone(), &namespace, &ApiResource::from_gvk_with_plural(&kind, "workloads"))
}

fn of(job_uid: &str) -> ListParams {
    ListParams::default().labels(&format!("kueue.x-k8s.io/job-uid={job_uid}"))
}

/// What there is to see of the Workload of a Job; unknown without Kueue, and without the right to read it.
pub async fn state(client: &Client, job: &MapReduceJob, job_uid: &str) -> Result<Workload, ReadError> {
    let found = match api(client, job).list(&of(job_uid)).await {
        Ok(found) => found.items,
        Err(kube::Error::Api(status)) if status.is_forbidden() || status.is_not_found() => Vec::new(),
        Err(e) => return Err(reading("workload")(e)),
    };
    Ok(found.first().map_or(Workload::Unknown, |workload| {
        let is_active = workload.data["spec"]["active"].as_bool().unwrap_or(true);
        if is_active {
            Workload::Active
        } else {
            Workload::Held { by_us: workload.annotations().contains_key(HELD) }
        }
    }))
}

/// Holds the Workload of a Job, or lets it go; whether that was allowed.
pub async fn hold(
    client: &Client,
    job: &MapReduceJob,
    job_uid: &str,
    hold: bool,
) -> Result<bool, kube::Error> {
    let api = api(client, job);
    let patch = json!({
        "metadata": {"annotations": {HELD: hold.then_some("true")}}, "spec": {"active": !hold},
    });
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    for workload in api.list(&of(job_uid)).await?.items {
        match api.patch(&workload.name_any(), &params, &Patch::Merge(&patch)).await {
            Err(kube::Error::Api(status)) if status.is_forbidden() => return Ok(false),
            // It has gone meanwhile.
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            patched => drop(patched?),
        }
    }
    Ok(true)
}
