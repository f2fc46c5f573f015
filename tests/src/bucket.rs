//! The S3 server, as this process reaches it: blocking, for a test does one thing at a time.

use std::fmt;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{ObjectStore as _, ObjectStoreExt as _};
use tokio::runtime::Runtime;

use crate::command;

/// A bucket.
pub struct Bucket {
    /// Its name.
    pub name: String,
    /// The access key.
    pub access_key: String,
    /// The secret key.
    pub secret_key: String,
    endpoint: String,
    region: String,
    store: Arc<AmazonS3>,
    runtime: Runtime,
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bucket({})", self.name)
    }
}

impl Bucket {
    /// A bucket of the S3 server at `endpoint`.
    pub fn new(endpoint: &str, region: &str, name: &str, access_key: &str, secret_key: &str) -> Result<Self> {
        // Another test binary's thread may have been first.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let store = AmazonS3Builder::new()
            .with_endpoint(endpoint)
            .with_region(region)
            .with_bucket_name(name)
            .with_access_key_id(access_key)
            .with_secret_access_key(secret_key)
            .with_allow_http(true)
            .build()?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        Ok(Self {
            name: name.to_owned(),
            access_key: access_key.to_owned(),
            secret_key: secret_key.to_owned(),
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            region: region.to_owned(),
            store: Arc::new(store),
            runtime,
        })
    }

    /// Writes an object.
    pub fn put(&self, key: &str, bytes: impl Into<Bytes>) -> Result<()> {
        let bytes: Bytes = bytes.into();
        let put = self.runtime.block_on(self.store.put(&Path::parse(key)?, bytes.into()));
        put.map(drop).with_context(|| format!("can't write {key}"))
    }

    /// Reads an object.
    pub fn get(&self, key: &str) -> Result<Bytes> {
        let path = Path::parse(key)?;
        self.runtime
            .block_on(async { self.store.get(&path).await?.bytes().await })
            .with_context(|| format!("can't read {key}"))
    }

    /// The names of all objects below a prefix, in order.
    pub fn list(&self, prefix: &str) -> Result<Vec<String>> {
        let path = Path::parse(prefix.trim_end_matches('/'))?;
        let found: Vec<_> = self
            .runtime
            .block_on(self.store.list(Some(&path)).try_collect())
            .with_context(|| format!("can't list {prefix}"))?;
        let mut keys: Vec<String> = found.into_iter().map(|meta| meta.location.to_string()).collect();
        keys.sort();
        Ok(keys)
    }

    /// Uploads below a prefix that are neither complete nor given up: data that no listing of
    /// objects shows, and that is paid for.
    pub fn uploads(&self, prefix: &str) -> Result<Vec<String>> {
        let answer = command::run(
            Command::new("curl")
                .args(["--silent", "--show-error", "--fail-with-body"])
                .args(["--aws-sigv4", &format!("aws:amz:{}:s3", self.region)])
                .args(["--user", &format!("{}:{}", self.access_key, self.secret_key)])
                .args(["--header", "x-amz-content-sha256: UNSIGNED-PAYLOAD"])
                .arg(format!("{}/{}?uploads=", self.endpoint, self.name)),
            b"",
        )?
        .success()?;
        let keys = answer.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next());
        Ok(keys.filter(|key| key.starts_with(prefix)).map(str::to_owned).collect())
    }

    /// Removes all objects below a prefix.
    pub fn remove(&self, prefix: &str) -> Result<()> {
        let keys = self.list(prefix)?;
        let paths = futures::stream::iter(keys.into_iter().map(|key| Ok(Path::from(key)))).boxed();
        self.runtime.block_on(self.store.delete_stream(paths).try_for_each(|_| async { Ok(()) }))?;
        Ok(())
    }
}
