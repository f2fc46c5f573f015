//! From a URL to a store and a key in it.

use std::collections::HashMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use mapreduce_api::v1alpha1::{S3Storage, Storage};
use object_store::aws::AmazonS3Builder;
use object_store::{BackoffConfig, ClientOptions, RetryConfig};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::authorities;
use super::file::FileStore;
use super::object::ObjectStores;
use super::{SharedStore, Store};
use crate::error::{Error, Result};

/// The kinds of URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `file:`
    File,
    /// `s3://`
    S3,
}

/// A place in a store: an object, a prefix, or the fixed part of a glob.
#[derive(Clone, Debug)]
pub struct Location {
    /// The store that it is in.
    pub store: SharedStore,
    /// What a key is put behind to make a URL: `s3://bucket/`, `file://`.
    pub base: String,
    /// The key.
    pub key: String,
}

impl Location {
    /// The URL of a key in the same store.
    pub fn url(&self, key: &str) -> String {
        format!("{}{key}", self.base)
    }

    /// This place as a prefix: its key ends in `/` (or is empty, for a whole bucket).
    #[must_use]
    pub fn as_prefix(mut self) -> Self {
        if !self.key.is_empty() && !self.key.ends_with('/') {
            self.key.push('/');
        }
        self
    }

    /// A place below this prefix.
    #[must_use]
    pub fn join(&self, name: &str) -> Self {
        Self { key: format!("{}{name}", self.key), ..self.clone() }
    }
}

/// All stores that a job reaches, each opened once.
#[derive(Debug)]
pub struct Stores {
    storage: Storage,
    folder: PathBuf,
    runtime: Handle,
    cancel: CancellationToken,
    open: Mutex<HashMap<String, SharedStore>>,
    read: Arc<AtomicU64>,
}

impl Stores {
    /// The stores of a job. Relative `file:` URLs are below `folder`; calls end early once
    /// `cancel` is cancelled.
    pub fn new(storage: Storage, folder: &Path, runtime: Handle, cancel: CancellationToken) -> Self {
        Self {
            storage,
            folder: folder.to_owned(),
            runtime,
            cancel,
            open: Mutex::default(),
            read: Arc::default(),
        }
    }

    /// Bytes of input read so far.
    pub fn bytes_read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// Counts what is read.
    pub fn counted(&self, bytes: Box<dyn Read + Send>) -> Box<dyn Read + Send> {
        self.counter().counted(bytes)
    }

    /// Counts what is read by what outlives a call.
    pub(crate) fn counter(&self) -> Counter {
        Counter(Arc::clone(&self.read))
    }

    /// Takes a URL apart without reaching anything.
    ///
    /// # Errors
    ///
    /// A usage error for a text that is no URL of a kind that we know.
    pub fn parse(url: &str) -> Result<(Scheme, &str)> {
        if let Some(rest) = url.strip_prefix("s3://") {
            let bucket = rest.split('/').next().unwrap_or_default();
            if bucket.is_empty() {
                return Err(Error::usage(format!("`{url}` names no bucket: write s3://bucket/key")));
            }
            return Ok((Scheme::S3, rest));
        }
        if let Some(path) = url.strip_prefix("file://").or_else(|| url.strip_prefix("file:")) {
            if path.is_empty() {
                return Err(Error::usage(format!("`{url}` names no file: write file:///folder/name")));
            }
            return Ok((Scheme::File, path));
        }
        Err(Error::usage(format!("`{url}` is no URL that can be read or written: use file:// or s3://")))
    }

    /// The place that a URL names.
    pub fn locate(&self, url: &str) -> Result<Location> {
        let (scheme, rest) = Self::parse(url)?;
        match scheme {
            Scheme::File => {
                let path = if rest.starts_with('/') {
                    rest.to_owned()
                } else {
                    let folder = self.folder.to_str().ok_or_else(|| {
                        Error::usage(format!("the folder {} is no UTF-8", self.folder.display()))
                    })?;
                    format!("{}/{rest}", folder.trim_end_matches('/'))
                };
                Ok(Location { store: Arc::new(FileStore), base: "file://".into(), key: tidy(&path) })
            }
            Scheme::S3 => {
                let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
                let base = format!("s3://{bucket}/");
                let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
                let store = match open.get(&base) {
                    Some(store) => Arc::clone(store),
                    None => {
                        let store = self.s3(bucket, &base)?;
                        open.insert(base.clone(), Arc::clone(&store));
                        store
                    }
                };
                Ok(Location { store, base, key: key.to_owned() })
            }
        }
    }

