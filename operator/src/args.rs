//! The operator's flags. Each can be set by an environment variable too.

use std::net::SocketAddr;
use std::time::Duration;

use k8s_openapi::api::core::v1::ResourceRequirements;

/// Runs MapReduceJobs.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "mapreduce-operator", version)]
pub struct Args {
    /// What is watched.
    #[command(flatten)]
    pub watch: Watch,
    /// What a job's pods are made of.
    #[command(flatten)]
    pub worker: Worker,
    /// Which of several replicas works.
    #[command(flatten)]
    pub election: LeaderElection,
    /// What is written where.
    #[command(flatten)]
    pub log: Log,

    /// Address of /livez, /readyz, /metrics and /log-filter. The default is all of IPv6 and IPv4, or what there is of them.
    #[arg(long, env = "LISTEN", default_value = "[::]:8080")]
    pub listen: SocketAddr,

    /// How long a job that was deleted or has failed waits, without any progress, for its intermediate data to
    /// be removed.
    #[arg(long, env = "CLEANUP_TIMEOUT", default_value = "120s", value_parser = duration)]
    pub cleanup_timeout: Duration,

    /// How long after it should have ended a pod on a node that is lost is removed by force.
    #[arg(long, env = "LOST_NODE_TIMEOUT", default_value = "60s", value_parser = duration)]
    pub lost_node_timeout: Duration,

    /// How long a pod may be starting before the reason is sought and shown.
    #[arg(long, env = "START_GRACE", default_value = "15s", value_parser = duration)]
    pub start_grace: Duration,

    /// How long to wait for passes under way at SIGTERM.
    #[arg(long, env = "DRAIN_TIMEOUT", default_value = "20s", value_parser = duration)]
    pub drain_timeout: Duration,

    /// Most jobs reconciled at once.
    #[arg(long, env = "CONCURRENCY", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    pub concurrency: u16,
}

/// What is watched.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Watch {
    /// A namespace whose jobs are run; may be given several times, or separated by commas. All when absent.
    #[arg(long = "namespace", env = "WATCH_NAMESPACES", value_delimiter = ',')]
    pub namespaces: Vec<String>,

    /// Run only the jobs that match this label selector.
    #[arg(long, env = "LABEL_SELECTOR")]
    pub label_selector: Option<String>,
}

impl Watch {
    /// The namespaces, or `None` alone for all of them.
    pub fn scopes(&self) -> Vec<Option<String>> {
        let named: Vec<_> = self.namespaces.iter().filter(|n| !n.is_empty()).cloned().map(Some).collect();
        if named.is_empty() { vec![None] } else { named }
    }
}

/// Which of several replicas works.
#[derive(Clone, Debug, clap::Args)]
pub struct LeaderElection {
    /// Work only while this process holds a Lease: of several replicas one works, and the others stand by. One that
    /// loses the lease ends with exit code 3.
    #[arg(long, env = "LEADER_ELECT")]
    pub leader_elect: bool,

    /// The Lease's name.
    #[arg(long, env = "LEASE_NAME", default_value = "mapreduce-operator")]
    pub lease_name: String,

    /// The Lease's namespace; the pod's own when absent.
    #[arg(long, env = "LEASE_NAMESPACE")]
    pub lease_namespace: Option<String>,

    /// What the holder's name in the Lease begins with; the rest of it is new for each process.
    #[arg(long = "lease-identity", env = "POD_NAME", default_value = "")]
    pub identity: String,

    /// How long standbys wait after the leader's last renewal until one of them takes the lease: whole seconds.
    #[arg(long, env = "LEASE_DURATION", default_value = "15s", value_parser = duration)]
    pub lease_duration: Duration,

    /// How long after its last renewal a leader ends, if it can't renew: at most four fifths of the lease's duration.
    #[arg(long, env = "RENEW_DEADLINE", default_value = "10s", value_parser = duration)]
    pub renew_deadline: Duration,

    /// How often standbys look at the lease, and a leader tries again to renew it; it renews it at each third of the
    /// deadline.
    #[arg(long, env = "RETRY_PERIOD", default_value = "2s", value_parser = duration)]
    pub retry_period: Duration,
}

