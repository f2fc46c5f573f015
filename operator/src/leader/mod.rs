//! Which of several replicas works: the one that holds a Lease.
//!
//! ```text
//!  standby: read ─ decide ─┬─ wait, read again ...
//!                          └─ take it ──> leader: renew, renew, ... ─┬─ told to stop: released, another takes it at once
//!                                                                    └─ not renewed in time: lost, the process ends
//! ```
//!
//! Each write replaces the lease at the version that was read: of two that take it at once the server refuses one. What
//! to do is decided in [`decide`]; this is what reads and writes. See docs/adr/0010.

pub mod claim;
pub mod decide;

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use anyhow::ensure;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client, ResourceExt as _};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::args::LeaderElection;
use crate::kube_ext::MANAGER;
use claim::Claim;
use decide::{Action, Candidate, LeaseRecord};

/// A candidate, and the lease that it wants.
#[derive(Debug)]
pub struct Election {
    api: Api<Lease>,
    name: String,
    lease_seconds: i32,
    renew_deadline: Duration,
    retry_period: Duration,
    candidate: Candidate,
    /// Moments are counted from here.
    start: Instant,
    /// The lease as it was last read or written; `None` where there is none.
    lease: Option<Lease>,
    /// Whether that is all that is to be known. Else the next step reads it.
    is_known: bool,
    claim: Claim,
}

/// How leading has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ElectionEnd {
    /// The lease is free, or will be by itself: this process was told to stop.
    Released,
    /// Another one may lead.
    Lost(String),
}

/// A lease could not be read or written.
#[derive(Debug, thiserror::Error)]
enum ElectionError {
    #[error(transparent)]
    Server(#[from] kube::Error),
    #[error("the API server has not answered within {} s", .0.as_secs())]
    NoAnswer(Duration),
}

impl ElectionError {
    /// Somebody else has written it since it was read.
    fn is_conflict(&self) -> bool {
        matches!(self, Self::Server(kube::Error::Api(status)) if status.code == 409)
    }
}

impl Election {
    /// A candidate for the lease that the flags name. The client must not be fenced by the claim.
    pub fn new(client: Client, flags: &LeaderElection, claim: Claim) -> anyhow::Result<Self> {
        ensure!(
            flags.lease_duration.subsec_nanos() == 0 && flags.lease_duration.as_secs() > 0,
            "--lease-duration has to be a number of whole seconds: other replicas read it in the lease"
        );
        // Clocks may run apart by a tenth and a request may be under way when the deadline comes.
        ensure!(
            flags.renew_deadline.saturating_mul(5) <= flags.lease_duration.saturating_mul(4),
            "--renew-deadline has to be at most four fifths of --lease-duration: a leader has to stop before another begins"
        );
        ensure!(
            flags.retry_period > Duration::ZERO
                && flags.retry_period.saturating_mul(2) <= flags.renew_deadline,
            "--retry-period has to be at most half of --renew-deadline: one renewal that fails must not end the leader"
        );
        let namespace =
            flags.lease_namespace.clone().unwrap_or_else(|| client.default_namespace().to_owned());
        let candidate = Candidate::new(identity(&flags.identity), flags.renew_deadline);
        Ok(Self {
            api: Api::namespaced(client, &namespace),
            name: flags.lease_name.clone(),
            lease_seconds: i32::try_from(flags.lease_duration.as_secs()).unwrap_or(i32::MAX),
            renew_deadline: flags.renew_deadline,
            retry_period: flags.retry_period,
            candidate,
            start: Instant::now(),
            lease: None,
            is_known: false,
            claim,
        })
    }

    /// Waits until this process leads. `read` is called when the lease could be read for the first time.
    pub async fn acquire(&mut self, mut read: impl FnMut()) {
        tracing::info!(identity = self.candidate.identity(), lease = self.name, "Waiting for the lease.");
        loop {
            match self.turn().await {
                Ok(_) => read(),
                Err(error) => tracing::warn!(lease = self.name, "The lease can't be had for now: {error}"),
            }
            if self.candidate.leads(self.now()) {
                tracing::info!(identity = self.candidate.identity(), lease = self.name, "Leading.");
                return;
            }
            // What was read is of the past by then, as is a lease whose writing took so long.
            self.is_known = false;
            self.step_down();
            sleep(self.retry_period).await;
        }
    }

