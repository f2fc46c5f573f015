//! Makes one write.

use std::fmt::Debug;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, Patch, PatchParams, PropagationPolicy};
use kube::core::NamespaceResourceScope;
use kube::{Resource, ResourceExt as _};
use mapreduce_api::v1alpha1::{MapReduceJob, MapReduceJobStatus};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::build::names::Child;
use super::build::{labels, names};
use super::create::create;
use super::decision::{ApiWrite, Change};
use super::events::{Notice, of_change};
use super::measures::measure;
use super::observed::LostPod;
use super::write_outcome::{WriteError, WriteOutcome, writing};
use super::{FINALIZER, dereference, workloads};
use crate::context::Context;
use crate::kube_ext;

/// Makes one write for a job that was read at a time.
pub async fn apply(
    context: &Context,
    job: &MapReduceJob,
    read: Timestamp,
    write: ApiWrite,
) -> Result<WriteOutcome, WriteError> {
    match write {
        ApiWrite::Rest => Ok(WriteOutcome::Child),
        ApiWrite::AddFinalizer => {
            let mut finalizers = job.finalizers().to_vec();
            finalizers.push(FINALIZER.to_owned());
            set_finalizers(context, job, &finalizers).await
        }
        ApiWrite::RemoveFinalizer(note) => {
            if job.metadata.deletion_timestamp.is_some() {
                remove_own_cleanup(context, job).await?;
            }
            let others: Vec<String> = job.finalizers().iter().filter(|f| *f != FINALIZER).cloned().collect();
            let written = set_finalizers(context, job, &others).await;
            // It may be removed where the answer is lost, and then no other pass tells: rather twice than never.
            if let (Ok(WriteOutcome::Job(_) | WriteOutcome::Gone) | Err(_), Some(note)) = (&written, note) {
                publish(context, job, vec![Notice::warning("CleanupIncomplete", note)]);
            }
            written
        }
        ApiWrite::Record(status) => record(context, job, &status).await,
        ApiWrite::Create(child, size) => create(context, job, read, child, size).await,
        ApiWrite::Patch(child, uid, change) => {
            let api = context.api::<Job>(job);
            let mut patch = json!({"metadata": {"uid": uid}, "spec": fields(change)});
            if change.labels {
                patch["metadata"]["labels"] =
                    json!(labels::common(&job.name_any(), &job.uid().unwrap_or_default(), Some(child)));
            }
            match kube_ext::patch_opt(&api, &child.name_in(job), &patch).await {
                // Another job's Job has the name by now.
                Err(kube::Error::Api(status)) if status.is_conflict() || status.is_invalid() => {
                    Ok(WriteOutcome::Later)
                }
                patched => patched.map(|_| WriteOutcome::Child).map_err(writing("child")),
            }
        }
        ApiWrite::Hold(child, uid, hold) => {
            let is_allowed =
                workloads::hold(&context.client, job, &uid, hold).await.map_err(writing("workload"))?;
            // Without that right its Job goes; tasks that are done are skipped when it is made again.
            if hold && !is_allowed {
                let (api, name) = (context.api::<Job>(job), child.name_in(job));
                let deleted = kube_ext::delete_opt(&api, &name, &uid, PropagationPolicy::Foreground).await;
                deleted.map_err(writing("child"))?;
            }
            Ok(if is_allowed { WriteOutcome::Child } else { WriteOutcome::Later })
        }
        ApiWrite::Delete(child, uid) => {
            let (api, name) = (context.api::<Job>(job), child.name_in(job));
            // Foreground: the Job is there as long as any of its pods is.
            let deleted = kube_ext::delete_opt(&api, &name, &uid, PropagationPolicy::Foreground).await;
            deleted.map_err(writing("child"))?;
            Ok(WriteOutcome::Child)
        }
        ApiWrite::DeleteOrphan(child, uid) => delete_orphan(context, job, child, &uid).await,
        ApiWrite::RemovePods(lost) => {
            for pod in lost {
                remove_lost_pod(context, job, &pod).await?;
            }
            Ok(WriteOutcome::Child)
        }
        ApiWrite::DeleteSelf => {
            let (api, name, uid) =
                (context.api::<MapReduceJob>(job), job.name_any(), job.uid().unwrap_or_default());
            let deleted = kube_ext::delete_opt(&api, &name, &uid, PropagationPolicy::Background).await;
            deleted.map_err(writing("job"))?;
            Ok(WriteOutcome::Gone)
        }
    }
}

fn publish(context: &Context, job: &MapReduceJob, notices: Vec<Notice>) {
    context.events.publish(&job.object_ref(&()), notices);
}

