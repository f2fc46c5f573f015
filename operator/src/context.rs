//! What every pass over a job has at hand.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::jiff::Timestamp;
use kube::api::Api;
use kube::core::NamespaceResourceScope;
use kube::{Client, Resource, ResourceExt as _};
use mapreduce_api::v1alpha1::MapReduceJob;

use crate::args::{Args, Worker};
use crate::backoff::{Backoff, PodPolls, ServerLooks, StatusPace};
use crate::child_objects::ChildCache;
use crate::creations::Creations;
use crate::event_publisher::EventPublisher;
use crate::metrics::Metrics;
use crate::queue::Queue;
use crate::watchdog::Watchdog;

/// Shared by all passes.
#[derive(Clone)]
pub struct Context {
    /// The API server.
    pub client: Client,
    /// Where events are left.
    pub events: EventPublisher,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// What pods are made of where the job doesn't say.
    pub pods: PodDefaults,
    /// Times and numbers that decisions depend on.
    pub limits: Limits,
    /// Waits after failed passes.
    pub backoff: Arc<Backoff>,
    /// Jobs that wait for a pass.
    pub queue: Arc<Queue>,
    /// When statuses were written.
    pub status_pace: Arc<StatusPace>,
    /// When pods are looked at.
    pub polls: Arc<PodPolls>,
    /// When jobs were read.
    pub looks: Arc<ServerLooks>,
    /// The Jobs that watches have shown.
    pub children: Arc<ChildCache>,
    /// How often children were made.
    pub creations: Arc<Creations>,
    /// Passes under way.
    pub watchdog: Arc<Watchdog>,
    /// What tells the time: decisions depend on it, so a test may have one of its own.
    pub clock: fn() -> Timestamp,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("pods", &self.pods)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// Times and numbers that decisions depend on.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long a deleted or failed job waits, without any progress, for its intermediate data to be removed.
    pub cleanup_timeout: Duration,
    /// How long after it should have ended a pod on a lost node is removed by force.
    pub lost_node_timeout: Duration,
    /// How long a pod may be starting before the reason is sought.
    pub start_grace: Duration,
    /// Most pods of a phase at once, where the job doesn't say.
    pub default_parallelism: i32,
}

/// What pods are made of where the job doesn't say.
#[derive(Clone, Debug)]
pub struct PodDefaults {
    /// The worker's image.
    pub image: String,
    /// When it is pulled.
    pub image_pull_policy: String,
    /// Secrets it is pulled with.
    pub image_pull_secrets: Vec<String>,
    /// The ServiceAccount; the namespace's `default` when absent.
    pub service_account: Option<String>,
    /// Of the worker container.
    pub resources: ResourceRequirements,
    /// How long a node may be silent before its pods are replaced.
    pub lost_node_timeout: Duration,
}

impl PodDefaults {
    fn new(flags: Worker, lost_node_timeout: Duration) -> Self {
        Self {
            lost_node_timeout,
            image: flags.worker_image,
            image_pull_policy: flags.worker_image_pull_policy,
            image_pull_secrets: flags.worker_image_pull_secret,
            service_account: flags.worker_service_account.filter(|name| !name.is_empty()),
            resources: flags.worker_resources,
        }
    }
}

impl Context {
    /// Objects of a kind in the job's namespace.
    pub fn api<K>(&self, job: &MapReduceJob) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType: Default>,
    {
        Api::namespaced(self.client.clone(), &job.namespace().unwrap_or_default())
    }

    /// Forgets what was kept of a job that has ended.
    pub fn forget(&self, uid: &str) {
        self.polls.ended(uid);
        self.status_pace.forget(uid);
        self.looks.ended(uid);
        self.creations.forget(uid);
    }

    /// A context over this client.
    pub fn new(client: Client, metrics: Arc<Metrics>, args: &Args) -> Self {
        Self {
            events: EventPublisher::start(client.clone()),
            client,
            queue: Arc::new(Queue::new(usize::from(args.concurrency), metrics.queue_depth())),
            metrics,
            pods: PodDefaults::new(args.worker.clone(), args.lost_node_timeout),
            limits: Limits {
                cleanup_timeout: args.cleanup_timeout,
                lost_node_timeout: args.lost_node_timeout,
                start_grace: args.start_grace,
                default_parallelism: args.worker.default_parallelism,
            },
            backoff: Arc::new(Backoff::new(Duration::from_millis(500), Duration::from_mins(1))),
            status_pace: Arc::default(),
            polls: Arc::default(),
            looks: Arc::default(),
            children: Arc::default(),
            creations: Arc::default(),
            watchdog: Arc::default(),
            clock: Timestamp::now,
        }
    }

    /// The time, as precise as it is stored.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_second((self.clock)().as_second()).unwrap_or_default()
    }
}
