//! Several replicas, of which one works: on paused time, so that a lease of seconds costs none.

use std::sync::atomic::{AtomicBool, Ordering};

use fake_api::link::{Held, Link, Served};
use mapreduce_operator::leader::Election;
use mapreduce_operator::leader::claim::Claim;
use mapreduce_operator::runtime::{Ended, StopSignal, lead};
use tokio::time::Instant;
use tower::Layer as _;

use super::*;

const LEASE_DURATION: Duration = Duration::from_secs(5);

struct Replica {
    link: Link,
    claim: Claim,
    metrics: Arc<Metrics>,
    ready: Arc<AtomicBool>,
    stop: StopSignal,
    running: JoinHandle<Ended>,
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.running.abort();
    }
}

fn replica(api: &FakeApi, name: &str) -> Replica {
    let identity = format!("--lease-identity={name}");
    let flags =
        ["mapreduce-operator", "--worker-image=worker:1", "--start-grace=20ms", "--leader-elect", &identity];
    let lease = ["--lease-namespace=ns", "--lease-duration=5s", "--renew-deadline=4s", "--retry-period=1s"];
    let args = Args::try_parse_from(flags.into_iter().chain(lease)).unwrap();
    let (link, claim, stop, ready) =
        (Link::new(api), Claim::none(), StopSignal::default(), Arc::new(AtomicBool::new(false)));
    let metrics = Arc::new(Metrics::new(claim.clone()));
    let fenced = kube::Client::new(claim.layer(link.clone()), "default");
    let context = Arc::new(Context::new(fenced, Arc::clone(&metrics), &args));
    let unfenced = kube::Client::new(link.clone(), "default");
    let election = Election::new(unfenced, &args.election, claim.clone()).unwrap();
    let (told, is_ready) = (stop.clone(), Arc::clone(&ready));
    let running = async move { lead(&context, &args, Some(election), &is_ready, &told).await.unwrap() };
    Replica { link, claim, metrics, ready, stop, running: tokio::spawn(running) }
}

/// The first leads, and the second stands by.
async fn two_replicas(api: &FakeApi) -> (Replica, Replica) {
    let first = replica(api, "first");
    until(api, "a leader", |_| first.claim.holds() && first.ready.load(Ordering::Relaxed)).await;
    let second = replica(api, "second");
    until(api, "a standby", |_| second.ready.load(Ordering::Relaxed)).await;
    (first, second)
}

fn on_paused_time<F: Future<Output = ()>>(test: F) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().start_paused(true).build().unwrap().block_on(test);
}

async fn maps_run(api: &FakeApi) {
    until(api, "running maps", |api| {
        phase(api) == "Mapping" && api.store().get("pods", "wc-map-2").is_some()
    })
    .await;
}

