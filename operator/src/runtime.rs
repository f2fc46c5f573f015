//! Wiring: client, one controller per watched namespace, the admin server, and the order of the end.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use futures::future::join_all;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use kube::core::DeserializeGuard;
use kube::runtime::controller::{Config as ControllerConfig, Controller, Error as ControllerError};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, ResourceExt as _};
use mapreduce_api::v1alpha1::MapReduceJob;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Admin};
use crate::api_client;
use crate::args::{Args, Watch};
use crate::child_objects::{ChildObject, ChildWatch};
use crate::context::Context;
use crate::job;
use crate::job::build::labels;
use crate::kube_ext;
use crate::leader::claim::Claim;
use crate::leader::{Election, ElectionEnd};
use crate::metrics::{Jobs, Metrics};
use crate::{orphans, stranded, telemetry};

/// Why this process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was told to.
    Told,
    /// Another replica leads, or may.
    LeaseLost,
}

/// What tells this process to end.
#[derive(Clone, Debug, Default)]
pub struct StopSignal {
    /// Passes under way are finished.
    pub soon: CancellationToken,
    /// They aren't.
    pub now: CancellationToken,
}

impl StopSignal {
    /// SIGTERM or SIGINT; a second one doesn't wait for passes under way.
    fn on_signals() -> anyhow::Result<Self> {
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let stop = Self::default();
        let Self { soon, now } = stop.clone();
        tokio::spawn(async move {
            for token in [soon, now] {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                token.cancel();
            }
        });
        Ok(stop)
    }
}

/// Runs until SIGTERM or SIGINT, or until the lease is lost.
pub async fn run(args: Args) -> anyhow::Result<Ended> {
    let filter = telemetry::init(&args.log).context("failed to start the log")?;
    let stop = StopSignal::on_signals()?;
    let claim = if args.election.leader_elect { Claim::none() } else { Claim::always() };
    let metrics = Arc::new(Metrics::new(claim.clone()));
    let requests = metrics.requests();
    let client = api_client::connect(&claim, &requests).await.context("failed to find the cluster")?;
    let election = if args.election.leader_elect {
        // With connections of its own: a renewal waits for no other request.
        let unfenced =
            api_client::connect(&Claim::always(), &requests).await.context("failed to find the cluster")?;
        Some(Election::new(unfenced, &args.election, claim)?)
    } else {
        None
    };
    let ready = Arc::new(AtomicBool::new(false));

    let listener =
        admin::listen(args.listen).await.with_context(|| format!("failed to listen on {}", args.listen))?;
    let context = Arc::new(Context::new(client, Arc::clone(&metrics), &args));
    let admin = Admin {
        metrics,
        ready: Arc::clone(&ready),
        watchdog: Arc::clone(&context.watchdog),
        filter: Some(filter),
    };
    let admin_stop = CancellationToken::new();
    let server = axum::serve(listener, admin::router(admin))
        .with_graceful_shutdown(admin_stop.clone().cancelled_owned())
        .into_future();
    let server = tokio::spawn(server);

    let ended = lead(&context, &args, election, &ready, &stop).await?;
    // Last of all, so that probes and metrics are there while passes are finished.
    admin_stop.cancel();
    if let Ok(served) = tokio::time::timeout(Duration::from_secs(1), server).await {
        served?.context("the admin server failed")?;
    }
    Ok(ended)
}

/// Stands by until this process leads, and works until it is told to stop or leads no more. Without an election it leads.
pub async fn lead(
    context: &Arc<Context>,
    args: &Args,
    election: Option<Election>,
    ready: &AtomicBool,
    stop: &StopSignal,
) -> anyhow::Result<Ended> {
    let Some(mut election) = election else {
        work(context, args, ready, stop).await?;
        return Ok(Ended::Told);
    };
    let acquired = election.acquire(|| ready.store(true, Ordering::Relaxed));
    if stop.soon.run_until_cancelled(acquired).await.is_none() {
        return Ok(Ended::Told);
    }
    ready.store(false, Ordering::Relaxed);
    let release = CancellationToken::new();
    // In a task of its own: whatever a pass does, the lease is renewed in time, or known to be lost.
    let leading = tokio::spawn(election.lead(release.clone()));
    let mut leading = std::pin::pin!(leading);
    tokio::select! {
        // First: after a pause of the whole process no pass goes on before it is known whose the lease is.
        biased;
        end = &mut leading => {
            // The passes under way are dropped with `work`, where they are.
            if let ElectionEnd::Lost(why) = end.context("the election has failed")? {
                tracing::error!("The lease is lost, and this process ends: {why}");
            }
            return Ok(Ended::LeaseLost);
        }
        worked = work(context, args, ready, stop) => worked?,
    }
    release.cancel();
    match leading.await.context("the election has failed")? {
        ElectionEnd::Released => Ok(Ended::Told),
        ElectionEnd::Lost(_) => Ok(Ended::LeaseLost),
    }
}

