//! Ends Jobs that an orphaning deletion of their job has left in a namespace which is being deleted.
//!
//! Kubernetes deletes the pods of such a namespace first, and nothing else before they are gone. A Job with
//! `backoffLimitPerIndex` keeps a pod that has failed until there is another for its task, which can't be made there.
//! Of jobs that are still there a pass ends the Jobs; of those that are gone nobody would.

use std::collections::HashMap;
use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use kube::api::{Api, ListParams, PropagationPolicy};
use kube::core::PartialObjectMeta;
use kube::{Client, ResourceExt as _};
use mapreduce_api::v1alpha1::MapReduceJob;

use crate::args::Watch;
use crate::context::Context;
use crate::job::build::labels;
use crate::job::dereference::is_terminating;
use crate::job::read_error::ReadError;
use crate::kube_ext::{self, controller_of};

/// How often it is looked for them.
pub const EVERY: Duration = Duration::from_mins(5);

/// Looks for orphans for as long as it is polled.
pub async fn end_all(context: &Context, watch: &Watch) {
    loop {
        tokio::time::sleep(EVERY).await;
        if let Err(error) = end(context, watch).await {
            tracing::warn!("Orphans in namespaces that are being deleted could not be ended: {error}");
        }
    }
}

/// What has kept a look from its end.
#[derive(Debug, thiserror::Error)]
pub enum OrphansError {
    /// The API server, or the way to it.
    #[error(transparent)]
    Kube(#[from] kube::Error),
    /// The same, of a namespace.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// One look; how many were ended.
pub async fn end(context: &Context, watch: &Watch) -> Result<usize, OrphansError> {
    let mut ended = 0;
    let mut terminating: HashMap<String, bool> = HashMap::new();
    for scope in watch.scopes() {
        let api: Api<Job> = kube_ext::scoped(&context.client, scope.as_deref());
        let mut page = ListParams::default().labels(labels::JOB_UID).limit(500);
        loop {
            let found = api.list_metadata(&page).await?;
            for child in &found.items {
                let Some(namespace) = child.namespace() else { continue };
                if child.metadata.deletion_timestamp.is_some() || controller_of(child).is_some() {
                    continue;
                }
                let goes = match terminating.get(&namespace) {
                    Some(goes) => *goes,
                    None => is_terminating(&context.client, &namespace, &child.name_any()).await?,
                };
                terminating.insert(namespace.clone(), goes);
                if goes && !has_job(&context.client, &namespace, child).await? {
                    let jobs: Api<Job> = Api::namespaced(context.client.clone(), &namespace);
                    let (name, uid) = (child.name_any(), child.uid().unwrap_or_default());
                    kube_ext::delete_opt(&jobs, &name, &uid, PropagationPolicy::Background).await?;
                    tracing::info!(job = name, namespace, "Ended: its job and its namespace are deleted.");
                    ended += 1;
                }
            }
            match found.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => page = page.continue_token(&token),
                None => break,
            }
        }
    }
    Ok(ended)
}

/// Whether the job that a Job was made for is still there.
async fn has_job(
    client: &Client,
    namespace: &str,
    child: &PartialObjectMeta<Job>,
) -> Result<bool, kube::Error> {
    let label = |name: &str| child.labels().get(name);
    let Some(name) = label(labels::JOB) else { return Ok(false) };
    let jobs: Api<MapReduceJob> = Api::namespaced(client.clone(), namespace);
    let job = jobs.get_metadata_opt(name).await?;
    Ok(job.is_some_and(|job| job.uid().as_ref() == label(labels::JOB_UID)))
}