fn holder(api: &FakeApi) -> String {
    let store = api.store();
    let lease = store.get("leases", "mapreduce-operator").unwrap();
    lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn of_two_replicas_one_works_and_the_other_looks_at_the_lease_alone() {
    on_paused_time(async {
        let api = FakeApi::default();
        let (first, second) = two_replicas(&api).await;
        let _cluster = cluster(Cluster::new(&api));
        submit(&api, &json!({}));
        ends(&api, "Succeeded").await;
        assert_eq!(created(&api), [1, 1, 1, 0]);
        assert!(holder(&api).starts_with("first_"), "{}", holder(&api));
        let served = second.link.served();
        assert!(!served.is_empty() && served.iter().all(Served::is_of_lease), "{served:?}");
        assert!(served.iter().all(|served| !served.writes()), "{served:?}");
        assert!(first.claim.holds() && !second.claim.holds());
    });
}

#[test]
fn a_leader_that_is_told_to_stop_hands_over_at_once() {
    on_paused_time(async {
        let api = FakeApi::default();
        let (mut first, second) = two_replicas(&api).await;
        let hanging = cluster(Cluster::new(&api).with("map", Run::Hang));
        submit(&api, &json!({}));
        maps_run(&api).await;
        assert!(first.metrics.encode().unwrap().contains("mapreduce_leader 1\n"));
        first.stop.soon.cancel();
        assert_eq!((&mut first.running).await.unwrap(), Ended::Told);
        assert!(first.metrics.encode().unwrap().contains("mapreduce_leader 0\n"));
        let released = Instant::now();
        until(&api, "another leader", |_| second.claim.holds()).await;
        assert!(
            released.elapsed() < LEASE_DURATION,
            "of paused time: the lease was released, and did not run out"
        );
        drop(hanging);
        let _cluster = cluster(Cluster::new(&api));
        ends(&api, "Succeeded").await;
        assert_eq!(created(&api), [1, 1, 1, 0]);
        assert_eq!(api.store().get("leases", "mapreduce-operator").unwrap()["spec"]["leaseTransitions"], 1);
    });
}

#[test]
fn what_a_paused_leader_has_sent_comes_too_late_and_is_refused() {
    on_paused_time(async {
        let api = FakeApi::default();
        let (mut first, second) = two_replicas(&api).await;
        let hanging = cluster(Cluster::new(&api).with("map", Run::Hang));
        submit(&api, &json!({}));
        maps_run(&api).await;
        first.link.hold(Held::Writes);
        drop(hanging);
        let _cluster = cluster(Cluster::new(&api));
        ends(&api, "Succeeded").await;
        assert!(second.claim.holds());
        assert_eq!((&mut first.running).await.unwrap(), Ended::LeaseLost);
        let before = api.store().log.clone();
        first.link.hold(Held::Nothing);
        let late = || first.link.served().into_iter().filter(|served| served.is_late).collect::<Vec<_>>();
        until(&api, "late writes", |_| {
            late().iter().any(Served::is_of_lease) && late().iter().any(|s| !s.is_of_lease())
        })
        .await;
        assert!(late().iter().all(|served| served.code == 409), "{:?}", late());
        assert_eq!(api.store().log, before, "a late write has changed something");
        assert_eq!(created(&api), [1, 1, 1, 0]);
    });
}

#[test]
fn a_leader_that_can_not_renew_has_stopped_before_another_begins() {
    on_paused_time(async {
        let api = FakeApi::default();
        let (mut first, second) = two_replicas(&api).await;
        let hanging = cluster(Cluster::new(&api).with("map", Run::Hang));
        submit(&api, &json!({}));
        maps_run(&api).await;
        first.link.hold(Held::Leases);
        assert_eq!((&mut first.running).await.unwrap(), Ended::LeaseLost);
        assert!(!first.claim.holds() && !second.claim.holds(), "there is a time between the two");
        let written = first.link.served().iter().filter(|served| served.writes()).count();
        until(&api, "another leader", |_| second.claim.holds()).await;
        drop(hanging);
        let _cluster = cluster(Cluster::new(&api));
        ends(&api, "Succeeded").await;
        let after = first.link.served().iter().filter(|served| served.writes()).count();
        assert_eq!((after, created(&api)), (written, vec![1, 1, 1, 0]));
    });
}

#[test]
fn a_lost_answer_to_a_renewal_costs_nothing() {
    on_paused_time(async {
        let api = FakeApi::default();
        let (first, second) = two_replicas(&api).await;
        let version = || {
            api.store().get("leases", "mapreduce-operator").unwrap()["metadata"]["resourceVersion"].clone()
        };
        let before = version();
        api.faults().at = Some((1, Kind::KilledAfter));
        until(&api, "a renewal whose answer is lost", |api| api.faults().fired).await;
        api.faults().dead = false;
        let lost = version();
        assert_ne!(lost, before, "it was done");
        until(&api, "the next renewal", |_| version() != lost).await;
        assert!(first.claim.holds() && !second.claim.holds());
        assert!(!first.running.is_finished());
    });
}

#[test]
fn a_replica_that_can_not_read_the_lease_is_not_ready() {
    on_paused_time(async {
        let api = FakeApi::default();
        api.faults().dead = true;
        let replica = replica(&api, "first");
        tokio::time::sleep(LEASE_DURATION).await;
        assert!(api.store().requests > 1 && !replica.ready.load(Ordering::Relaxed));
        api.faults().dead = false;
        until(&api, "a leader", |_| replica.claim.holds() && replica.ready.load(Ordering::Relaxed)).await;
    });
}