/// Runs the controllers until told to stop.
async fn work(
    context: &Arc<Context>,
    args: &Args,
    ready: &AtomicBool,
    stop: &StopSignal,
) -> anyhow::Result<()> {
    let (controllers, stores) = controllers(context, &args.watch, &stop.soon);
    let stranded = stranded::release_all(context, &args.watch, &stores);
    let orphans = orphans::end_all(context, &args.watch);
    let became_ready = async {
        join_all(stores.iter().map(Jobs::wait_until_ready)).await;
        ready.store(true, Ordering::Relaxed);
        tracing::info!("Ready.");
        std::future::pending::<()>().await;
    };

    let mut controllers = std::pin::pin!(controllers);
    let have_ended = tokio::select! {
        () = stop.soon.cancelled() => false,
        () = &mut controllers => true,
        () = became_ready => false,
        () = stranded => false,
        () = orphans => false,
    };
    anyhow::ensure!(stop.soon.is_cancelled(), "a watch has ended by itself");
    context.queue.close();
    tracing::info!("Stopping: passes under way are finished, no new ones are begun.");
    tokio::select! {
        () = &mut controllers, if !have_ended => {}
        () = std::future::ready(()), if have_ended => {}
        () = tokio::time::sleep(args.drain_timeout) => tracing::warn!("Passes under way took too long."),
        () = stop.now.cancelled() => tracing::warn!("Told to stop twice."),
    }
    // What was told last is what somebody looks for; a server that is away is not waited for.
    let _ = tokio::time::timeout(Duration::from_secs(2), context.events.flush()).await;
    Ok(())
}

/// One controller for each namespace, or one for all; and the jobs each has seen.
pub fn controllers(
    context: &Arc<Context>,
    watch: &Watch,
    stop: &CancellationToken,
) -> (impl Future<Output = ()> + use<>, Vec<Jobs>) {
    let mut stores = Vec::new();
    let mut running = Vec::new();
    for namespace in watch.scopes() {
        tracing::info!(namespace = namespace.as_deref().unwrap_or("*"), "Watching.");
        let (controller, store) = controller(context, namespace.as_deref(), watch, stop);
        context.metrics.watch(store.clone());
        stores.push(store);
        running.push(controller.boxed());
    }
    (join_all(running).map(|_| ()), stores)
}

/// The job that a child belongs to, by its label: an owner may have been taken away.
fn job_of(child: &ChildObject) -> Option<ObjectRef<DeserializeGuard<MapReduceJob>>> {
    let name = child.labels().get(labels::JOB)?;
    Some(ObjectRef::new(name).within(&child.namespace()?))
}

fn controller(
    context: &Arc<Context>,
    namespace: Option<&str>,
    watch: &Watch,
    stop: &CancellationToken,
) -> (impl Future<Output = ()> + use<>, Jobs) {
    // Guarded: an object that another version of the CRD let in must not stop the watch of all others.
    let jobs: Api<DeserializeGuard<MapReduceJob>> = kube_ext::scoped(&context.client, namespace);
    let children: Api<ChildObject> = kube_ext::scoped(&context.client, namespace);
    let mut watch_of_children = ChildWatch::new(Arc::clone(&context.children));
    let children = watcher(children, watcher::Config::default().labels(labels::OURS))
        .default_backoff()
        .inspect_ok(move |event| watch_of_children.follow(event))
        .touched_objects();
    let mut config = watcher::Config::default();
    if let Some(selector) = &watch.label_selector {
        config = config.labels(selector);
    }
    let controller = Controller::new(jobs, config)
        .watches_stream(children, |child| job_of(&child))
        // As many as there are: they wait in the context's queue, where it is seen how many do.
        .with_config(ControllerConfig::default().concurrency(0))
        .graceful_shutdown_on(stop.clone().cancelled_owned());
    let store = controller.store();
    let passes =
        controller.run(job::reconcile, job::error_policy, Arc::clone(context)).for_each(|pass| async {
            match pass {
                Ok((job, action)) => tracing::debug!(%job, ?action, "Passed."),
                // The last event of a deleted job.
                Err(ControllerError::ObjectNotFound(job)) => tracing::debug!(%job, "Gone."),
                Err(ControllerError::ReconcilerFailed(error, job)) => {
                    tracing::warn!(%job, category = error.category(), "Pass failed: {error}");
                }
                Err(error) => tracing::warn!("Watch failed, it is begun again: {error}"),
            }
        });
    (passes, store)
}
