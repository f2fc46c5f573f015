//! Jobs over a bucket of the tests' own server.
#![allow(dead_code, reason = "each test crate uses its part")]

use std::sync::Arc;
use std::time::Duration;

use mapreduce_api::ids::JobId;
use mapreduce_api::v1alpha1::MapReduceJobSpec;
use mapreduce_api::wire::JobFile;
use mapreduce_worker::error::Result;
use mapreduce_worker::job::Job;
use mapreduce_worker::job::local::{self, RunProgress};
use mapreduce_worker::storage::{BucketStore, Patience, SharedStore, Stores};
use mapreduce_worker::task::finish::Success;
use object_store::aws::AmazonS3Builder;
use object_store::client::HttpClient;
use object_store::{BackoffConfig, ClientOptions, RetryConfig};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::common::{Place, merge};
use crate::server::S3;

/// The bucket as jobs see it.
pub fn bucket(place: &Place, s3: &S3) -> SharedStore {
    bucket_at(place, &s3.endpoint())
}

pub fn bucket_at(place: &Place, endpoint: &str) -> SharedStore {
    patient_bucket(place, endpoint, Patience::NONE, &CancellationToken::new())
}

pub fn patient_bucket(
    place: &Place,
    endpoint: &str,
    patience: Patience,
    cancel: &CancellationToken,
) -> SharedStore {
    bucket_by(place, endpoint, patience, cancel, None)
}

/// A bucket whose requests are repeated twice at once, and then wait for so long.
pub fn bucket_by(
    place: &Place,
    endpoint: &str,
    patience: Patience,
    cancel: &CancellationToken,
    client: Option<HttpClient>,
) -> SharedStore {
    let retries = RetryConfig {
        backoff: BackoffConfig { init_backoff: Duration::from_millis(1), ..BackoffConfig::default() },
        max_retries: 2,
        retry_timeout: Duration::from_secs(20),
    };
    let builder = AmazonS3Builder::new()
        .with_bucket_name("b")
        .with_endpoint(endpoint)
        .with_client_options(ClientOptions::new().with_timeout(Duration::from_secs(2)))
        .with_allow_http(true)
        .with_access_key_id("id")
        .with_secret_access_key("secret")
        .with_retry(retries);
    let runtime = place.runtime.handle().clone();
    let (base, away) = ("s3://b/".to_owned(), Arc::default());
    Arc::new(BucketStore::s3(base, builder, runtime, cancel.clone(), patience, away, client).unwrap())
}

pub fn run(place: &Place, s3: &S3, fields: Value) -> Result<Success> {
    local::run(&job(place, s3, fields)?, &place.resources, &RunProgress::default())
}

pub fn job(place: &Place, s3: &S3, fields: Value) -> Result<Job> {
    job_on(place, bucket(place, s3), fields, CancellationToken::new())
}

/// A job that reaches `s3://b/` by this store.
pub fn job_on(place: &Place, store: SharedStore, fields: Value, stop: CancellationToken) -> Result<Job> {
    let mut spec = json!({"input": {"urls": ["s3://b/in/"]}, "output": {"url": "s3://b/out/"}});
    merge(&mut spec, fields);
    let spec: MapReduceJobSpec = serde_json::from_value(spec).unwrap();
    let runtime = place.runtime.handle().clone();
    let stores = Stores::new(spec.storage.clone(), place.dir.path(), runtime, stop.clone());
    stores.insert("s3://b/", store);
    let file = JobFile { id: JobId::new("run-1"), name: "test".into(), spec };
    Job::with_stores(file, stores, stop)
}
