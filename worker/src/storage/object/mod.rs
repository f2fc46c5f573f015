//! Object stores, through `object_store`, on a runtime of their own.

mod complete;
mod list;
mod read;
mod upload;

use std::fmt;
use std::future::Future;
use std::io::Read;
use std::ops::Range;
use std::sync::Arc;

use futures::StreamExt as _;
use http::HeaderValue;
use http::header::IF_MATCH;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::client::HttpClient;
use object_store::list::PaginatedListStore;
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::{GetRange, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use self::complete::is_taken;
pub use self::upload::PART_BYTES;
use self::upload::Upload;
use super::away::AwayStores;
use super::explain::{self, explain_unmet, is_unknown_request};
use super::keys;
use super::outage::{Outage, Patience, Unmet};
use super::raw_keys::{CONDITION, Credentials, RawKeysConnector};
use super::requests::RequestCounter;
use super::wait::Waiter;
use super::{Created, ListedObject, PendingUpload, SharedStore, Staged, StagedWriter, Store};
use crate::error::{Error, Result};

/// One bucket of an object store.
#[derive(Clone)]
pub struct BucketStore {
    base: String,
    objects: Arc<dyn ObjectStore>,
    uploads: Arc<dyn MultipartStore>,
    s3: Option<S3>,
    waiter: Waiter,
    outage: Arc<Outage>,
    requests: Arc<RequestCounter>,
    /// None: as memory allows.
    sizes: Option<RequestSizes>,
}

/// Bytes of requests, where a store of a test's takes others than S3.
#[derive(Clone, Copy, Debug)]
pub struct RequestSizes {
    /// Bytes that are read at once.
    pub read: u64,
    /// Bytes of an upload's first part.
    pub first_part: usize,
    /// Parts of one size, before they double.
    pub parts_of_a_size: usize,
}

/// Why a request of the library's has no result.
type UnmetRequest = Unmet<object_store::Error>;

/// What S3 can do beside that.
#[derive(Clone)]
struct S3 {
    /// Lists by the very prefix, page by page.
    pages: Arc<dyn PaginatedListStore>,
    /// Removes objects one by one.
    singly: Arc<dyn ObjectStore>,
}

impl fmt::Debug for BucketStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BucketStore({})", self.base)
    }
}

impl BucketStore {
    /// A bucket whose objects' URLs begin with `base`. Calls end early, with an error, once
    /// `cancel` is cancelled.
    pub fn new<S: ObjectStore + MultipartStore>(
        base: String,
        store: Arc<S>,
        runtime: Handle,
        cancel: CancellationToken,
    ) -> Self {
        let uploads: Arc<dyn MultipartStore> = Arc::<S>::clone(&store);
        let waiter = Waiter::new(runtime, cancel);
        let outage = Arc::new(Outage::new(&base, Patience::NONE, Arc::default()));
        Self {
            base,
            objects: store,
            uploads,
            s3: None,
            waiter,
            outage,
            requests: Arc::default(),
            sizes: None,
        }
    }

    /// A bucket of a server that a test makes up, which knows what S3 does beside the library's traits: see
    /// [`dialect`](crate::storage::dialect).
    pub fn of_dialect<S: ObjectStore + MultipartStore + PaginatedListStore>(
        base: String,
        store: Arc<S>,
        sizes: RequestSizes,
        runtime: Handle,
        cancel: CancellationToken,
    ) -> Self {
        let s3 = S3 { pages: Arc::<S>::clone(&store), singly: Arc::<S>::clone(&store) };
        Self { s3: Some(s3), sizes: Some(sizes), ..Self::new(base, store, runtime, cancel) }
    }

