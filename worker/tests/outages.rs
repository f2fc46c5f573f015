//! A store that is away costs time: no attempt of a task, and nothing of the result.

#[path = "common/buckets.rs"]
mod buckets;
mod common;
#[path = "s3/server.rs"]
mod server;

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use buckets::{bucket_by, job_on, patient_bucket};
use common::{Place, merge, word_count};
use mapreduce_api::ids::AttemptId;
use mapreduce_api::wire::{STORE_AWAY, Termination};
use mapreduce_worker::error::{Error, ErrorKind};
use mapreduce_worker::job::local::{self, RunProgress};
use mapreduce_worker::job::{Job, pod};
use mapreduce_worker::storage::Patience;
use object_store::client::HttpClient;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use serde_json::{Value, json};
use server::{Away, Fault, Request, S3};
use tokio_util::sync::CancellationToken;

const TEXTS: [&str; 3] = ["to be or not to be\n", "that is the question\n", "be\n"];

/// Long, with short pauses.
const PATIENT: Patience = Patience {
    limit: Duration::from_mins(10),
    pause: Duration::from_millis(2),
    longest_pause: Duration::from_millis(20),
};

fn server() -> S3 {
    server_at("127.0.0.1:0".parse().unwrap())
}

fn server_at(address: SocketAddr) -> S3 {
    let s3 = S3::start_at(address);
    TEXTS.iter().enumerate().for_each(|(i, text)| s3.put(format!("in/{i}"), text));
    s3
}

/// A word count whose tasks have one attempt.
fn fields(shuffle: &Value) -> Value {
    let mut fields = word_count(2, true);
    merge(&mut fields, json!({"retries": 0, "shuffle": shuffle, "input": {"splitSize": 10}}));
    fields
}

/// A name service that knows `store.test`, but for some lookups in the middle.
#[derive(Debug)]
struct NameService {
    address: SocketAddr,
    lookups: AtomicUsize,
    away: std::ops::Range<usize>,
}

impl Resolve for NameService {
    fn resolve(&self, _: Name) -> Resolving {
        let lookup = self.lookups.fetch_add(1, Ordering::Relaxed);
        let (is_away, address) = (self.away.contains(&lookup), self.address);
        Box::pin(async move {
            if is_away {
                let said = "failed to lookup address information: Temporary failure in name resolution";
                return Err(std::io::Error::other(said).into());
            }
            Ok(Box::new(std::iter::once(address)) as Addrs)
        })
    }
}

#[test]
fn a_name_service_that_is_away_at_any_moment_costs_a_job_time_and_no_attempt() {
    let undisturbed = run_both(&Place::new(), &server(), true, &json!({}));
    // More lookups than a request makes without waiting.
    for (from, lookups) in [(0, 12), (5, 12), (10, 40), (20, 12)] {
        let (place, s3) = (Place::new(), server());
        let endpoint = s3.endpoint();
        let (_, port) = endpoint.rsplit_once(':').unwrap();
        let names = Arc::new(NameService {
            address: format!("127.0.0.1:{port}").parse().unwrap(),
            lookups: AtomicUsize::new(0),
            away: from..from + lookups,
        });
        let client = reqwest::Client::builder().dns_resolver(Arc::clone(&names)).no_proxy().build().unwrap();
        let (stop, client) = (CancellationToken::new(), Some(HttpClient::new(client)));
        let endpoint = format!("http://store.test:{port}");
        let store = bucket_by(&place, &endpoint, PATIENT, &stop, client);
        let found = run_as_pods(&job_on(&place, store, fields(&json!({})), stop).unwrap(), &place, &s3);
        assert!(names.lookups.load(Ordering::Relaxed) > from + lookups, "it was not away, or not to the end");
        assert_eq!(found["out/part-00000"], undisturbed["out/part-00000"]);
        assert_eq!(found.keys().collect::<Vec<_>>(), undisturbed.keys().collect::<Vec<_>>());
    }
}

fn patient_job(place: &Place, s3: &S3, patience: Patience, fields: Value) -> Job {
    let stop = CancellationToken::new();
    job_on(place, patient_bucket(place, &s3.endpoint(), patience, &stop), fields, stop).unwrap()
}