    /// Leads until the lease is lost, or until it is told to release it.
    pub async fn lead(mut self, release: CancellationToken) -> ElectionEnd {
        let mut failed: Option<ElectionError> = None;
        while let Some(until) = self.candidate.leads_until().map(|until| self.start + until) {
            let wait = match &failed {
                None => self.renew_deadline / 3,
                Some(ElectionError::NoAnswer(_)) => Duration::ZERO,
                Some(ElectionError::Server(_)) => self.retry_period,
            };
            let step = async {
                sleep(wait).await;
                self.turn().await
            };
            let turned = tokio::select! {
                () = release.cancelled() => return self.release().await,
                turned = timeout_at(until, step) => turned,
            };
            match turned {
                Ok(Ok(Action::StepDown)) => break,
                Ok(Ok(_)) => failed = None,
                Ok(Err(error)) => {
                    tracing::warn!(lease = self.name, "The lease was not renewed: {error}");
                    failed = Some(error);
                }
                // The deadline: the next decision is to step down.
                Err(_) => {}
            }
            if self.candidate.decide(self.now()) == Action::StepDown {
                break;
            }
        }
        self.step_down();
        let holder = self.holder().unwrap_or_default();
        ElectionEnd::Lost(if holder.is_empty() || holder == self.candidate.identity() {
            let why = failed.map_or_else(|| "this process was held up".to_owned(), |error| error.to_string());
            format!("it was not renewed for {} s: {why}", self.renew_deadline.as_secs())
        } else {
            format!("{holder} holds it")
        })
    }