/// What a job's pods are made of, where the job doesn't say.
#[derive(Clone, Debug, clap::Args)]
pub struct Worker {
    /// The worker's image.
    #[arg(long, env = "WORKER_IMAGE")]
    pub worker_image: String,

    /// When that image is pulled: Always, IfNotPresent or Never.
    #[arg(long, env = "WORKER_IMAGE_PULL_POLICY", default_value = "IfNotPresent")]
    pub worker_image_pull_policy: String,

    /// A Secret of the job's namespace that images are pulled with; may be given several times.
    #[arg(long, env = "WORKER_IMAGE_PULL_SECRETS", value_delimiter = ',')]
    pub worker_image_pull_secret: Vec<String>,

    /// The ServiceAccount of pods; the namespace's `default` when absent.
    #[arg(long, env = "WORKER_SERVICE_ACCOUNT")]
    pub worker_service_account: Option<String>,

    /// Requests and limits of the worker container, as JSON. A quota on `limits.cpu` takes no pod without one.
    #[arg(
        long,
        env = "WORKER_RESOURCES",
        default_value = r#"{"requests":{"cpu":"100m","memory":"256Mi"},"limits":{"cpu":"4","memory":"1Gi"}}"#,
        value_parser = resources,
    )]
    pub worker_resources: ResourceRequirements,

    /// Most pods of a phase at once.
    #[arg(long, env = "DEFAULT_PARALLELISM", default_value_t = 100, value_parser = clap::value_parser!(i32).range(1..=10_000))]
    pub default_parallelism: i32,
}

/// What is written where.
#[derive(Clone, Debug, clap::Args)]
pub struct Log {
    /// A filter as in `info,kube=warn`; `PUT /log-filter` changes it while the operator runs.
    #[arg(long, env = "LOG_FILTER", default_value = "info")]
    pub log_filter: String,

    /// The format of the log.
    #[arg(long, env = "LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

/// The format of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The longest time that is taken: time arithmetic with it can't overflow.
const MAX_DURATION: Duration = Duration::from_hours(10 * 365 * 24);

/// `90`, `90s`, `2m`, `1h` or `500ms`.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 =
        number.parse().map_err(|_| format!("`{text}` is not a duration: write 90s, 2m or 1h"))?;
    let duration = match unit {
        "ms" => Duration::from_millis(number),
        "" | "s" => Duration::from_secs(number),
        "m" => Duration::from_secs(number.saturating_mul(60)),
        "h" => Duration::from_secs(number.saturating_mul(3600)),
        _ => return Err(format!("`{unit}` is not a unit of time: write 90s, 2m or 1h")),
    };
    if duration > MAX_DURATION { Err(format!("`{text}` is longer than ten years")) } else { Ok(duration) }
}

fn resources(text: &str) -> Result<ResourceRequirements, String> {
    serde_json::from_str(text).map_err(|e| format!("no resources of a container: {e}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::Parser as _;

    use super::{Args, duration};

    #[test]
    fn the_worker_image_is_all_that_has_to_be_given() {
        let args = Args::try_parse_from(["mapreduce-operator", "--worker-image", "worker:1"]).unwrap();
        assert!(args.watch.namespaces.is_empty());
        assert_eq!(args.cleanup_timeout, Duration::from_mins(2));
        assert_eq!(
            serde_json::to_value(&args.worker.worker_resources).unwrap(),
            serde_json::json!({"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"cpu": "4", "memory": "1Gi"}})
        );
    }

    #[test]
    fn namespaces_may_be_repeated_or_separated_by_commas() {
        let args = ["mapreduce-operator", "--worker-image=w", "--namespace=a,b", "--namespace=c"];
        assert_eq!(Args::try_parse_from(args).unwrap().watch.namespaces, ["a", "b", "c"]);
    }

    #[test]
    fn a_duration_has_a_unit() {
        for (text, millis) in
            [("90", 90_000), ("300s", 300_000), ("2m", 120_000), ("1h", 3_600_000), ("5ms", 5)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "1.5s", "2 days", "18446744073709551615h", "88000h"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