/// What a bucket holds beside the input.
fn content(s3: &S3) -> BTreeMap<String, Vec<u8>> {
    let keys = s3.keys().into_iter().filter(|key| !key.starts_with("in/"));
    keys.map(|key| (key.clone(), s3.get(&key).unwrap())).collect()
}

/// Runs a job as this process, then as pods; what is in the bucket then.
fn run_both(place: &Place, s3: &S3, as_pods: bool, shuffle: &Value) -> BTreeMap<String, Vec<u8>> {
    let job = patient_job(place, s3, PATIENT, fields(shuffle));
    if as_pods {
        return run_as_pods(&job, place, s3);
    }
    let success = local::run(&job, &place.resources, &RunProgress::default()).unwrap();
    assert_eq!(success.counters.failed_tasks, 0, "an attempt was counted");
    assert!(s3.uploads().is_empty(), "{:?}", s3.uploads());
    content(s3)
}

/// The same as pods alone.
fn run_as_pods(job: &Job, place: &Place, s3: &S3) -> BTreeMap<String, Vec<u8>> {
    let (resources, attempt) = (&place.resources, AttemptId::new("only"));
    let planned = pod::plan(job, resources).unwrap().summary;
    (0..planned.map_tasks).for_each(|task| drop(pod::map(job, task, &attempt, resources).unwrap()));
    let reduced = (0..planned.reduce_tasks).map(|task| pod::reduce(job, task, &attempt, resources).unwrap());
    let success = reduced.flatten().next().unwrap();
    assert_eq!(success.counters.failed_tasks, 0, "an attempt was counted");
    assert!(s3.uploads().is_empty(), "{:?}", s3.uploads());
    content(s3)
}

type Moment = fn(&Request) -> bool;

/// Moments of a run at which the store goes away.
const MOMENTS: [(&str, Moment); 9] = [
    ("it lists the input", |asked| asked.is_list() && asked.query["prefix"] == "in/"),
    ("it writes the plan", |asked| asked.is_put() && asked.key().ends_with("/plan.json")),
    ("a map task reads", |asked| asked.method == "GET" && asked.key() == "in/1"),
    ("a map task commits", |asked| asked.is_create() && asked.key().contains("/commit/map-")),
    ("a reduce task reads", |asked| asked.method == "GET" && asked.key().ends_with("/index")),
    ("a part is begun", |asked| asked.method == "POST" && asked.asks("uploads")),
    ("a part is written", |asked| asked.method == "PUT" && asked.asks("uploadId")),
    ("a part appears", |asked| asked.method == "POST" && asked.asks("uploadId")),
    ("it cleans up", |asked| asked.key.is_empty() && asked.asks("delete")),
];

/// How, and how many requests find it away: more than are repeated without waiting.
const WAYS: [(Away, usize); 4] = [
    (Away::Refuses, 1),
    (Away::Resets, 12),
    (Away::Answers(503, "SlowDown"), 12),
    (Away::Answers(500, "InternalError"), 12),
];

fn goes_away_everywhere(as_pods: bool, shuffle: &Value, moments: &[(&str, Moment)]) {
    let undisturbed = run_both(&Place::new(), &server(), as_pods, shuffle);
    assert_eq!(undisturbed.keys().collect::<Vec<_>>(), ["out/_SUCCESS", "out/part-00000", "out/part-00001"]);
    for &(moment, meant) in moments {
        for (how, requests) in WAYS {
            let s3 = server();
            s3.goes_away(meant, how, requests);
            let found = run_both(&Place::new(), &s3, as_pods, shuffle);
            assert!(s3.turned_away() == requests && s3.is_back(), "{how:?} when {moment}: it was not away");
            for part in ["out/part-00000", "out/part-00001"] {
                assert_eq!(found[part], undisturbed[part], "{how:?} when {moment}: {part}");
            }
            assert_eq!(found.len(), undisturbed.len(), "{how:?} when {moment}: {:?}", found.keys());
        }
    }
}

