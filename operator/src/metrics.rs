//! What the operator counts, in OpenMetrics. No label holds the name of a job or a namespace: their
//! number is not ours to bound.
//!
//! | metric | |
//! |---|---|
//! | `mapreduce_reconcile_seconds{outcome}` | passes over a job, by `ok` or the error's category |
//! | `mapreduce_jobs{phase}` | jobs as last seen; taken from the watch when it is asked for |
//! | `mapreduce_jobs_finished_total{result}` | jobs that have ended, by `Succeeded` or the reason of failure |
//! | `mapreduce_job_seconds{result}` | from the first to the last of a job, suspensions included |
//! | `mapreduce_start_latency_seconds` | from the resource's creation to the start of its plan |
//! | `mapreduce_phase_seconds{phase}` | how long phases took |
//! | `mapreduce_tasks_done_total{phase}` | tasks that are done |
//! | `mapreduce_attempts_failed_total{phase}` | attempts of tasks that have failed, not counting pods that the cluster ended |
//! | `mapreduce_child_jobs_total{phase}` | Jobs made |
//! | `mapreduce_queue_depth` | jobs that are due, and wait because enough others are looked at |
//! | `mapreduce_api_requests_total{verb,code}` | attempts of requests to the API server |
//! | `mapreduce_leader` | 1 while this replica works, 0 while it stands by |

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use kube::core::DeserializeGuard;
use kube::runtime::reflector::Store;
use mapreduce_api::v1alpha1::{JobPhase, MapReduceJob};
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::leader::claim::Claim;
use crate::request_count::RequestCount;

/// The jobs that a watch has delivered.
pub type Jobs = Store<DeserializeGuard<MapReduceJob>>;

/// A label.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Outcome {
    outcome: &'static str,
}

/// A label.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ByResult {
    result: String,
}

/// A label.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ByPhase {
    phase: &'static str,
}

/// All of it, and the registry that writes it out.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    reconcile: Family<Outcome, Histogram>,
    jobs: Family<ByPhase, Gauge>,
    finished: Family<ByResult, Counter>,
    duration: Family<ByResult, Histogram>,
    latency: Histogram,
    children: Family<ByPhase, Counter>,
    phases: Family<ByPhase, Histogram>,
    tasks: Family<ByPhase, Counter>,
    failed_attempts: Family<ByPhase, Counter>,
    queue_depth: Gauge,
    requests: RequestCount,
    leader: Gauge,
    claim: Claim,
    stores: Mutex<Vec<Jobs>>,
}

// A pass is a few requests of some milliseconds each; one that waits for a throttled API server takes seconds.
fn fast() -> Histogram {
    Histogram::new(exponential_buckets(0.002, 2.0, 14))
}

// From a second to about a day and a half.
fn slow() -> Histogram {
    Histogram::new(exponential_buckets(1.0, 2.0, 18))
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new(Claim::always())
    }
}

impl Metrics {
    /// Of the replica with this claim.
    pub fn new(claim: Claim) -> Self {
        let mut registry = Registry::with_prefix("mapreduce");
        let reconcile = Family::new_with_constructor(fast as fn() -> Histogram);
        let jobs = Family::default();
        let finished = Family::default();
        let duration = Family::new_with_constructor(slow as fn() -> Histogram);
        let latency = fast();
        let children = Family::default();
        let phases = Family::new_with_constructor(slow as fn() -> Histogram);
        let (tasks, failed_attempts) = (Family::default(), Family::default());
        let (leader, queue_depth) = (Gauge::default(), Gauge::default());
        let requests = RequestCount::default();
        registry.register("reconcile_seconds", "Passes over a job", reconcile.clone());
        registry.register("jobs", "Jobs by phase", jobs.clone());
        registry.register("jobs_finished", "Jobs that have ended", finished.clone());
        registry.register("job_seconds", "From a job's start to its end", duration.clone());
        registry.register(
            "start_latency_seconds",
            "From a job's creation to the start of its plan",
            latency.clone(),
        );
        registry.register("child_jobs", "Jobs made", children.clone());
        registry.register("phase_seconds", "From a phase's start to its end", phases.clone());
        registry.register("tasks_done", "Tasks that are done", tasks.clone());
        registry.register("attempts_failed", "Attempts of tasks that have failed", failed_attempts.clone());
        registry.register("queue_depth", "Jobs that are due and wait", queue_depth.clone());
        registry.register("api_requests", "Attempts of requests to the API server", requests.family());
        registry.register("leader", "Whether this replica works", leader.clone());
        let stores = Mutex::default();
        Self {
            registry,
            reconcile,
            jobs,
            finished,
            duration,
            latency,
            children,
            phases,
            tasks,
            failed_attempts,
            queue_depth,
            requests,
            leader,
            claim,
            stores,
        }
    }

    /// Counts the jobs of a watch too.
    pub fn watch(&self, jobs: Jobs) {
        self.stores.lock().unwrap_or_else(PoisonError::into_inner).push(jobs);
    }

    /// A pass has ended.
    pub fn reconciled(&self, started: Instant, outcome: &'static str) {
        self.reconcile.get_or_create(&Outcome { outcome }).observe(started.elapsed().as_secs_f64());
    }

