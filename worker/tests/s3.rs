//! Jobs over a bucket, whatever its keys are and its server does.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;
#[path = "s3/server.rs"]
mod server;

use std::sync::Arc;
use std::time::Duration;

use common::{Place, counted, merge, parse_counts, word_count};
use mapreduce_api::ids::JobId;
use mapreduce_api::v1alpha1::MapReduceJobSpec;
use mapreduce_api::wire::JobFile;
use mapreduce_worker::error::Result;
use mapreduce_worker::job::Job;
use mapreduce_worker::job::local::{self, Progress};
use mapreduce_worker::storage::{ObjectStores, SharedStore, Stores};
use mapreduce_worker::task::finish::Success;
use object_store::aws::AmazonS3Builder;
use object_store::{BackoffConfig, RetryConfig};
use serde_json::{Value, json};
use server::S3;
use tokio_util::sync::CancellationToken;

/// The bucket as jobs see it.
fn bucket(place: &Place, s3: &S3) -> SharedStore {
    let retries = RetryConfig {
        backoff: BackoffConfig { init_backoff: Duration::from_millis(1), ..BackoffConfig::default() },
        max_retries: 2,
        retry_timeout: Duration::from_secs(20),
    };
    let builder = AmazonS3Builder::new()
        .with_bucket_name("b")
        .with_endpoint(s3.endpoint())
        .with_allow_http(true)
        .with_access_key_id("id")
        .with_secret_access_key("secret")
        .with_retry(retries);
    let store = Arc::new(builder.build().unwrap());
    let (runtime, cancel) = (place.runtime.handle().clone(), CancellationToken::new());
    Arc::new(ObjectStores::new("s3://b/".into(), store, runtime, cancel))
}

fn run(place: &Place, s3: &S3, fields: Value) -> Result<Success> {
    let mut spec = json!({"input": {"urls": ["s3://b/in/"]}, "output": {"url": "s3://b/out/"}});
    merge(&mut spec, fields);
    let spec: MapReduceJobSpec = serde_json::from_value(spec).unwrap();
    let stop = CancellationToken::new();
    let runtime = place.runtime.handle().clone();
    let stores = Stores::new(spec.storage.clone(), place.dir.path(), runtime, stop.clone());
    stores.insert("s3://b/", bucket(place, s3));
    let file = JobFile { id: JobId::new("run-1"), name: "test".into(), spec };
    local::run(&Job::with_stores(file, stores, stop)?, &place.resources, &Progress::default())
}

#[test]
fn a_job_reads_and_writes_a_bucket() {
    let (place, s3) = (Place::new(), S3::start());
    s3.set_page(2);
    let texts: Vec<String> = (0..7).map(|i| format!("a b {i}\n").repeat(100)).collect();
    texts.iter().enumerate().for_each(|(i, text)| s3.put(format!("in/{i}"), text));
    run(&place, &s3, word_count(2, true)).unwrap();
    let parts = [s3.get("out/part-00000").unwrap(), s3.get("out/part-00001").unwrap()].concat();
    assert_eq!(parse_counts(&parts), counted(&texts));
    let written: Vec<_> = s3.keys().into_iter().filter(|key| !key.starts_with("in/")).collect();
    assert_eq!(written, ["out/_SUCCESS", "out/part-00000", "out/part-00001"]);
    assert!(s3.uploads().is_empty());
}
