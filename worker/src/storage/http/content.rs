//! What answers hold of an object: pieces of it, or all in one.

use std::ops::Range;

use bytes::Bytes;
use futures::StreamExt as _;
use http::StatusCode;
use object_store::client::HttpError;
use tokio::sync::mpsc::Sender;

use super::HttpStore;
use super::answer::pause;
use crate::error::{Error, Result};
use crate::memory;
use crate::storage::ListedObject;
use crate::storage::wait::{Piece, READ_BYTES, STREAMS};

/// Requests of one stream under way at once.
const READ_AHEAD: usize = 3;

/// What an answer holds of a range of an object.
pub(super) struct Content<'a> {
    store: &'a HttpStore,
    key: &'a str,
    /// Whether the answer is the object from its beginning on.
    is_whole: bool,
    /// Where the body is in the object.
    at: u64,
    wanted: Range<u64>,
    grown_behind: Option<u64>,
    body: futures::stream::BoxStream<'static, Result<Bytes, HttpError>>,
}

impl Content<'_> {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        let Self { store, key, wanted, .. } = self;
        while self.at < wanted.end || self.grown_behind == Some(self.at) {
            let Some(piece) = self.body.next().await else { break };
            let mut piece = piece.map_err(|error| store.broken(key, &error))?;
            let begins = self.at;
            self.at += piece.len() as u64;
            if self.grown_behind.is_some_and(|size| self.at > size) {
                return Err(store.changed(key));
            }
            piece.truncate(usize::try_from(wanted.end - begins).unwrap_or(usize::MAX));
            let skip = wanted.start.saturating_sub(begins).min(piece.len() as u64);
            let wanted = piece.split_off(skip as usize);
            if !wanted.is_empty() {
                return Ok(Some(wanted));
            }
        }
        Ok(None)
    }

    async fn read_to_end(&mut self, into: &mut Vec<u8>) -> Result<()> {
        while let Some(piece) = self.next().await? {
            into.extend_from_slice(&piece);
        }
        Ok(())
    }
}

impl HttpStore {
    /// A range of an object, whole. An answer that ends before is continued by another.
    pub(super) async fn piece(&self, entry: &ListedObject, range: Range<u64>) -> Result<Bytes> {
        let mut piece = Vec::with_capacity((range.end - range.start) as usize);
        let mut attempt = 0;
        while (piece.len() as u64) < range.end - range.start {
            let before = piece.len();
            let from = range.start + before as u64;
            let mut content = self.open_content(entry, from..range.end, range.end).await?;
            let read = content.read_to_end(&mut piece).await;
            if piece.len() > before && read.as_ref().err().is_none_or(Error::is_retryable) {
                continue;
            }
            let error = read.err().unwrap_or_else(|| self.cut_off(&entry.key));
            if !error.is_retryable() || attempt == self.retries.most {
                return Err(error);
            }
            tokio::time::sleep(pause(self.retries.pause, attempt)).await;
            attempt += 1;
        }
        Ok(piece.into())
    }

    /// Asks for `asked` and reads what the answer holds of it, up to `end` if it holds more.
    async fn open_content<'a>(
        &'a self,
        entry: &'a ListedObject,
        asked: Range<u64>,
        end: u64,
    ) -> Result<Content<'a>> {
        let answer = self.get(&entry.key, Some(asked.clone())).await;
        let answer = answer.map_err(|failed| self.failed(&entry.key, failed))?;
        let other_version = matches!((&answer.version, &entry.version), (Some(a), Some(b)) if a != b);
        if other_version || answer.size.is_some_and(|size| size != entry.size) {
            return Err(self.changed(&entry.key));
        }
        let is_whole = answer.response.status() == StatusCode::OK;
        Ok(Content {
            store: self,
            key: &entry.key,
            is_whole,
            at: answer.start,
            wanted: asked.start..if is_whole { end } else { asked.end },
            // Only who reads on sees that an object of unknown length has grown.
            grown_behind: (answer.size.is_none() && end == entry.size).then_some(entry.size),
            body: answer.response.into_body().bytes_stream(),
        })
    }

    /// Sends a range: in pieces, several ahead, or as it comes where the server gives only all.
    pub(super) async fn send(
        &self,
        entry: &ListedObject,
        range: Range<u64>,
        send: &Sender<Result<Piece>>,
    ) -> Result<()> {
        let step = memory::piece(STREAMS, READ_BYTES);
        let first = range.start..range.end.min(range.start + step);
        let mut content = self.open_content(entry, first.clone(), range.end).await?;
        if content.is_whole {
            let mut left = range.end - range.start;
            while let Some(piece) = content.next().await? {
                left -= piece.len() as u64;
                if send.send(Ok(piece.into())).await.is_err() {
                    return Ok(());
                }
            }
            return if left == 0 { Ok(()) } else { Err(self.cut_off(&entry.key)) };
        }
        // The first piece is asked for again where this answer is not all of it.
        let mut piece = Vec::new();
        let is_there =
            content.read_to_end(&mut piece).await.is_ok() && piece.len() as u64 == first.end - first.start;
        let from = if is_there { first.end } else { range.start };
        if is_there && send.send(Ok(Bytes::from(piece).into())).await.is_err() {
            return Ok(());
        }
        let mut pieces = futures::stream::iter((from..range.end).step_by(step as usize))
            .map(|start| self.piece(entry, start..range.end.min(start + step)))
            .buffered(READ_AHEAD);
        while let Some(piece) = pieces.next().await {
            if send.send(Ok(piece?.into())).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }
}
