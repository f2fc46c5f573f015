//! Object stores, through `object_store`, on a runtime of their own.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::io::Read;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::FuturesOrdered;
use futures::{StreamExt as _, TryStreamExt as _};
use http::HeaderValue;
use http::header::{IF_MATCH, IF_NONE_MATCH};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::{
    GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload,
};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::explain::{explain, is_missing, is_unknown_request};
use super::keys::{self, CONDITION, Credentials, RawKeysConnector};
use super::requests::RequestCounter;
use super::uploads::{self, AsksForUploads};
use super::wait::{Piece, PieceReader, Waiter};
use super::{Created, Entry, PendingUpload, SharedStore, Staged, StagedWriter, Store};
use crate::error::{Error, Result};
use crate::machine::clock;
use crate::memory;

/// Bytes of one GET of a stream: large enough that the request's latency does not show,
/// small enough that several fit in memory.
const READ_BYTES: u64 = 8 << 20;
/// GETs of one stream under way at once, where there is memory for them.
const READ_AHEAD: usize = 3;
/// Streams that there is memory for, or smaller pieces are read.
const STREAMS: u64 = 8;
/// Bytes of the first parts of an upload. S3 takes at most 10,000 parts, the last may be smaller than 5 MiB.
pub const PART_BYTES: usize = 8 << 20;
/// The least bytes of a part that S3 takes, but for the last.
const MIN_PART_BYTES: u64 = 5 << 20;
/// Parts of one size: then they double, so that 10,000 of them are more than the 5 TiB that an object may have.
const PARTS_OF_A_SIZE: usize = 800;
/// Doublings at most.
const DOUBLINGS: usize = 8;

/// Bytes of an upload's part, by its number from 0, where the first has so many.
fn part_bytes(first: usize, number: usize) -> usize {
    first << (number / PARTS_OF_A_SIZE).min(DOUBLINGS)
}

/// Parts of one upload under way at once, where there is memory for them.
const PARTS_AHEAD: usize = 3;
/// Completions that S3 answers with 409, "try again", at most.
const CONFLICTS: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// Uploads that there is memory for, or parts are smaller.
const UPLOADS: u64 = 4;

