//! Every call to the stores fails once, in every way: the job ends with the right result or an error, and
//! leaves nothing but that.

mod common;
#[path = "faults/store.rs"]
mod store;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Place, builtin, counted, merge, parse_counts, word_count};
use mapreduce_api::ids::{AttemptId, JobId};
use mapreduce_api::v1alpha1::MapReduceJobSpec;
use mapreduce_api::wire::JobFile;
use mapreduce_worker::job::local::{self, RunProgress};
use mapreduce_worker::job::{Job, pod};
use mapreduce_worker::machine::{Machine, simulate};
use mapreduce_worker::storage::{BucketStore, FileStore, SharedStore, Stores};
use serde_json::{Value, json};
use store::{Fault, Faulty, Plan, SAID};
use tokio_util::sync::CancellationToken;

const TEXTS: [&str; 2] = ["to be or not to be\n", "that is the question\n"];

/// A store, what its URLs begin with, and the prefix that tests have in it.
struct Bucket {
    store: SharedStore,
    base: &'static str,
    prefix: String,
}

impl Bucket {
    fn file(place: &Place) -> Self {
        let prefix = format!("{}/", place.dir.path().display());
        Self { store: Arc::new(FileStore), base: "file://", prefix }
    }

    /// Of objects that are uploaded in parts, as those of S3 are.
    fn memory(place: &Place) -> Self {
        let memory = Arc::new(object_store::memory::InMemory::new());
        let handle = place.runtime.handle().clone();
        let store = BucketStore::new("s3://b/".into(), memory, handle, CancellationToken::new());
        Self { store: Arc::new(store), base: "s3://b/", prefix: String::new() }
    }

    fn write(&self, name: &str, content: &str) {
        self.store.put(&format!("{}{name}", self.prefix), content.as_bytes().to_vec()).unwrap();
    }

    /// What is below a folder, by name.
    fn content(&self, folder: &str) -> BTreeMap<String, Vec<u8>> {
        let prefix = format!("{}{folder}", self.prefix);
        let entries = self.store.list(&prefix, true).unwrap();
        entries
            .into_iter()
            .map(|entry| (entry.key[prefix.len()..].to_owned(), self.store.get(&entry.key).unwrap().unwrap()))
            .collect()
    }
}

/// A machine on which waiting takes no time.
#[derive(Debug, Default)]
struct Unhurried {
    waited: Mutex<Duration>,
    numbers: AtomicU64,
}

impl Machine for Unhurried {
    fn now(&self) -> Duration {
        *self.waited.lock().unwrap()
    }

    fn sleep(&self, time: Duration) {
        *self.waited.lock().unwrap() += time;
    }

    fn number(&self) -> u128 {
        // Well mixed: of some only the last digits are looked at.
        let number = self.numbers.fetch_add(1, Ordering::Relaxed) + 1;
        u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
    }

    fn process(&self) -> u32 {
        1
    }

    fn is_alive(&self, _process: u32) -> bool {
        true
    }

    fn variable(&self, _name: &str) -> Option<OsString> {
        None
    }
}

/// What a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Reducers,
    /// With reducers, in the place of an old result.
    Replacing,
    MapOnly,
    Steps,
}

/// A job, where its data is, the way that it takes, and what happens to it.
#[derive(Clone, Copy, Debug)]
struct Case {
    shape: Shape,
    in_memory: bool,
    as_pods: bool,
    fault: Fault,
}

impl Case {
    fn all() -> impl Iterator<Item = Self> {
        (0..48).map(|n: usize| Self {
            shape: [Shape::Reducers, Shape::Replacing, Shape::MapOnly, Shape::Steps][n % 4],
            in_memory: n & 4 > 0,
            as_pods: n & 8 > 0,
            fault: [Fault::Passing, Fault::Permanent, Fault::AnswerLost][n / 16],
        })
    }

    fn fields(self, bucket: &Bucket) -> Value {
        let url = |name: &str| format!("{}{}{name}/", bucket.base, bucket.prefix);
        let mut fields = match self.shape {
            Shape::MapOnly => json!({"input": {"format": {"type": "KeyValue"}}, "reduce": {"tasks": 0}}),
            Shape::Reducers => word_count(2, true),
            Shape::Replacing => {
                let mut fields = word_count(2, true);
                merge(&mut fields, json!({"output": {"ifExists": "Replace"}}));
                fields
            }
            Shape::Steps => {
                let (mut first, mut last) = (word_count(3, true), word_count(2, true));
                merge(&mut first, json!({"name": "first"}));
                merge(&mut last, json!({"name": "last", "map": builtin("identity")}));
                json!({"steps": [first, last]})
            }
        };
        merge(
            &mut fields,
            json!({"input": {"urls": [url("in")], "splitSize": 10}, "output": {"url": url("out")}}),
        );
        if self.as_pods {
            merge(&mut fields, json!({"shuffle": {"url": url("shuffle")}}));
        }
        merge(&mut fields, json!({"retries": 2}));
        fields
    }