    fn holder(&self) -> Option<&str> {
        self.lease.as_ref()?.spec.as_ref()?.holder_identity.as_deref()
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn step_down(&mut self) {
        self.candidate.step_down();
        self.claim.set(None);
    }

    /// Reads the lease where it isn't known, and makes the write that is due. One that meets another's is decided anew.
    async fn turn(&mut self) -> Result<Action, ElectionError> {
        match self.attempt().await {
            Err(error) if error.is_conflict() => self.attempt().await,
            turned => turned,
        }
    }

    async fn attempt(&mut self) -> Result<Action, ElectionError> {
        // A renewal begins after a third of the deadline: one that isn't answered leaves time for another.
        let limit = self.renew_deadline / 3;
        if !std::mem::take(&mut self.is_known) {
            self.lease = within(limit, self.api.get_opt(&self.name)).await?;
            self.candidate.read(self.lease.as_ref().map(|lease| self.record(lease)), self.now());
        }
        let sent = self.now();
        let action = self.candidate.decide(sent);
        // What becomes of a write that is given up nobody knows before the next look.
        let written = match (action, &self.lease) {
            (Action::Wait | Action::StepDown, _) => return Ok(action),
            (Action::Take | Action::Renew, Some(read)) => {
                let anew = self.held(read, action == Action::Take);
                within(limit, self.api.replace(&self.name, &params(), &anew)).await?
            }
            (Action::Create | Action::Take | Action::Renew, _) => {
                let metadata = ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
                let anew = self.held(&Lease { metadata, spec: None }, true);
                within(limit, self.api.create(&params(), &anew)).await?
            }
        };
        self.candidate.wrote(self.record(&written), sent, self.now());
        self.claim.set(self.candidate.leads_until().map(|until| self.start + until));
        (self.lease, self.is_known) = (Some(written), true);
        Ok(action)
    }

    /// The lease with one's own name, at the version that was read.
    fn held(&self, read: &Lease, is_taken: bool) -> Lease {
        let now = || Some(MicroTime(Timestamp::now()));
        let mut lease = read.clone();
        let spec = lease.spec.get_or_insert_with(LeaseSpec::default);
        if is_taken {
            // The first holder is no transition.
            let transitions = spec.lease_transitions.map_or(0, |n| n.saturating_add(1));
            (spec.lease_transitions, spec.acquire_time) = (Some(transitions), now());
        }
        spec.holder_identity = Some(self.candidate.identity().to_owned());
        spec.lease_duration_seconds = Some(self.lease_seconds);
        spec.renew_time = now();
        lease.metadata.managed_fields = None;
        lease
    }

    /// What matters of it. One that doesn't say how long it lasts, lasts as long as this one's own would.
    fn record(&self, lease: &Lease) -> LeaseRecord {
        let spec = lease.spec.as_ref();
        let seconds = spec
            .and_then(|spec| spec.lease_duration_seconds)
            .filter(|n| *n > 0)
            .unwrap_or(self.lease_seconds);
        LeaseRecord {
            holder: spec.and_then(|spec| spec.holder_identity.clone()).unwrap_or_default(),
            lease_duration: Duration::from_secs(u64::from(seconds.unsigned_abs())),
            version: lease.resource_version().unwrap_or_default(),
        }
    }

    /// Leads no more, and says so in the lease. Where that fails, others wait until it runs out.
    async fn release(mut self) -> ElectionEnd {
        self.step_down();
        let limit = self.retry_period;
        let released = async {
            if !self.is_known {
                self.lease = self.api.get_opt(&self.name).await?;
            }
            let mine = |lease: &Lease| self.record(lease).holder == self.candidate.identity();
            let Some(mut lease) = self.lease.clone().filter(mine) else { return Ok(()) };
            let spec = lease.spec.get_or_insert_with(LeaseSpec::default);
            spec.holder_identity = None;
            spec.renew_time = Some(MicroTime(Timestamp::now()));
            lease.metadata.managed_fields = None;
            self.api.replace(&self.name, &params(), &lease).await.map(drop)
        };
        match within(limit, released).await {
            Ok(()) => tracing::info!(lease = self.name, "The lease is released."),
            Err(error) => {
                tracing::warn!(lease = self.name, "The lease is not released, it runs out: {error}");
            }
        }
        ElectionEnd::Released
    }
}

async fn within<T>(
    limit: Duration,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, ElectionError> {
    timeout(limit, request).await.map_err(|_| ElectionError::NoAnswer(limit))?.map_err(ElectionError::Server)
}

fn params() -> PostParams {
    PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() }
}

/// No two processes have the same one, also in one pod: which of them wrote a lease must never be in doubt.
fn identity(prefix: &str) -> String {
    // The keys of a hash map are the one random number that the standard library has.
    let random = RandomState::new().hash_one(std::process::id());
    format!("{}_{random:016x}", if prefix.is_empty() { "operator" } else { prefix })
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use http::{Request, Response};
    use kube::Client;
    use kube::client::Body;
    use tower::{BoxError, service_fn};

    use super::claim::Claim;
    use super::{Election, identity};
    use crate::args::Args;

    #[tokio::test]
    async fn a_leader_has_to_stop_before_another_begins_and_has_more_than_one_try() {
        let server = service_fn(|_: Request<Body>| async { Ok::<_, BoxError>(Response::new(Body::empty())) });
        let client = Client::new(server, "default");
        for (flags, expected) in [
            (&[][..], Ok(())),
            (&["--lease-duration=10s", "--renew-deadline=8s"], Ok(())),
            (&["--lease-duration=10s", "--renew-deadline=8500ms"], Err("--renew-deadline has to be")),
            (&["--lease-duration=1500ms", "--renew-deadline=1s"], Err("--lease-duration has to be")),
            (&["--lease-duration=0s"], Err("--lease-duration has to be")),
            (&["--retry-period=5s"], Ok(())),
            (&["--retry-period=6s"], Err("--retry-period has to be")),
            (&["--retry-period=0s"], Err("--retry-period has to be")),
        ] {
            let args = ["mapreduce-operator", "--worker-image=w"].into_iter().chain(flags.iter().copied());
            let args = Args::try_parse_from(args).unwrap();
            let made = Election::new(client.clone(), &args.election, Claim::none());
            let made = made.map(drop).map_err(|error| error.to_string());
            match expected {
                Ok(()) => assert_eq!(made, Ok(()), "{flags:?}"),
                Err(start) => {
                    assert!(made.as_ref().is_err_and(|e| e.starts_with(start)), "{flags:?}: {made:?}");
                }
            }
        }
    }

    #[test]
    fn two_processes_of_one_pod_are_told_apart() {
        assert_ne!(identity("pod"), identity("pod"));
        assert!(identity("pod").starts_with("pod_"));
    }
}