/// One bucket of an object store.
#[derive(Clone)]
pub struct BucketStore {
    base: String,
    objects: Arc<dyn ObjectStore>,
    uploads: Arc<dyn MultipartStore>,
    s3: Option<S3>,
    waiter: Waiter,
    requests: Arc<RequestCounter>,
}

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
        let waiter = Waiter { runtime, cancel };
        Self { base, objects: store, uploads, s3: None, waiter, requests: Arc::default() }
    }

    /// A bucket of S3, whose keys may be any text.
    pub fn s3(
        base: String,
        builder: AmazonS3Builder,
        runtime: Handle,
        cancel: CancellationToken,
    ) -> Result<Self> {
        let credentials = Credentials::default();
        let builder = builder.with_http_connector(RawKeysConnector(Arc::clone(&credentials)));
        let fail = |e| Error::permanent(format!("can't reach {base}")).because(e);
        let singly = Arc::new(builder.clone().with_disable_bulk_delete(true).build().map_err(fail)?);
        let store = Arc::new(builder.build().map_err(fail)?);
        // It was empty: this is the first to fill it.
        let _ = credentials.set(Arc::clone(store.credentials()));
        let s3 = S3 { pages: Arc::<AmazonS3>::clone(&store), singly };
        Ok(Self { s3: Some(s3), ..Self::new(base, store, runtime, cancel) })
    }

    fn wait<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        self.waiter.wait(work)
    }

    fn path(&self, key: &str) -> Result<Path> {
        if self.s3.is_some() && key.split('/').any(|segment| matches!(segment, "." | "..")) {
            return Err(Error::permanent(format!("{}{key} can't be asked for", self.base))
                .because("its name has a segment `.` or `..`, which HTTP takes for a way through folders"));
        }
        Ok(keys::to_path(key))
    }

    /// What begins with a prefix; of the first level alone, or of all.
    async fn metas(&self, prefix: &str, recursive: bool) -> object_store::Result<Vec<ObjectMeta>> {
        let Some(s3) = &self.s3 else {
            self.requests.write();
            let mut found: Vec<ObjectMeta> = self.objects.list(None).try_collect().await?;
            found.retain(|meta| {
                let key = keys::from_path(&meta.location);
                key.strip_prefix(prefix).is_some_and(|below| recursive || !below.contains('/'))
            });
            return Ok(found);
        };
        let delimiter = (!recursive).then_some("/".into());
        self.pages(s3, prefix, PaginatedListOptions { delimiter, ..PaginatedListOptions::default() }).await
    }

    /// All pages of a listing.
    async fn pages(
        &self,
        s3: &S3,
        prefix: &str,
        mut options: PaginatedListOptions,
    ) -> object_store::Result<Vec<ObjectMeta>> {
        let mut found = Vec::new();
        loop {
            self.requests.write();
            let prefix = Some(prefix).filter(|prefix| !prefix.is_empty());
            let page = s3.pages.list_paginated(prefix, options.clone()).await?;
            found.extend(page.result.objects);
            options.page_token = page.page_token;
            if options.page_token.is_none() {
                return Ok(found);
            }
        }
    }

    fn get_if_there(&self, key: &str, options: GetOptions) -> Result<Option<Vec<u8>>> {
        let path = self.path(key)?;
        self.wait(async {
            self.requests.read();
            let got = match self.objects.get_opts(&path, options).await {
                Ok(result) => result.bytes().await,
                Err(e) => Err(e),
            };
            match got {
                Ok(bytes) => Ok(Some(bytes.into())),
                Err(e) if is_missing(&e) => Ok(None),
                Err(e) => Err(self.error("read", key, &e)),
            }
        })
    }

    /// A range of an object of this version.
    async fn piece(&self, path: &Path, entry: &Entry, range: Range<u64>) -> Result<Bytes> {
        let options = GetOptions {
            if_match: entry.version.clone(),
            range: Some(GetRange::Bounded(range.clone())),
            ..GetOptions::default()
        };
        self.requests.read();
        let got = match self.objects.get_opts(path, options).await {
            Ok(result) => result.bytes().await,
            Err(e) => Err(e),
        };
        match got {
            Ok(bytes) if bytes.len() as u64 == range.end - range.start => Ok(bytes),
            Ok(_) => {
                let (base, key) = (&self.base, &entry.key);
                Err(Error::permanent(format!("{base}{key} became shorter while it was read")))
            }
            Err(e) => Err(self.error("read", &entry.key, &e)),
        }
    }

    /// Says which object it is about, and whether another attempt may do better.
    fn error(&self, verb: &str, key: &str, error: &object_store::Error) -> Error {
        explain(verb, &self.base, key, error)
    }
}

impl Store for BucketStore {
    fn counting(&self, requests: &Arc<RequestCounter>) -> Option<SharedStore> {
        Some(Arc::new(Self { requests: Arc::clone(requests), ..self.clone() }))
    }

    fn list(&self, prefix: &str, recursive: bool) -> Result<Vec<Entry>> {
        let metas = self.wait(async {
            self.metas(prefix, recursive).await.map_err(|e| self.error("list", prefix, &e))
        })?;
        let mut found: Vec<Entry> = metas
            .into_iter()
            .map(|meta| Entry { key: keys::from_path(&meta.location), size: meta.size, version: meta.e_tag })
            // Empty objects named as folders are what consoles make of a folder: none of them is data.
            .filter(|entry| entry.key.starts_with(prefix) && !(entry.size == 0 && entry.key.ends_with('/')))
            .collect();
        found.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        Ok(found)
    }

    fn head(&self, key: &str) -> Result<Option<Entry>> {
        let path = self.path(key)?;
        self.wait(async {
            self.requests.read();
            match self.objects.head(&path).await {
                Ok(meta) => Ok(Some(Entry { key: key.to_owned(), size: meta.size, version: meta.e_tag })),
                Err(e) if is_missing(&e) => Ok(None),
                Err(e) => Err(self.error("read", key, &e)),
            }
        })
    }

