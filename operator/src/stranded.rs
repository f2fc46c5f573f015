//! Lets go of jobs that no operator looks after any more: deleted ones that were taken out of the label selector,
//! so that no watch shows them, while their finalizer holds them.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, ListParams};
use kube::core::PartialObjectMeta;
use kube::{Resource as _, ResourceExt as _};
use mapreduce_api::v1alpha1::MapReduceJob;

use crate::args::Watch;
use crate::context::Context;
use crate::job::events::Notice;
use crate::job::{FINALIZER, release_finalizer};
use crate::kube_ext;
use crate::metrics::Jobs;
use crate::time::signed;

/// How often it is looked for them.
const EVERY: Duration = Duration::from_mins(5);

/// Looks for stranded jobs for as long as it is polled; without a selector there can be none.
pub async fn release_all(context: &Arc<Context>, watch: &Watch, stores: &[Jobs]) {
    if watch.label_selector.is_none() {
        return std::future::pending().await;
    }
    loop {
        tokio::time::sleep(EVERY).await;
        if let Err(error) = release(context, watch, stores, Timestamp::now()).await {
            tracing::warn!("Stranded jobs could not be looked for: {error}");
        }
    }
}

/// One look. Another operator, whose selector has the job, gets its time first.
pub async fn release(
    context: &Context,
    watch: &Watch,
    stores: &[Jobs],
    now: Timestamp,
) -> Result<usize, kube::Error> {
    let known: HashSet<String> = stores.iter().flat_map(Jobs::state).filter_map(|job| job.uid()).collect();
    let patience = signed(context.limits.cleanup_timeout.saturating_mul(2) + EVERY);
    let mut released = 0;
    for namespace in watch.scopes() {
        let api: Api<PartialObjectMeta<MapReduceJob>> =
            kube_ext::scoped(&context.client, namespace.as_deref());
        let mut page = ListParams::default().limit(500);
        loop {
            let found = api.list_metadata(&page).await?;
            for job in &found.items {
                let held = job.finalizers().iter().any(|f| f == FINALIZER);
                let since = job.metadata.deletion_timestamp.as_ref().map(|t| now.duration_since(t.0));
                let stranded = held && since.is_some_and(|since| since > patience);
                if !stranded || job.uid().is_some_and(|uid| known.contains(&uid)) {
                    continue;
                }
                let note = "no operator's label selector has this deleted job: it is let go, and intermediate data may be left";
                release_finalizer(context, &job.metadata).await?;
                context
                    .events
                    .publish(&job.object_ref(&()), vec![Notice::warning("CleanupIncomplete", note)]);
                tracing::warn!(job = job.name_any(), namespace = job.namespace(), "{note}");
                released += 1;
            }
            match found.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => page = page.continue_token(&token),
                None => break,
            }
        }
    }
    Ok(released)
}
