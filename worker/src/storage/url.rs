//! From a URL to a store and a key in it.

use std::collections::HashMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mapreduce_api::v1alpha1::Storage;
use object_store::ClientOptions;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::address::{Address, Scheme};
use super::authorities;
use super::away::AwayStores;
use super::file::FileStore;
use super::http::{HttpStore, Retries};
use super::object::BucketStore;
use super::outage::{Outage, Patience};
use super::tls::ClientLimits;
use super::wait::Waiter;
use super::{SharedStore, idle, s3, tls};
use crate::error::{Error, Result};

/// A place in a store: an object, a prefix, or the fixed part of a glob.
#[derive(Clone, Debug)]
pub struct Location {
    /// The store that it is in.
    pub store: SharedStore,
    /// What a key is appended to for a URL: `s3://bucket/`, `file://`.
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

    /// The same place in a store that cancelling doesn't touch.
    #[must_use]
    pub fn uninterrupted(&self) -> Self {
        let store = self.store.uninterrupted().unwrap_or_else(|| Arc::clone(&self.store));
        Self { store, ..self.clone() }
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
    away: Arc<AwayStores>,
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
            away: Arc::default(),
        }
    }

    /// The same stores; `away` hears when one is away.
    #[must_use]
    pub fn telling(self, away: AwayStores) -> Self {
        Self { away: Arc::new(away), ..self }
    }

    /// Reaches what is below `base` (`s3://bucket/`, `file://`) by a store that is open already.
    pub fn insert(&self, base: &str, store: SharedStore) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).insert(base.to_owned(), store);
    }

    /// The folder that relative URLs are below.
    pub fn folder(&self) -> &Path {
        &self.folder
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

    /// The place that a URL names.
    pub fn locate(&self, url: &str) -> Result<Location> {
        let Address { scheme, base, key } = Address::of(url, &self.folder)?;
        let store = self.opened(&base, || match scheme {
            Scheme::File => Ok(Arc::new(FileStore) as SharedStore),
            Scheme::S3 => self.s3(&base),
            Scheme::Http => self.http(&base),
        })?;
        Ok(Location { store, base, key })
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
        // From http:// one may be sent on to https://, but not the other way round.
        let limits = ClientLimits { is_plain, read: Some(idle::LIMIT) };
        let options = limits.options(options()?);
        let client = match tls::client(&options, limits) {
            // Here are no certificate authorities. Without TLS there is no need of them.
            Err(_) if is_plain => {
                let options = options.with_no_system_certificates(true);
                tls::client(&options, limits).map_err(fail)?
            }
            client => client.map_err(fail)?,
        };
        let waiter = Waiter::new(self.runtime.clone(), self.cancel.clone());
        let outage = Outage::new(base, self.patience(), Arc::clone(&self.away));
        Ok(Arc::new(HttpStore::new(base.to_owned(), client, Retries::default(), waiter, outage)))
    }

    fn s3(&self, base: &str) -> Result<SharedStore> {
        let storage = self.storage.s3.clone().unwrap_or_default();
        let builder = s3::builder(base, storage, options()?, false)?;
        let (runtime, cancel) = (self.runtime.clone(), self.cancel.clone());
        let away = Arc::clone(&self.away);
        let store = BucketStore::s3(base.to_owned(), builder, runtime, cancel, self.patience(), away, None)?;
        Ok(Arc::new(store))
    }

    fn patience(&self) -> Patience {
        Patience::of(Duration::from_secs(self.storage.timeout_seconds.unsigned_abs()))
    }
}

/// What the clients of all stores have in common.
pub(super) fn options() -> Result<ClientOptions> {
    Ok(authorities::brought()?.into_iter().fold(ClientOptions::new(), ClientOptions::with_root_certificate))
}

/// Counts what is read.
pub(crate) struct Counter(Arc<AtomicU64>);

impl Counter {
    pub(crate) fn counted(&self, bytes: Box<dyn Read + Send>) -> Box<dyn Read + Send> {
        Box::new(CountedReader { bytes, read: Arc::clone(&self.0) })
    }
}

struct CountedReader {
    bytes: Box<dyn Read + Send>,
    read: Arc<AtomicU64>,
}

impl Read for CountedReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let got = self.bytes.read(buf)?;
        self.read.fetch_add(got as u64, Ordering::Relaxed);
        Ok(got)
    }
}
