//! From a URL to a store and a key in it.

use std::collections::HashMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use mapreduce_api::v1alpha1::{S3Storage, Storage};
use object_store::aws::AmazonS3Builder;
use object_store::client::{HttpConnector as _, ReqwestConnector};
use object_store::{BackoffConfig, ClientOptions, RetryConfig};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::authorities;
use super::file::FileStore;
use super::http::{HttpStore, Retries};
use super::object::ObjectStores;
use super::wait::Waiter;
use super::{SharedStore, Store};
use crate::error::{Error, Result};
use crate::machine::variables;

/// The kinds of URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `file:`
    File,
    /// `s3://`
    S3,
    /// `http://` and `https://`: one object, which is only read.
    Http,
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

    /// Whether it is on this machine's disks, and not in a bucket.
    pub fn is_local(&self) -> bool {
        self.base.starts_with("file:")
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

    /// Reaches what is below `base` (`s3://bucket/`, `file://`) by a store that is open already.
    pub fn insert(&self, base: &str, store: SharedStore) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).insert(base.to_owned(), store);
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
        if url.starts_with("http://") || url.starts_with("https://") {
            check_http(url)?;
            return Ok((Scheme::Http, url));
        }
        Err(Error::usage(format!(
            "`{url}` is no URL that can be read or written: use file:// or s3://, or https:// for input"
        )))
    }

    /// Takes apart a URL that something is to be written to.
    ///
    /// # Errors
    ///
    /// A usage error, as [`Self::parse`]'s, also for what can only be read.
    pub fn parse_writable(url: &str) -> Result<(Scheme, &str)> {
        match Self::parse(url)? {
            (Scheme::Http, _) => Err(Error::usage(format!(
                "`{url}` can only be read: a web server takes no output, use file:// or s3://"
            ))),
            parsed => Ok(parsed),
        }
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
                let store = self.opened("file://", || Ok(Arc::new(FileStore)))?;
                Ok(Location { store, base: "file://".into(), key: tidy(&path) })
            }
            Scheme::S3 => {
                let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
                let base = format!("s3://{bucket}/");
                let store = self.opened(&base, || self.s3(bucket, &base))?;
                Ok(Location { store, base, key: key.to_owned() })
            }
            Scheme::Http => {
                let (base, key) = split_http(url);
                let store = self.opened(base, || self.http(base))?;
                Ok(Location { store, base: base.to_owned(), key: key.to_owned() })
            }
        }
    }

    /// The store of URLs that begin with `base`, opened when it is first asked for.
    fn opened(&self, base: &str, open: impl FnOnce() -> Result<SharedStore>) -> Result<SharedStore> {
        let mut stores = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = stores.get(base) {
            return Ok(Arc::clone(store));
        }
        let store = open()?;
        stores.insert(base.to_owned(), Arc::clone(&store));
        Ok(store)
    }

    fn http(&self, base: &str) -> Result<SharedStore> {
        let is_plain = base.starts_with("http://");
        let fail = |e| Error::permanent(format!("can't reach {base}")).because(e);
        let options = options()?
            // From http:// one may be sent on to https://, but not the other way round.
            .with_allow_http(is_plain)
            // An object that is read in one piece takes as long as it takes.
            .with_timeout_disabled()
            .with_read_timeout(std::time::Duration::from_mins(1));
        let client = match ReqwestConnector::default().connect(&options) {
            // Here are no certificate authorities. Without TLS there is no need of them.
            Err(_) if is_plain => {
                let options = options.with_no_system_certificates(true);
                ReqwestConnector::default().connect(&options).map_err(fail)?
            }
            client => client.map_err(fail)?,
        };
        let waiter = Waiter { runtime: self.runtime.clone(), cancel: self.cancel.clone() };
        Ok(Arc::new(HttpStore::new(base.to_owned(), client, Retries::default(), waiter)))
    }

    fn s3(&self, bucket: &str, base: &str) -> Result<SharedStore> {
        let S3Storage { endpoint, region, secret_ref: _ } = self.storage.s3.clone().unwrap_or_default();
        let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket).with_retry(retry());
        let endpoint = endpoint
            .or_else(|| variables::text("AWS_ENDPOINT_URL_S3"))
            .or_else(|| variables::text("AWS_ENDPOINT_URL"));
        if let Some(endpoint) = &endpoint {
            builder = builder.with_endpoint(endpoint);
            if variables::get("AWS_ACCESS_KEY_ID").is_none() && !has_identity() {
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
        let options = options()?
            .with_allow_http(http)
            // No certificate is looked at where no TLS is spoken, so that an image without certificate
            // authorities will do: with them the client can't be made where there are none.
            .with_no_system_certificates(http)
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

/// What the clients of all stores have in common.
fn options() -> Result<ClientOptions> {
    Ok(authorities::brought()?
        .into_iter()
        .fold(ClientOptions::new(), ClientOptions::with_root_certificate)
        .with_connect_timeout(std::time::Duration::from_secs(5)))
}

/// The signs that make a pattern of a path.
pub const GLOB_SIGNS: [char; 4] = ['*', '?', '[', '{'];

/// Checks the URL of one object of a web server.
fn check_http(url: &str) -> Result<()> {
    let fail = |why: &str| Err(Error::usage(format!("`{url}` {why}")));
    let parsed = match url::Url::parse(url) {
        Ok(parsed) => parsed,
        Err(error) => return fail(&format!("is no URL: {error}")),
    };
    let (_, key) = split_http(url);
    let path = key.split('?').next().unwrap_or_default();
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return fail(
            "holds a user's name or password, which every message about it would show: leave them out",
        );
    }
    if url.contains('#') {
        return fail("holds a `#`, which is no part of an object's URL: write %23");
    }
    if let Some(at) = path.find(GLOB_SIGNS) {
        let sign = &path[at..=at];
        return fail(&format!(
            "holds a `{sign}`, but a web server has no list of its objects to match: name each object, or write %{:02X} for the sign",
            path.as_bytes()[at]
        ));
    }
    if key.is_empty() || path.ends_with('/') && path.len() == key.len() {
        return fail("is a prefix, but a web server has no list of its objects: name each object");
    }
    Ok(())
}

/// `https://host:port/` and what is behind it.
fn split_http(url: &str) -> (&str, &str) {
    let host = url.find("://").map_or(0, |at| at + 3);
    match url[host..].find(['/', '?']) {
        Some(at) => url.split_at(host + at + usize::from(url.as_bytes()[host + at] == b'/')),
        None => (url, ""),
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
    .any(|name| variables::get(name).is_some())
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
        for url in [
            "books/x",
            "ftp://h/x",
            "s3:///k",
            "s3://",
            "file:",
            "http://",
            "http://h",
            "https://h/",
            "https://h/folder/",
            "https://h:99999/x",
            "https://h/*.txt",
            "https://h/x{1,2}",
            "https://user:secret@h/x",
            "https://h/x#part",
        ] {
            let error = Stores::parse(url).unwrap_err();
            assert_eq!(error.kind(), Kind::Usage);
            assert!(error.to_string().contains(url), "{error}");
        }
        assert_eq!(Stores::parse("s3://b/k%2f").unwrap(), (Scheme::S3, "b/k%2f"));
        assert_eq!(Stores::parse("file:../x").unwrap(), (Scheme::File, "../x"));
        for url in ["http://h:80/a b", "https://h/x?signed=1&of=a/*", "http://[::1]/x", "http://h/?n=1"] {
            assert_eq!(Stores::parse(url).unwrap(), (Scheme::Http, url));
        }
        assert_eq!(Stores::parse_writable("https://h/x").unwrap_err().kind(), Kind::Usage);
    }

    #[test]
    fn a_web_servers_url_is_its_host_and_the_rest_as_written() {
        for (url, parts) in [
            ("http://h/a/b", ("http://h/", "a/b")),
            ("https://h:8/a?b=/c", ("https://h:8/", "a?b=/c")),
            ("http://h?q", ("http://h", "?q")),
        ] {
            assert_eq!(super::split_http(url), parts);
        }
    }
}