#[test]
fn a_store_that_goes_away_at_any_moment_of_a_job_of_pods_costs_it_no_attempt() {
    goes_away_everywhere(true, &json!({"url": "s3://b/shuffle/"}), &MOMENTS);
}

#[test]
fn a_store_that_goes_away_at_any_moment_of_a_local_run_costs_it_no_attempt() {
    let its_own = ["it writes the plan", "a map task commits", "a reduce task reads"];
    let moments: Vec<_> = MOMENTS.into_iter().filter(|(moment, _)| !its_own.contains(moment)).collect();
    goes_away_everywhere(false, &json!({}), &moments);
}

#[test]
fn a_store_that_takes_requests_and_says_nothing_is_asked_again() {
    let s3 = server();
    let place = Place::new();
    let store = patient_bucket(&place, &s3.endpoint(), PATIENT, &CancellationToken::new());
    s3.goes_away(|asked| asked.key() == "in/0", Away::Hangs, 4);
    assert_eq!(store.get("in/0").unwrap().unwrap(), TEXTS[0].as_bytes());
    assert!(s3.turned_away() == 4 && s3.is_back());
}

#[test]
fn a_function_that_waits_for_input_of_a_store_that_is_away_has_not_hung() {
    let script = "function map(key, value, emit) { emit(value, 1); }";
    for function in [
        json!({"command": {"argv": ["cat"]}}),
        json!({"script": {"language": "javascript", "source": script}}),
    ] {
        let (place, s3) = (Place::new(), server());
        // Longer than the task's timeout of a second, however the pauses are drawn.
        let pause = Duration::from_millis(400);
        let slow = Patience { pause, longest_pause: pause, ..PATIENT };
        s3.goes_away(
            |asked| asked.method == "GET" && asked.key() == "in/2",
            Away::Answers(503, "SlowDown"),
            24,
        );
        let fields = json!({
            "map": {"function": function}, "reduce": {"tasks": 0}, "retries": 0, "taskTimeoutSeconds": 1,
        });
        let job = patient_job(&place, &s3, slow, fields);
        let resources = &place.resources;
        let planned = pod::plan(&job, resources).unwrap().summary;
        assert_eq!(planned.map_tasks, 1, "one task reads all objects");
        let done = pod::map(&job, 0, &AttemptId::new("only"), resources).unwrap().unwrap();
        assert!(s3.turned_away() == 24 && s3.is_back(), "it was not away");
        assert_eq!((done.counters.map_input_records, done.counters.failed_tasks), (3, 0), "{function}");
    }
}

/// The job's error when the store is away for good from this moment on.
fn gives_up(moment: Moment, how: Away) -> Error {
    let (place, s3) = (Place::new(), server());
    s3.goes_away(moment, how, usize::MAX);
    let short = Patience { limit: Duration::from_millis(100), ..PATIENT };
    let mut fields = fields(&json!({}));
    merge(&mut fields, json!({"retries": 3}));
    let job = patient_job(&place, &s3, short, fields);
    let error = local::run(&job, &place.resources, &RunProgress::default()).unwrap_err();
    assert!(s3.turned_away() > 3, "it was not waited for");
    error
}

#[test]
fn a_store_that_stays_away_fails_the_job_with_what_was_asked_for_how_long_why_and_what_to_do() {
    let error =
        gives_up(|asked| asked.method == "GET" && asked.key() == "in/1", Away::Answers(503, "SlowDown"));
    let said = error.to_string();
    assert!(
        said.starts_with("can't read s3://b/in/") && said.contains(": the store was away for "),
        "{error}"
    );
    let causes = error.causes();
    assert_eq!(causes[0], "SlowDown: SlowDown");
    assert!(causes.last().unwrap().contains("spec.storage.timeoutSeconds"), "{causes:?}");
    assert_eq!(error.kind(), ErrorKind::StoreUnavailable, "no other attempt is made");
    let error = gives_up(|asked| asked.method == "PUT" && asked.asks("uploadId"), Away::Resets);
    assert!(error.to_string().starts_with("can't write s3://b/out/part-0000"), "{error}");
    assert_eq!(error.kind(), ErrorKind::StoreUnavailable);
}