    fn s3(&self, bucket: &str, base: &str) -> Result<SharedStore> {
        let S3Storage { endpoint, region, secret_ref: _ } = self.storage.s3.clone().unwrap_or_default();
        let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket).with_retry(retry());
        let endpoint = endpoint
            .or_else(|| std::env::var("AWS_ENDPOINT_URL_S3").ok())
            .or_else(|| std::env::var("AWS_ENDPOINT_URL").ok());
        if let Some(endpoint) = &endpoint {
            builder = builder.with_endpoint(endpoint);
            if std::env::var_os("AWS_ACCESS_KEY_ID").is_none() && !has_identity() {
                return Err(Error::permanent(format!("there are no credentials for {base}")).because(
                    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment, \
                     or storage.s3.secretRef for pods",
                ));
            }
        }
        let http = endpoint.is_some_and(|endpoint| endpoint.starts_with("http://"));
        if let Some(region) = region {
            builder = builder.with_region(region);
        }
        let options = authorities::brought()?
            .into_iter()
            .fold(ClientOptions::new(), ClientOptions::with_root_certificate)
            .with_allow_http(http)
            // No certificate is looked at where no TLS is spoken, so that a user's image without a CA
            // bundle will do; over https:// the client can't even be made without one.
            .with_allow_invalid_certificates(http)
            .with_connect_timeout(std::time::Duration::from_secs(5))
            .with_timeout(std::time::Duration::from_mins(2));
        let store = builder
            .with_client_options(options)
            .build()
            .map_err(|e| Error::permanent(format!("can't reach {base}")).because(e))?;
        let store =
            ObjectStores::new(base.to_owned(), Arc::new(store), self.runtime.clone(), self.cancel.clone());
        Ok(Arc::new(store) as Arc<dyn Store>)
    }
}

/// Counts what is read.
pub(crate) struct Counter(Arc<AtomicU64>);

impl Counter {
    pub(crate) fn counted(&self, bytes: Box<dyn Read + Send>) -> Box<dyn Read + Send> {
        Box::new(Counted { bytes, read: Arc::clone(&self.0) })
    }
}

struct Counted {
    bytes: Box<dyn Read + Send>,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let got = self.bytes.read(buf)?;
        self.read.fetch_add(got as u64, Ordering::Relaxed);
        Ok(got)
    }
}

/// Whether the environment names an identity that object_store can ask for credentials.
fn has_identity() -> bool {
    [
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    ]
    .iter()
    .any(|name| std::env::var_os(name).is_some())
}

fn retry() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig::default(),
        max_retries: 8,
        retry_timeout: std::time::Duration::from_mins(1),
    }
}

/// Takes `.` and empty segments out of a path and resolves `..` by name, keeping a `/` at its end.
fn tidy(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            name => segments.push(name),
        }
    }
    let folder = path.ends_with('/') || path.ends_with("/.") || path.ends_with("/..");
    let end = if folder && !segments.is_empty() { "/" } else { "" };
    format!("/{}{end}", segments.join("/"))
}

#[cfg(test)]
mod tests {
    use super::{Scheme, Stores, tidy};
    use crate::error::Kind;

    #[test]
    fn a_path_is_tidied_by_name() {
        for (path, tidied) in [
            ("/a/./b//c", "/a/b/c"),
            ("/a/../b/", "/b/"),
            ("/a/b/..", "/a/"),
            ("/", "/"),
            ("/a%20b/*.txt", "/a%20b/*.txt"),
        ] {
            assert_eq!(tidy(path), tidied, "{path}");
        }
    }

    #[test]
    fn a_bad_url_is_a_usage_error_that_shows_it() {
        for url in ["books/x", "ftp://h/x", "s3:///k", "s3://", "file:"] {
            let error = Stores::parse(url).unwrap_err();
            assert_eq!(error.kind(), Kind::Usage);
            assert!(error.to_string().contains(url), "{error}");
        }
        assert_eq!(Stores::parse("s3://b/k%2f").unwrap(), (Scheme::S3, "b/k%2f"));
        assert_eq!(Stores::parse("file:../x").unwrap(), (Scheme::File, "../x"));
    }
}