    /// A bucket of S3, whose keys may be any text. Requests wait for it when it is away, which `away` hears of. Requests
    /// go by `client`, where there is one, in the place of the usual one.
    pub fn s3(
        base: String,
        builder: AmazonS3Builder,
        runtime: Handle,
        cancel: CancellationToken,
        patience: Patience,
        away: Arc<AwayStores>,
        client: Option<HttpClient>,
    ) -> Result<Self> {
        let credentials = Credentials::default();
        let endpoint = builder.get_config_value(&AmazonS3ConfigKey::Endpoint);
        let name = endpoint.map_or_else(|| base.clone(), |endpoint| format!("{base} at {endpoint}"));
        let outage = Arc::new(Outage::new(&name, patience, away));
        let connector =
            RawKeysConnector { client, credentials: Arc::clone(&credentials), outage: Arc::clone(&outage) };
        let builder = builder.with_http_connector(connector);
        let fail = |e| Error::permanent(format!("can't reach {base}")).because(e);
        let singly = Arc::new(builder.clone().with_disable_bulk_delete(true).build().map_err(fail)?);
        let store = Arc::new(builder.build().map_err(fail)?);
        // It was empty: this is the first to fill it.
        let _ = credentials.set(Arc::clone(store.credentials()));
        let s3 = S3 { pages: Arc::<AmazonS3>::clone(&store), singly };
        Ok(Self { s3: Some(s3), outage, ..Self::new(base, store, runtime, cancel) })
    }

    fn wait<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        self.waiter.wait(work)
    }

    /// Asks until the store answers, as long as the job waits for it.
    async fn outlast<T, Asked: Future<Output = object_store::Result<T>>>(
        &self,
        ask: impl Fn() -> Asked,
    ) -> Result<T, UnmetRequest> {
        self.outage.outlast(&self.waiter, ask).await
    }

    /// The same for what is done although somebody asks to stop.
    fn finish<T, Asked: Future<Output = object_store::Result<T>>>(
        &self,
        ask: impl Fn() -> Asked,
    ) -> Result<T, UnmetRequest> {
        self.waiter.finish(self.outlast(ask)).unwrap_or(Err(Unmet::Cancelled))
    }

    fn path(&self, key: &str) -> Result<Path> {
        if self.s3.is_some() && key.split('/').any(|segment| matches!(segment, "." | "..")) {
            return Err(Error::permanent(format!("{}{key} can't be asked for", self.base))
                .because("its name has a segment `.` or `..`, which HTTP takes for a way through folders"));
        }
        Ok(keys::to_path(key))
    }

    /// Says which object it is about, and whether another attempt may do better.
    fn error(&self, verb: &str, key: &str, unmet: &UnmetRequest) -> Error {
        explain_unmet(verb, &self.base, key, unmet)
    }
}

/// Whether an object or an upload is not there, in a bucket that is.
fn is_missing(unmet: &UnmetRequest) -> bool {
    unmet.failure().is_some_and(explain::is_missing)
}

impl Store for BucketStore {
    fn counting(&self, requests: &Arc<RequestCounter>) -> Option<SharedStore> {
        Some(Arc::new(Self { requests: Arc::clone(requests), ..self.clone() }))
    }

    fn list(&self, prefix: &str, recursive: bool) -> Result<Vec<ListedObject>> {
        self.entries(prefix, recursive)
    }

    fn head(&self, key: &str) -> Result<Option<ListedObject>> {
        self.look(key)
    }

    fn open(&self, entry: &ListedObject, range: Range<u64>) -> Result<Box<dyn Read + Send>> {
        self.stream(entry, range)
    }

    fn read(&self, key: &str, range: Range<u64>) -> Result<Vec<u8>> {
        self.read_range(key, range)
    }

    fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        self.get_if_there(key, None)
    }

    fn start(&self, key: &str, most: u64) -> Result<Option<Vec<u8>>> {
        self.get_if_there(key, Some(GetRange::Bounded(0..most)))
    }

    fn put(&self, key: &str, bytes: Vec<u8>) -> Result<()> {
        let (path, payload) = (self.path(key)?, PutPayload::from(bytes));
        self.wait(async {
            self.requests.write();
            let put = self.outlast(|| self.objects.put(&path, payload.clone())).await;
            put.map(drop).map_err(|e| self.error("write", key, &e))
        })
    }

    fn create(&self, key: &str, bytes: Vec<u8>) -> Result<Created> {
        let (path, payload) = (self.path(key)?, PutPayload::from(bytes));
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        self.wait(async {
            self.requests.write();
            let put = || self.objects.put_opts(&path, payload.clone(), options.clone());
            match self.outlast(put).await {
                Ok(_) => Ok(Created::New),
                Err(e) if is_taken(&e) => Ok(Created::Exists),
                Err(e) => Err(self.error("write", key, &e)),
            }
        })
    }

    fn delete(&self, keys: &[String]) -> Result<()> {
        let paths: Vec<_> = keys.iter().map(|key| self.path(key)).collect::<Result<_>>()?;
        // A request for many names them in its body, where a stand-in would stay one.
        let (odd, plain) =
            paths.into_iter().partition::<Vec<_>, _>(|path| self.s3.is_some() && keys::is_stand_in(path));
        let singly = self.s3.as_ref().map_or(&self.objects, |s3| &s3.singly);
        for (store, paths) in [(&self.objects, plain), (singly, odd)] {
            // Removing is what an interrupted job does last: it is not itself interrupted.
            self.finish(|| remove(store.as_ref(), paths.clone()))
                .map_err(|e| self.error("remove objects of", "", &e))?;
        }
        Ok(())
    }

    fn delete_version(&self, entry: &ListedObject) -> Result<bool> {
        let version = entry.version.as_deref().and_then(|version| HeaderValue::from_str(version).ok());
        let (Some(s3), Some(version)) = (&self.s3, version) else {
            self.delete(std::slice::from_ref(&entry.key))?;
            return Ok(true);
        };
        let path = self.path(&entry.key)?;
        match self.finish(|| CONDITION.scope((IF_MATCH, version.clone()), s3.singly.delete(&path))) {
            Err(e) if is_taken(&e) => Ok(false),
            Err(e) if e.failure().is_some_and(is_unknown_request) => {
                self.delete(std::slice::from_ref(&entry.key)).map(|()| true)
            }
            Err(e) if !is_missing(&e) => Err(self.error("remove", &entry.key, &e)),
            _ => Ok(true),
        }
    }

    fn stage(&self, key: &str, _work: &str) -> Result<Box<dyn StagedWriter>> {
        Ok(Box::new(Upload::new(self, key)?))
    }

    fn uninterrupted(&self) -> Option<SharedStore> {
        Some(Arc::new(Self { waiter: self.waiter.uninterrupted(), ..self.clone() }))
    }

    fn complete(&self, key: &str, staged: &Staged) -> Result<Created> {
        self.complete_over(key, staged)
    }

    fn complete_new(&self, key: &str, staged: &Staged) -> Result<Created> {
        self.complete_if_new(key, staged)
    }

    fn uploads(&self, prefix: &str) -> Result<Option<Vec<PendingUpload>>> {
        self.pending(prefix)
    }

    fn abort(&self, key: &str, staged: &Staged) -> Result<()> {
        let Staged::Upload { id, .. } = staged else { return Err(self.wrong_kind(key)) };
        let path = self.path(key)?;
        match self.finish(|| self.uploads.abort_multipart(&path, id)) {
            Err(e) if !is_missing(&e) => Err(self.error("remove", key, &e)),
            _ => Ok(()),
        }
    }
}

/// Removes objects; those that aren't there are no error.
async fn remove(store: &dyn ObjectStore, paths: Vec<Path>) -> object_store::Result<()> {
    let paths = futures::stream::iter(paths.into_iter().map(Ok)).boxed();
    let mut deleted = store.delete_stream(paths);
    while let Some(result) = deleted.next().await {
        match result {
            Err(e) if !explain::is_missing(&e) => return Err(e),
            _ => {}
        }
    }
    Ok(())
}