    fn open(&self, entry: &Entry, range: Range<u64>) -> Result<Box<dyn Read + Send>> {
        let path = self.path(&entry.key)?;
        let (send, receive) = tokio::sync::mpsc::channel(1);
        let (store, entry) = (self.clone(), entry.clone());
        let bytes = range.end - range.start;
        let task = self.waiter.runtime.spawn(async move {
            let step = memory::piece(STREAMS, READ_BYTES);
            let mut starts = (range.start..range.end).step_by(step as usize).peekable();
            let mut under_way = FuturesOrdered::new();
            loop {
                // One in any case, more where there is memory for them.
                while under_way.len() < READ_AHEAD && starts.peek().is_some() {
                    let reservation = memory::transfers().reserve(step as usize);
                    if reservation.is_none() && !under_way.is_empty() {
                        break;
                    }
                    if let Some(start) = starts.next() {
                        let piece = store.piece(&path, &entry, start..range.end.min(start + step));
                        under_way.push_back(async { (piece.await, reservation) });
                    }
                }
                let Some((piece, reservation)) = under_way.next().await else { return };
                let failed = piece.is_err();
                if send.send(piece.map(|bytes| Piece { bytes, _reservation: reservation })).await.is_err()
                    || failed
                {
                    return;
                }
            }
        });
        Ok(Box::new(PieceReader::new(self.waiter.clone(), receive, bytes, task)))
    }

    fn read(&self, key: &str, range: Range<u64>) -> Result<Vec<u8>> {
        let path = self.path(key)?;
        self.requests.read();
        self.wait(async {
            let bytes =
                self.objects.get_range(&path, range).await.map_err(|e| self.error("read", key, &e))?;
            Ok(bytes.into())
        })
    }

    fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        self.get_if_there(key, GetOptions::default())
    }

    fn start(&self, key: &str, most: u64) -> Result<Option<Vec<u8>>> {
        self.get_if_there(
            key,
            GetOptions { range: Some(GetRange::Bounded(0..most)), ..GetOptions::default() },
        )
    }

    fn put(&self, key: &str, bytes: Vec<u8>) -> Result<()> {
        let path = self.path(key)?;
        self.wait(async {
            self.requests.write();
            self.objects.put(&path, bytes.into()).await.map_err(|e| self.error("write", key, &e))?;
            Ok(())
        })
    }

    fn create(&self, key: &str, bytes: Vec<u8>) -> Result<Created> {
        let path = self.path(key)?;
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        self.wait(async {
            self.requests.write();
            match self.objects.put_opts(&path, bytes.into(), options).await {
                Ok(_) => Ok(Created::New),
                Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                    Ok(Created::Exists)
                }
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
        // Removing is what an interrupted job does last: it is not itself interrupted.
        self.waiter.runtime.block_on(async {
            for (store, paths) in [(&self.objects, plain), (singly, odd)] {
                let mut deleted =
                    store.delete_stream(futures::stream::iter(paths.into_iter().map(Ok)).boxed());
                while let Some(result) = deleted.next().await {
                    match result {
                        Err(e) if !is_missing(&e) => return Err(self.error("remove objects of", "", &e)),
                        _ => {}
                    }
                }
            }
            Ok(())
        })
    }

    fn delete_version(&self, entry: &Entry) -> Result<bool> {
        let version = entry.version.as_deref().and_then(|version| HeaderValue::from_str(version).ok());
        let (Some(s3), Some(version)) = (&self.s3, version) else {
            self.delete(std::slice::from_ref(&entry.key))?;
            return Ok(true);
        };
        let path = self.path(&entry.key)?;
        let deleted = CONDITION.scope((IF_MATCH, version), s3.singly.delete(&path));
        match self.waiter.runtime.block_on(deleted) {
            Err(e) if is_taken(&e) => Ok(false),
            Err(e) if is_unknown_request(&e) => self.delete(std::slice::from_ref(&entry.key)).map(|()| true),
            Err(e) if !is_missing(&e) => Err(self.error("remove", &entry.key, &e)),
            _ => Ok(true),
        }
    }

    fn stage(&self, key: &str, _work: &str) -> Result<Box<dyn StagedWriter>> {
        Ok(Box::new(Upload {
            store: self.clone(),
            key: key.to_owned(),
            path: self.path(key)?,
            id: None,
            buffer: Vec::new(),
            part_bytes: memory::piece(UPLOADS, PART_BYTES as u64).max(MIN_PART_BYTES) as usize,
            under_way: VecDeque::new(),
            parts: Vec::new(),
            sent: 0,
        }))
    }

    fn uninterrupted(&self) -> Option<SharedStore> {
        let waiter = Waiter { cancel: CancellationToken::new(), ..self.waiter.clone() };
        Some(Arc::new(Self { waiter, ..self.clone() }))
    }

    fn complete(&self, key: &str, staged: &Staged) -> Result<Created> {
        match self.try_complete(key, staged, false)? {
            Ok(()) => Ok(Created::New),
            // An upload that is gone while its object is there may have been completed before.
            Err(e) => match self.head(key) {
                Ok(Some(_)) if is_missing(&e) => Ok(Created::Exists),
                _ => Err(self.error("write", key, &e)),
            },
        }
    }

    fn complete_new(&self, key: &str, staged: &Staged) -> Result<Created> {
        let mut pause = FIRST_PAUSE;
        for _ in 0..CONFLICTS {
            let error = match self.try_complete(key, staged, true)? {
                Ok(()) => return Ok(Created::New),
                Err(e) if is_unknown_request(&e) => return self.complete(key, staged),
                Err(e) => e,
            };
            // Refused, for an object is there or is being written; or the upload is gone. What is there tells.
            match self.head(key) {
                Ok(Some(_)) if is_missing(&error) || is_taken(&error) => return Ok(Created::Exists),
                _ if is_taken(&error) => {}
                _ => return Err(self.error("write", key, &error)),
            }
            clock::sleep(pause);
            pause *= 2;
        }
        Err(Error::retry(format!("can't write {}{key}", self.base))
            .because("the store says again and again that somebody else is writing it"))
    }

    fn uploads(&self, prefix: &str) -> Result<Option<Vec<PendingUpload>>> {
        let Some(s3) = &self.s3 else { return Ok(None) };
        let mut options = PaginatedListOptions::default();
        options.extensions.insert(AsksForUploads);
        let listed = self.wait(async { Ok(self.pages(s3, prefix, options).await) })?;
        let metas = match listed {
            Ok(metas) => metas,
            Err(e) if is_unknown_request(&e) => {
                let error = self.error("list uploads below", prefix, &e);
                tracing::debug!(%error, causes = ?error.causes(), "Uploads are not listed.");
                return Ok(None);
            }
            Err(e) => return Err(self.error("list uploads below", prefix, &e)),
        };
        let mut found: Vec<PendingUpload> = metas
            .into_iter()
            .filter_map(|meta| {
                let name = keys::from_path(&meta.location);
                let (key, id) = uploads::key_and_id(&name)?;
                Some(PendingUpload { key: key.to_owned(), id: id.to_owned() })
            })
            .filter(|upload| upload.key.starts_with(prefix))
            .collect();
        found.sort_unstable();
        Ok(Some(found))
    }

    fn abort(&self, key: &str, staged: &Staged) -> Result<()> {
        let Staged::Upload { id, .. } = staged else { return Err(self.wrong_kind(key)) };
        let path = self.path(key)?;
        match self.waiter.runtime.block_on(self.uploads.abort_multipart(&path, id)) {
            Err(e) if !is_missing(&e) => Err(self.error("remove", key, &e)),
            _ => Ok(()),
        }
    }
}

impl BucketStore {
    /// Completes an upload; where there is no object yet, if the server knows that condition.
    fn try_complete(&self, key: &str, staged: &Staged, only_new: bool) -> Result<object_store::Result<()>> {
        let Staged::Upload { id, parts } = staged else { return Err(self.wrong_kind(key)) };
        let path = self.path(key)?;
        let parts =
            parts.iter().map(|content_id| object_store::multipart::PartId { content_id: content_id.clone() });
        self.requests.write();
        let completed = self.uploads.complete_multipart(&path, id, parts.collect());
        Ok(self.waiter.runtime.block_on(async {
            let done = if only_new {
                CONDITION.scope((IF_NONE_MATCH, HeaderValue::from_static("*")), completed).await
            } else {
                completed.await
            };
            done.map(drop)
        }))
    }

    fn wrong_kind(&self, key: &str) -> Error {
        Error::permanent(format!(
            "the commit record of {}{key} was not written by this kind of store",
            self.base
        ))
    }
}

/// Whether a condition was refused: with 412, or with S3's 409.
fn is_taken(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::Precondition { .. } | object_store::Error::AlreadyExists { .. })
}