    /// Runs a job whose call number `at` fails; whether there were so many.
    fn run(self, at: usize) -> bool {
        let place = Place::new();
        let bucket = if self.in_memory { Bucket::memory(&place) } else { Bucket::file(&place) };
        TEXTS.iter().enumerate().for_each(|(i, text)| bucket.write(&format!("in/{i}"), text));
        let old = if self.shape == Shape::Replacing {
            &["_SUCCESS", "_report.html", "part-00000", "part-00007"][..]
        } else {
            &[]
        };
        old.iter().for_each(|name| bucket.write(&format!("out/{name}"), "precious"));

        let plan = Plan::new(at, self.fault);
        let spec: MapReduceJobSpec = serde_json::from_value(self.fields(&bucket)).unwrap();
        let stop = CancellationToken::new();
        let stores =
            Stores::new(spec.storage.clone(), place.dir.path(), place.runtime.handle().clone(), stop.clone());
        stores.insert(
            bucket.base,
            Arc::new(Faulty { store: Arc::clone(&bucket.store), plan: Arc::clone(&plan) }),
        );
        let file = JobFile { id: JobId::new("run-1"), name: "test".into(), spec };
        let job = Job::with_stores(file, stores, stop).unwrap();
        let mut resources = place.resources.clone();
        (resources.threads, resources.memory) = (1, 4 << 20);
        let ran = simulate(Arc::new(Unhurried::default()), || {
            local::run(&job, &resources, &RunProgress::default())
        });

        let at = format!("{self:?}, call {at}: {:?}, {ran:?}", plan.fired());
        let out = bucket.content("out/");
        let names: Vec<&str> = out.keys().map(String::as_str).collect();
        match ran {
            Ok(_) if self.shape == Shape::MapOnly => {
                let parts: Vec<u8> = out
                    .iter()
                    .filter(|(name, _)| *name != "_SUCCESS")
                    .flat_map(|(_, part)| part.clone())
                    .collect();
                assert_eq!(parts, b"to be or not to be\t\nthat is the question\t\n", "{at}");
            }
            Ok(_) => {
                assert_eq!(names, ["_SUCCESS", "part-00000", "part-00001"], "{at}");
                let parts = [&out["part-00000"][..], &out["part-00001"]].concat();
                assert_eq!(parse_counts(&parts), counted(&TEXTS), "{at}");
            }
            Err(error) => {
                assert!(plan.fired().is_some(), "{at}");
                assert!(format!("{error} {:?}", error.causes()).contains(SAID), "{at}");
                // No part of the new result; of the old one all, or what nobody takes for a result.
                assert!(out.values().all(|content| content == b"precious"), "{at}: {names:?}");
                assert!(!names.contains(&"_SUCCESS") || names == old, "{at}: {names:?}");
                assert!(
                    self.in_memory || !old.is_empty() || !place.path("out").exists(),
                    "{at}: an empty folder"
                );
            }
        }
        assert!(bucket.content("shuffle/").is_empty(), "{at}: {:?}", bucket.content("shuffle/").keys());
        // Nobody knows whether a commit without an answer will be there: its upload is left to the bucket.
        let left = usize::from(
            plan.fired().is_some_and(|call| call.contains("create") && call.contains("/commit/")),
        );
        assert!(plan.uploads().len() <= left, "{at}: {:?}", plan.uploads());
        assert!(place.names("scratch").is_empty(), "{at}: {:?}", place.names("scratch"));
        plan.fired().is_some()
    }
}

#[test]
fn a_call_that_fails_costs_nothing_but_the_job() {
    // Some at once: no case knows of another.
    let cases: Vec<Case> = Case::all().collect();
    std::thread::scope(|scope| {
        for cases in cases.chunks(6) {
            scope.spawn(move || {
                for case in cases {
                    let calls = (1..1000).take_while(|&at| case.run(at)).count();
                    assert!((15..999).contains(&calls), "{case:?}: a job makes {calls} calls?");
                }
            });
        }
    });
}

#[test]
fn a_flipped_bit_of_intermediate_data_is_an_error_that_names_the_object() {
    for name in ["index", "commit/map-00000", "commit/map-00002"] {
        let place = Place::new();
        TEXTS.iter().enumerate().for_each(|(i, text)| place.write(&format!("in/{i}"), text));
        let mut fields = word_count(2, true);
        merge(&mut fields, json!({"input": {"splitSize": 10}, "shuffle": {"url": "file:shuffle/"}}));
        let job = place.job(fields).unwrap();
        let maps = pod::plan(&job, &place.resources).unwrap().summary.map_tasks;
        let attempt = AttemptId::new("a");
        (0..maps).for_each(|i| drop(pod::map(&job, i, &attempt, &place.resources).unwrap()));
        let path = format!("shuffle/run-1/{name}");
        let whole = place.read(&path);
        assert!(!whole.is_empty(), "{name}");
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << (at % 8);
            place.write(&path, &flipped);
            // Each byte is of one partition or of both.
            let errors: Vec<_> = (0..2)
                .filter_map(|i| pod::reduce(&job, i, &AttemptId::new(at.to_string()), &place.resources).err())
                .collect();
            assert!(!errors.is_empty(), "byte {at} of {name} was not seen");
            for error in errors {
                let said = format!("{error} {:?}", error.causes());
                assert!(said.contains(&path), "byte {at} of {name}: {said}");
            }
            // What the other partition has committed must not keep the next byte from being looked at.
            let commits = place.path("shuffle/run-1/commit");
            (0..2).for_each(|i| drop(std::fs::remove_file(commits.join(format!("reduce-0000{i}")))));
        }
    }
}
