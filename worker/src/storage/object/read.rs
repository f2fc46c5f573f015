//! Reading objects: whole, a range, or as a stream that is fetched ahead.

use std::io::Read;
use std::ops::Range;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::FuturesOrdered;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStoreExt as _};

use super::{BucketStore, UnmetRequest, is_missing};
use crate::error::{Error, Result};
use crate::memory;
use crate::storage::ListedObject;
use crate::storage::explain::is_out_of_range;
use crate::storage::wait::{Piece, PieceReader, READ_BYTES, STREAMS};

/// GETs of one stream under way at once, where there is memory for them.
const READ_AHEAD: usize = 3;

impl BucketStore {
    /// One object, if it is there.
    pub(super) fn look(&self, key: &str) -> Result<Option<ListedObject>> {
        let path = self.path(key)?;
        self.wait(async {
            self.requests.read();
            match self.outlast(|| self.objects.head(&path)).await {
                Ok(meta) => {
                    Ok(Some(ListedObject { key: key.to_owned(), size: meta.size, version: meta.e_tag }))
                }
                Err(e) if is_missing(&e) => Ok(None),
                Err(e) => Err(self.error("read", key, &e)),
            }
        })
    }

    /// An object or a range of it, if it is there.
    pub(super) fn get_if_there(&self, key: &str, range: Option<GetRange>) -> Result<Option<Vec<u8>>> {
        let path = self.path(key)?;
        self.wait(async {
            self.requests.read();
            match self.got(&path, GetOptions { range, ..GetOptions::default() }).await {
                Ok(bytes) => Ok(Some(bytes.into())),
                Err(e) if is_missing(&e) => Ok(None),
                // Not even the first byte is there.
                Err(e) if e.failure().is_some_and(is_out_of_range) => Ok(Some(Vec::new())),
                Err(e) => Err(self.error("read", key, &e)),
            }
        })
    }

    /// A range of an object, whole.
    pub(super) fn read_range(&self, key: &str, range: Range<u64>) -> Result<Vec<u8>> {
        let path = self.path(key)?;
        self.requests.read();
        self.wait(async {
            let length = range.end - range.start;
            let options = GetOptions { range: Some(GetRange::Bounded(range)), ..GetOptions::default() };
            match self.got(&path, options).await {
                Ok(bytes) if bytes.len() as u64 == length => Ok(bytes.into()),
                Ok(_) => Err(self.shorter(key)),
                Err(e) => Err(self.error("read", key, &e)),
            }
        })
    }

    /// What a server gives, where it is as much as the server says that it is.
    async fn got(&self, path: &Path, options: GetOptions) -> Result<Bytes, UnmetRequest> {
        let get = || async {
            let answer = self.objects.get_opts(path, options.clone()).await?;
            let said = answer.range.end - answer.range.start;
            match answer.bytes().await? {
                bytes if bytes.len() as u64 == said => Ok(bytes),
                bytes => Err(object_store::Error::Generic {
                    store: "S3",
                    source: format!("the server says that it gives {said} bytes, and gives {}", bytes.len())
                        .into(),
                }),
            }
        };
        self.outlast(get).await
    }

    fn shorter(&self, key: &str) -> Error {
        Error::permanent(format!("{}{key} became shorter while it was read", self.base))
    }

    /// A range of an object of this version.
    async fn piece(&self, path: &Path, entry: &ListedObject, range: Range<u64>) -> Result<Bytes> {
        let options = GetOptions {
            if_match: entry.version.clone(),
            range: Some(GetRange::Bounded(range.clone())),
            ..GetOptions::default()
        };
        self.requests.read();
        match self.got(path, options).await {
            Ok(bytes) if bytes.len() as u64 == range.end - range.start => Ok(bytes),
            Ok(_) => Err(self.shorter(&entry.key)),
            Err(e) => Err(self.error("read", &entry.key, &e)),
        }
    }

    /// A stream over a range of an object of this version.
    pub(super) fn stream(&self, entry: &ListedObject, range: Range<u64>) -> Result<Box<dyn Read + Send>> {
        let path = self.path(&entry.key)?;
        let (send, receive) = tokio::sync::mpsc::channel(1);
        let (store, entry) = (self.clone(), entry.clone());
        let bytes = range.end - range.start;
        let task = self.waiter.begin(async move {
            let step = store.sizes.map_or_else(|| memory::piece(STREAMS, READ_BYTES), |sizes| sizes.read);
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
}