/// A multipart upload that is begun with its first part.
struct Upload {
    store: BucketStore,
    key: String,
    path: Path,
    id: Option<String>,
    buffer: Vec<u8>,
    part_bytes: usize,
    under_way: VecDeque<JoinHandle<object_store::Result<object_store::multipart::PartId>>>,
    parts: Vec<String>,
    sent: usize,
}

impl Upload {
    fn send(&mut self) -> Result<()> {
        let id = match &self.id {
            Some(id) => id.clone(),
            None => {
                let Self { store, path, key, .. } = self;
                store.requests.write();
                // Whoever went away before the answer would not know which upload to abort.
                let created = store.waiter.runtime.block_on(store.uploads.create_multipart(path));
                let id = created.map_err(|e| store.error("write", key, &e))?;
                self.id.insert(id).clone()
            }
        };
        while self.under_way.len() >= PARTS_AHEAD {
            self.receive()?;
        }
        let reservation = memory::transfers().reserve(self.buffer.len());
        let waits = reservation.is_none();
        let payload = PutPayload::from(std::mem::take(&mut self.buffer));
        let (uploads, path, number) = (Arc::clone(&self.store.uploads), self.path.clone(), self.sent);
        self.sent += 1;
        self.store.requests.write();
        let part = async move {
            let _reservation = reservation;
            uploads.put_part(&path, &id, number, payload).await
        };
        self.under_way.push_back(self.store.waiter.runtime.spawn(part));
        // Without memory for another part the next one is begun when this one is written.
        while waits && !self.under_way.is_empty() {
            self.receive()?;
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<()> {
        let Self { store, key, under_way, parts, .. } = self;
        if let Some(part) = under_way.pop_front() {
            let id = store.wait(async {
                match part.await {
                    Ok(Ok(part)) => Ok(part.content_id),
                    Ok(Err(e)) => Err(store.error("write", key, &e)),
                    Err(e) => Err(Error::retry(format!("can't write {}{key}", store.base)).because(e)),
                }
            })?;
            parts.push(id);
        }
        Ok(())
    }
}

impl StagedWriter for Upload {
    fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let part_bytes = part_bytes(self.part_bytes, self.sent);
            if self.buffer.capacity() == 0 {
                self.buffer.reserve_exact(part_bytes.min(bytes.len().max(64 << 10)));
            }
            let n = bytes.len().min(part_bytes - self.buffer.len());
            self.buffer.extend_from_slice(&bytes[..n]);
            bytes = &bytes[n..];
            if self.buffer.len() == part_bytes {
                self.send()?;
            }
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Staged> {
        // S3 wants a part at least, if an empty one.
        if !self.buffer.is_empty() || self.sent == 0 {
            self.send()?;
        }
        while !self.under_way.is_empty() {
            self.receive()?;
        }
        let id = self.id.take().unwrap_or_default();
        Ok(Staged::Upload { id, parts: std::mem::take(&mut self.parts) })
    }

    fn publish(mut self: Box<Self>) -> Result<()> {
        if self.sent == 0 {
            return self.store.put(&self.key, std::mem::take(&mut self.buffer));
        }
        let (store, key) = (self.store.clone(), self.key.clone());
        let staged = self.finish()?;
        store.complete(&key, &staged).map(drop)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.under_way.iter().for_each(JoinHandle::abort);
        if let Some(id) = self.id.take() {
            let _ = self.store.abort(&self.key, &Staged::Upload { id, parts: Vec::new() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{MIN_PART_BYTES, PART_BYTES, part_bytes};

    #[test]
    fn ten_thousand_parts_are_the_largest_object_that_there_may_be() {
        for first in [MIN_PART_BYTES as usize, PART_BYTES] {
            let all: u128 = (0..10_000).map(|number| part_bytes(first, number) as u128).sum();
            assert!(all >= 5 << 40, "{all}");
            assert_eq!([0, 799, 800].map(|number| part_bytes(first, number)), [first, first, 2 * first]);
            assert!(
                (0..10_000).all(|number| part_bytes(first, number) <= 5 << 30),
                "a part has at most 5 GiB"
            );
        }
    }
}