    /// A job's plan is started this long after its creation.
    pub fn started(&self, latency_seconds: f64) {
        self.latency.observe(latency_seconds.max(0.0));
    }

    /// A Job was made.
    pub fn child_made(&self, phase: &'static str) {
        self.children.get_or_create(&ByPhase { phase }).inc();
    }

    /// A phase took so long.
    pub fn phase_ended(&self, phase: &'static str, seconds: f64) {
        self.phases.get_or_create(&ByPhase { phase }).observe(seconds.max(0.0));
    }

    /// So many more tasks of a phase are done.
    pub fn tasks_done(&self, phase: &'static str, more: i32) {
        self.tasks.get_or_create(&ByPhase { phase }).inc_by(u64::try_from(more).unwrap_or(0));
    }

    /// So many more attempts of tasks have failed.
    pub fn attempts_failed(&self, phase: &'static str, more: i32) {
        self.failed_attempts.get_or_create(&ByPhase { phase }).inc_by(u64::try_from(more).unwrap_or(0));
    }

    /// The gauge that shows how many jobs wait.
    pub fn queue_depth(&self) -> Gauge {
        self.queue_depth.clone()
    }

    /// What counts requests.
    pub fn requests(&self) -> RequestCount {
        self.requests.clone()
    }

    /// A job has ended.
    pub fn finished(&self, result: &str, seconds: f64) {
        let result = ByResult { result: result.to_owned() };
        self.finished.get_or_create(&result).inc();
        self.duration.get_or_create(&result).observe(seconds.max(0.0));
    }

    /// The text of all of it.
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        // Taken anew each time: a gauge that is moved up and down drifts when an event is missed.
        let mut counts = [0_i64; PHASES.len()];
        for store in self.stores.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            for job in store.state() {
                let phase = job
                    .0
                    .as_ref()
                    .ok()
                    .and_then(|job| job.status.as_ref()?.phase)
                    .unwrap_or(JobPhase::Pending);
                if let Some(i) = PHASES.iter().position(|(p, _)| *p == phase) {
                    counts[i] += 1;
                }
            }
        }
        for ((_, phase), n) in PHASES.iter().zip(counts) {
            self.jobs.get_or_create(&ByPhase { phase }).set(n);
        }
        self.leader.set(i64::from(self.claim.holds()));
        let mut out = String::new();
        text::encode(&mut out, &self.registry)?;
        Ok(out)
    }
}

const PHASES: [(JobPhase, &str); 6] = [
    (JobPhase::Pending, "Pending"),
    (JobPhase::Planning, "Planning"),
    (JobPhase::Mapping, "Mapping"),
    (JobPhase::Reducing, "Reducing"),
    (JobPhase::Succeeded, "Succeeded"),
    (JobPhase::Failed, "Failed"),
];

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use kube::core::DeserializeGuard;
    use kube::runtime::{reflector, watcher};
    use mapreduce_api::v1alpha1::MapReduceJob;

    use super::Metrics;

    #[test]
    fn metrics_are_written_as_openmetrics_with_their_prefix() {
        let metrics = Metrics::default();
        metrics.reconciled(Instant::now(), "ok");
        metrics.finished("Succeeded", 3.0);
        metrics.child_made("plan");
        let text = metrics.encode().unwrap();
        for line in [
            "mapreduce_reconcile_seconds_count{outcome=\"ok\"} 1",
            "mapreduce_jobs_finished_total{result=\"Succeeded\"} 1",
            "mapreduce_child_jobs_total{phase=\"plan\"} 1",
            "mapreduce_jobs{phase=\"Mapping\"} 0",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    fn job(name: &str, phase: &str) -> DeserializeGuard<MapReduceJob> {
        serde_json::from_value(serde_json::json!({
            "apiVersion": "mapreduce.dev/v1alpha1", "kind": "MapReduceJob", "metadata": {"name": name, "namespace": "ns"},
            "spec": {"input": {"urls": ["s3://b/"]}, "output": {"url": "s3://b/out/"}}, "status": {"phase": phase},
        }))
        .unwrap()
    }

    #[test]
    fn the_gauge_of_a_phase_falls_when_its_jobs_go_on_or_are_gone() {
        let (metrics, (jobs, mut watch)) = (Metrics::default(), reflector::store());
        metrics.watch(jobs);
        let says = |line: &str| {
            let text = metrics.encode().unwrap();
            assert!(text.contains(line), "{line} is not in\n{text}");
        };
        for name in ["a", "b"] {
            watch.apply_watcher_event(&watcher::Event::Apply(job(name, "Mapping")));
        }
        says("mapreduce_jobs{phase=\"Mapping\"} 2");
        watch.apply_watcher_event(&watcher::Event::Apply(job("a", "Reducing")));
        says("mapreduce_jobs{phase=\"Mapping\"} 1");
        watch.apply_watcher_event(&watcher::Event::Delete(job("b", "Mapping")));
        says("mapreduce_jobs{phase=\"Mapping\"} 0");
        says("mapreduce_jobs{phase=\"Reducing\"} 1");
    }
}
