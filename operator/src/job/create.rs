//! Makes a Job: first the revision that its pods mount.

use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt as _;
use kube::api::PropagationPolicy;
use kube::core::Status;
use mapreduce_api::v1alpha1::MapReduceJob;

use super::build::jobs::Size;
use super::build::names::Child;
use super::build::revision::{Revision, digest_in};
use super::build::{jobs, names};
use super::dereference;
use super::observed::{ChildState, Reason, Refusal};
use super::write_outcome::{WriteError, WriteOutcome, writing};
use crate::context::Context;
use crate::kube_ext::{self, CreateOutcome};

/// The revision before the Job whose pods mount it, for a job that was read at a time.
pub(super) async fn create(
    context: &Context,
    job: &MapReduceJob,
    read: Timestamp,
    child: Child,
    size: Size,
) -> Result<WriteOutcome, WriteError> {
    let revision = match revision_of(context, job, child).await? {
        Ok(revision) => revision,
        Err(written) => return Ok(written),
    };
    let deadline = match child {
        Child::Cleanup => Some(CLEANUP_DEADLINE.max(context.limits.cleanup_timeout)),
        Child::Report => Some(REPORT_DEADLINE),
        Child::Plan | Child::Map | Child::Reduce => None,
    };
    let Some(made) = jobs::job(job, &revision, child, size, deadline) else {
        let message = format!("ConfigMap {} has no pods of {child}", names::config_map(&job.name_any()));
        return Ok(impossible(child, Reason::RevisionLost, message));
    };
    if context.now().duration_since(read) > MAX_READ_AGE {
        return Ok(WriteOutcome::Stale);
    }
    if child == Child::Cleanup && job.metadata.deletion_timestamp.is_some() {
        let copy = revision.cleanup_config_map(job)?;
        match kube_ext::create(&context.api::<ConfigMap>(job), &copy).await {
            Ok(_) => {}
            Err(e) => return refused(context, job, e, child, "config"),
        }
    }
    match kube_ext::create(&context.api::<Job>(job), &made).await {
        Ok(CreateOutcome::New(_)) => {
            context.creations.made(&job.uid().unwrap_or_default(), &child.name_in(job), context.now());
            context.metrics.child_made(child.word());
            Ok(WriteOutcome::Child)
        }
        // Whose it is shows at the next look.
        Ok(CreateOutcome::Exists) => Ok(WriteOutcome::Child),
        Err(e) => refused(context, job, e, child, "child"),
    }
}

/// Nothing is made for a job that was read longer ago: a process that stood still goes on where it was, and the job may
/// be gone by then, with nobody to remove what a pod writes.
const MAX_READ_AGE: SignedDuration = SignedDuration::from_secs(30);

/// What a job waits for its report at most: its output stands meanwhile.
const REPORT_DEADLINE: Duration = Duration::from_mins(5);

/// A cleanup that hangs is ended after this time. One that can't begin is given up long before.
const CLEANUP_DEADLINE: Duration = Duration::from_hours(1);

/// The revision of the job's run, which is made where the run is about to begin. Else why there is none.
async fn revision_of(
    context: &Context,
    job: &MapReduceJob,
    child: Child,
) -> Result<Result<Revision, WriteOutcome>, WriteError> {
    let configs = context.api::<ConfigMap>(job);
    let name = names::config_map(&job.name_any());
    // What a job without a revision does is in its ConfigMap alone: an older operator has begun it.
    let recorded = job.status.as_ref().and_then(|status| status.revision.as_ref());
    let Some(found) = configs.get_opt(&name).await.map_err(writing("config"))? else {
        let revision = match Revision::new(job, &context.pods) {
            Ok(revision) => revision,
            Err(error) => return Ok(Err(impossible(child, Reason::InvalidSpec, error.to_string()))),
        };
        // What is to be removed is the same in all revisions.
        if child != Child::Cleanup && recorded.is_some_and(|recorded| *recorded != revision.digest()) {
            let message = format!(
                "ConfigMap {name} was deleted while the job ran, and the job has been changed since: what its \
                 run does is not known any more"
            );
            return Ok(Err(impossible(child, Reason::RevisionLost, message)));
        }
        return match kube_ext::create(&configs, &revision.config_map(job)?).await {
            Ok(CreateOutcome::New(_)) => Ok(Ok(revision)),
            // Whose it is shows at the next look.
            Ok(CreateOutcome::Exists) => Ok(Err(WriteOutcome::Child)),
            Err(e) => refused(context, job, e, child, "config").map(Err),
        };
    };
    let foreign = match dereference::owner(&found, job) {
        None if recorded.is_none_or(|recorded| *recorded == digest_in(&found)) => {
            return Ok(Revision::read(&found, job, &context.pods)
                .map_err(|error| impossible(child, Reason::RevisionLost, error.to_string())));
        }
        Some(ChildState::Leftover) => return Ok(Err(WriteOutcome::Later)),
        None | Some(ChildState::Orphan(_)) => false,
        Some(_) => true,
    };
    if foreign {
        let message = format!("there is a ConfigMap {name} that is not this job's: rename one of the two");
        return Ok(Err(impossible(child, Reason::NameTaken, message)));
    }
    // Of a revision that has not begun, or of an earlier job: the right one is made at the next look.
    let uid = found.uid().unwrap_or_default();
    let deleted = kube_ext::delete_opt(&configs, &name, &uid, PropagationPolicy::Background).await;
    deleted.map_err(writing("config"))?;
    Ok(Err(WriteOutcome::Later))
}

fn impossible(child: Child, reason: Reason, message: String) -> WriteOutcome {
    WriteOutcome::Refused(Refusal { child, permanent: Some(reason), message })
}

fn refused(
    context: &Context,
    job: &MapReduceJob,
    error: kube::Error,
    child: Child,
    what: &'static str,
) -> Result<WriteOutcome, WriteError> {
    let written = refusal(error, child, what)?;
    if matches!(written, WriteOutcome::Refused(_)) {
        context.creations.refused(&job.uid().unwrap_or_default(), &child.name_in(job), context.now());
    }
    Ok(written)
}

/// A refusal that is the job's own fault is told where its owner looks; all else is tried again.
fn refusal(error: kube::Error, child: Child, what: &'static str) -> Result<WriteOutcome, WriteError> {
    let kube::Error::Api(status) = error else { return Err(writing(what)(error)) };
    let object = if what == "config" { "the job's ConfigMap".to_owned() } else { format!("the {child} Job") };
    let message = |when: &str| format!("the API server refuses {object}{when}: {}", status.message);
    if kube_ext::is_namespace_terminating(&status) {
        Ok(WriteOutcome::NamespaceTerminating)
    } else if status.is_invalid() || status.code == TOO_LARGE {
        Ok(WriteOutcome::Refused(Refusal {
            child,
            permanent: Some(Reason::InvalidSpec),
            message: message(""),
        }))
    } else if is_denied(&status) {
        Ok(WriteOutcome::Refused(Refusal { child, permanent: None, message: message(" for now") }))
    } else {
        Err(writing(what)(kube::Error::Api(status)))
    }
}

/// Whether somebody has decided against the request, be it with an odd code, as admission webhooks may: nothing of
/// ours goes wrong by waiting and asking again.
fn is_denied(status: &Status) -> bool {
    let transient = status.is_conflict() || status.code == 429 || status.code == 408;
    (400..500).contains(&status.code) && !transient && status.code != 401
}

/// What the API server answers to a body of more than a few MiB.
const TOO_LARGE: u16 = 413;