/// The Job of an earlier job of this name that nobody owns any more. Its pods end with it.
async fn delete_orphan(
    context: &Context,
    job: &MapReduceJob,
    child: Child,
    uid: &str,
) -> Result<WriteOutcome, WriteError> {
    let name = child.name_in(job);
    kube_ext::delete_opt(&context.api::<Job>(job), &name, uid, PropagationPolicy::Foreground)
        .await
        .map_err(writing("child"))?;
    let note =
        format!("Job {name} of an earlier job of this name, deleted with --cascade=orphan, is removed");
    publish(context, job, vec![Notice::normal("OrphanRemoved", note)]);
    Ok(WriteOutcome::Later)
}

/// What Kubernetes itself does with a pod whose Node object is gone: it has failed, by no fault of its own, and then
/// it isn't there any more.
async fn remove_lost_pod(context: &Context, job: &MapReduceJob, lost: &LostPod) -> Result<(), WriteError> {
    let api: Api<Pod> = context.api(job);
    let note = format!("pod {} is removed: its node {} doesn't answer any more", lost.name, lost.node);
    let status = json!({"metadata": {"uid": lost.uid}, "status": {"phase": "Failed", "conditions": [{
        "type": "DisruptionTarget", "status": "True", "reason": "LostNode", "message": note,
        "lastTransitionTime": context.now().to_string(),
    }]}});
    match api.patch_status(&lost.name, &PatchParams::default(), &Patch::Strategic(status)).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => return Ok(()),
        Err(e) => return Err(writing("pod")(e)),
    }
    kube_ext::delete_now_opt(&api, &lost.name, &lost.uid).await.map_err(writing("pod"))?;
    publish(context, job, vec![Notice::warning("NodeLost", note)]);
    Ok(())
}

/// The cleanup of a job that is let go, with what it read, as far as they are there: nobody else removes them.
async fn remove_own_cleanup(context: &Context, job: &MapReduceJob) -> Result<(), WriteError> {
    let (child, config) = (Child::Cleanup.name_in(job), names::cleanup_config_map(&job.name_any()));
    remove_own::<Job>(context, job, &child).await.map_err(writing("child"))?;
    remove_own::<ConfigMap>(context, job, &config).await.map_err(writing("config"))
}

/// Deletes the object of this name if it is the job's.
async fn remove_own<K>(context: &Context, job: &MapReduceJob, name: &str) -> Result<(), kube::Error>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType: Default> + Clone + DeserializeOwned + Debug,
{
    let api: Api<K> = context.api(job);
    match api.get_opt(name).await? {
        Some(found) if dereference::owner(&found, job).is_none() => {
            let uid = found.uid().unwrap_or_default();
            kube_ext::delete_opt(&api, name, &uid, PropagationPolicy::Background).await
        }
        _ => Ok(()),
    }
}

fn fields(change: Change) -> Map<String, Value> {
    let suspend = change.suspend.map(|s| ("suspend".to_owned(), json!(s)));
    let parallelism = change.parallelism.map(|p| ("parallelism".to_owned(), json!(p)));
    let deadline = change.deadline.map(|d| ("activeDeadlineSeconds".to_owned(), json!(d)));
    suspend.into_iter().chain(parallelism).chain(deadline).collect()
}

/// With the version that the list was computed from: another's finalizer must not be lost.
async fn set_finalizers(
    context: &Context,
    job: &MapReduceJob,
    finalizers: &[String],
) -> Result<WriteOutcome, WriteError> {
    let patch = json!({
        "metadata": {"resourceVersion": job.resource_version(), "uid": job.uid(), "finalizers": finalizers}
    });
    match kube_ext::patch_opt(&context.api::<MapReduceJob>(job), &job.name_any(), &patch).await {
        Ok(Some(job)) => Ok(WriteOutcome::Job(Box::new(job))),
        Ok(None) => Ok(WriteOutcome::Gone),
        Err(kube::Error::Api(status)) if status.is_conflict() => Ok(WriteOutcome::Stale),
        Err(e) => Err(writing("finalizer")(e)),
    }
}

/// With the version that the status was computed from: of two operators, or of a pass that has seen an
/// old state, only one moves a job forward.
async fn record(
    context: &Context,
    job: &MapReduceJob,
    status: &MapReduceJobStatus,
) -> Result<WriteOutcome, WriteError> {
    let patch = json!({
        "apiVersion": MapReduceJob::api_version(&()),
        "kind": MapReduceJob::kind(&()),
        "metadata": {"name": job.name_any(), "resourceVersion": job.resource_version(), "uid": job.uid()},
        "status": status,
    });
    match kube_ext::apply_status(&context.api::<MapReduceJob>(job), &job.name_any(), &patch).await {
        Ok(new) => {
            let old = job.status.clone().unwrap_or_default();
            measure(&context.metrics, job, &old, status, context.now());
            publish(context, job, of_change(&old, status));
            Ok(WriteOutcome::Job(Box::new(new)))
        }
        Err(kube::Error::Api(status)) if status.is_conflict() => Ok(WriteOutcome::Stale),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(WriteOutcome::Gone),
        Err(e) => Err(writing("status")(e)),
    }
}