#[test]
fn a_wish_to_stop_ends_a_wait_at_once() {
    // A pause that no test outlasts.
    let forever =
        Patience { pause: Duration::from_mins(9), longest_pause: Duration::from_mins(9), ..PATIENT };
    for (moment, meant) in MOMENTS.into_iter().filter(|(moment, _)| !moment.contains("cleans")) {
        let (place, s3) = (Place::new(), server());
        s3.goes_away(meant, Away::Answers(503, "SlowDown"), usize::MAX);
        let stop = CancellationToken::new();
        let store = patient_bucket(&place, &s3.endpoint(), forever, &stop);
        let job = job_on(&place, store, fields(&json!({"url": "s3://b/shuffle/"})), stop.clone()).unwrap();
        let error = std::thread::scope(|scope| {
            let run =
                scope.spawn(|| local::run(&job, &place.resources, &RunProgress::default()).unwrap_err());
            // Of one request there are three before it waits.
            while s3.turned_away() < 2 {
                std::thread::yield_now();
            }
            stop.cancel();
            run.join().unwrap()
        });
        assert_eq!(error.kind(), ErrorKind::Cancelled, "{moment}: {error} {:?}", error.causes());
    }
}

#[test]
fn what_is_no_outage_fails_at_once() {
    let forever =
        Patience { pause: Duration::from_mins(9), longest_pause: Duration::from_mins(9), ..PATIENT };
    for (status, code, said) in [
        (403, "AccessDenied", "the credentials don't allow it"),
        (404, "NoSuchBucket", "there is no bucket s3://b/"),
        (400, "InvalidArgument", "can't list s3://b/in/"),
    ] {
        let (place, s3) = (Place::new(), server());
        s3.on(move |request| (request.is_list()).then_some(Fault::Status(status, code)));
        let store = patient_bucket(&place, &s3.endpoint(), forever, &CancellationToken::new());
        let error = store.list("in/", true).unwrap_err();
        assert!(error.to_string().contains(said), "{code}: {error}");
        assert_eq!(s3.asked().len(), 1, "{code}: it was asked again");
    }
}

/// The worker's program.
fn worker(termination_log: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mapreduce-worker"));
    command.arg("--termination-log").arg(termination_log);
    command.env("AWS_ACCESS_KEY_ID", "id").env("AWS_SECRET_ACCESS_KEY", "secret");
    command
}

/// What a readiness probe hears.
fn is_ready(termination_log: &Path) -> Output {
    worker(termination_log).arg("ready").output().unwrap()
}

#[test]
fn a_pod_that_waits_for_its_store_is_not_ready_says_which_it_is_and_goes_on_when_it_is_back() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let place = Place::new();
    let job = json!({"id": "run-1", "name": "test", "spec": {
        "input": {"urls": ["s3://b/in/"]}, "output": {"url": "s3://b/out/"},
        "map": {"function": {"builtin": {"name": "words"}}}, "small": {"mode": "Never"},
        "storage": {"s3": {"endpoint": format!("http://{address}")}},
    }});
    place.write("job.json", job.to_string());
    let log = place.path("termination");
    std::fs::write(&log, "").unwrap();
    assert!(is_ready(&log).status.success());
    let mut pod = worker(&log).arg("plan").arg("--job").arg(place.path("job.json")).spawn().unwrap();
    while !std::fs::read_to_string(&log).unwrap().starts_with(STORE_AWAY) {
        assert_eq!(pod.try_wait().unwrap(), None, "it has ended");
        std::thread::yield_now();
    }
    let waits = is_ready(&log);
    assert_eq!(waits.status.code(), Some(1));
    let line = String::from_utf8(waits.stdout).unwrap();
    assert!(line.starts_with(&format!("store away: s3://b/ at http://{address} since ")), "{line}");
    assert!(line.ends_with(": the connection was refused: nothing listens there\n"), "{line}");
    let _s3 = server_at(address);
    assert!(pod.wait().unwrap().success());
    let said = std::fs::read(&log).unwrap();
    assert!(matches!(serde_json::from_slice(&said).unwrap(), Termination::Planned(_)));
    assert!(is_ready(&log).status.success());
}
