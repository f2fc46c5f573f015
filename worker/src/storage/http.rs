//! Objects on web servers: read, one by one, by their URLs.
//!
//! ```text
//!  GET, Range: bytes=0-0 ──> 206, Content-Range: bytes 0-0/1234   1,234 bytes, any range of them
//!                       ├──> 200, Content-Length: 1234            1,234 bytes, in one piece
//!                       ├──> 200                                  in one piece, counted by reading it
//!                       └──> 404                                  no object
//! ```
//!
//! HEAD is not asked: servers that refuse it, signed URLs for GET alone, and answers without a length are
//! common. The status is trusted: a 200 to a request for a range
//! means that the range is to be read up to. An object whose ETag (without one: time of change) or size differs from the plan's has
//! changed.

mod answer;
mod content;

use std::collections::HashMap;
use std::fmt;
use std::io::Read;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use http::{StatusCode, header};
use object_store::client::{HttpClient, HttpError, HttpErrorKind, HttpRequestBody, HttpResponse};

use self::answer::{ContentRange, header_of, is_passing, pause, retry_after};
use super::outage::{Outage, RequestFailure, Unmet, gave_up};
use super::unreached::{self, is_lost};
use super::wait::{PieceReader, Waiter};
use super::{Created, ListedObject, Staged, StagedWriter, Store};
use crate::error::{Error, Result};
use crate::machine::clock;

/// Bytes of an object that may be: a petabyte, twenty times what S3 takes.
const MAX_OBJECT: u64 = 1 << 50;
/// How often a request is repeated that the server couldn't answer now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retries {
    pub(super) most: u32,
    /// Before the first repetition; it doubles with each.
    pub(super) pause: Duration,
}

impl Default for Retries {
    fn default() -> Self {
        Self { most: 4, pause: Duration::from_millis(100) }
    }
}

/// One web server.
#[derive(Clone)]
pub(super) struct HttpStore {
    base: String,
    client: HttpClient,
    retries: Retries,
    waiter: Waiter,
    /// What is known of objects.
    known: Arc<Mutex<HashMap<String, KnownObject>>>,
    outage: Arc<Outage>,
}

/// An object, as the server describes it.
#[derive(Clone, Debug)]
struct KnownObject {
    size: u64,
    version: Option<String>,
    has_ranges: bool,
}

/// An answer that has content: all of the object, or from the byte on that was asked for.
struct Answer {
    /// Where the content begins.
    start: u64,
    /// The object's bytes, if the server says so.
    size: Option<u64>,
    version: Option<String>,
    response: HttpResponse,
}

impl fmt::Debug for HttpStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpStore({})", self.base)
    }
}

/// Why there is no answer.
enum Failed {
    Missing,
    /// The range is not in the object, which has so many bytes.
    OutOfRange(Option<u64>),
    /// The server didn't answer, however often it was asked; why.
    Away(Box<Error>, String),
    Other(Error),
}

impl RequestFailure for Failed {
    fn outage(&self) -> Option<String> {
        match self {
            Self::Away(_, cause) => Some(cause.clone()),
            _ => None,
        }
    }
}

enum RequestError {
    Url(Error),
    Http(HttpError),
}

impl HttpStore {
    /// A server whose objects' URLs begin with `base`.
    pub(super) fn new(
        base: String,
        client: HttpClient,
        retries: Retries,
        waiter: Waiter,
        outage: Outage,
    ) -> Self {
        Self { base, client, retries, waiter, known: Arc::default(), outage: Arc::new(outage) }
    }

    fn url(&self, key: &str) -> String {
        format!("{}{key}", self.base)
    }

    fn changed(&self, key: &str) -> Error {
        Error::permanent(format!("{} changed while the job was reading it: run the job again", self.url(key)))
    }

    fn cut_off(&self, key: &str) -> Error {
        Error::retry(format!("can't read {}", self.url(key))).because("the connection ended too early")
    }

    fn fault(&self, key: &str) -> Error {
        Error::retry(format!("can't read {}", self.url(key)))
    }

    fn broken(&self, key: &str, error: &HttpError) -> Error {
        unreached::explained(self.fault(key), &self.url(key), error)
    }

    /// Asks for an object or a range of it, as long as the job waits for the server.
    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<Answer, Failed> {
        let answer = self.outage.outlast(&self.waiter, || self.ask(key, range.clone())).await;
        answer.map_err(|unmet| match unmet {
            Unmet::Failed(failed) => failed,
            Unmet::Away(failed, waited) => Failed::Other(gave_up(self.failed(key, failed), waited)),
            Unmet::Cancelled => Failed::Other(Error::cancelled()),
        })
    }

    /// Asks for it; again, after a pause, where the server may answer later.
    async fn ask(&self, key: &str, range: Option<Range<u64>>) -> Result<Answer, Failed> {
        let mut attempt = 0;
        loop {
            let asked_at = clock::now();
            let (failed, cause, asked) = match self.request(key, range.clone()).await {
                Ok(response) if is_passing(response.status()) => {
                    let cause = format!("the server answers {}", response.status());
                    (self.fault(key).because(&cause), cause, retry_after(&response))
                }
                Ok(response) => return self.answer(key, range.as_ref(), response),
                Err(RequestError::Http(error)) if is_lost(&error) && !unreached::is_final(&error) => {
                    let cause = unreached::cause(&error);
                    if matches!(error.kind(), HttpErrorKind::Connect | HttpErrorKind::Timeout) {
                        self.outage.is_away(asked_at, &cause);
                    }
                    (self.broken(key, &error), cause, None)
                }
                Err(RequestError::Http(error)) => return Err(Failed::Other(self.broken(key, &error))),
                Err(RequestError::Url(error)) => return Err(Failed::Other(error)),
            };
            if attempt == self.retries.most {
                return Err(Failed::Away(Box::new(failed), cause));
            }
            tracing::debug!(%failed, causes = failed.causes_text(), attempt, "A request is repeated.");
            tokio::time::sleep(asked.unwrap_or_else(|| pause(self.retries.pause, attempt))).await;
            attempt += 1;
        }
    }

    async fn request(&self, key: &str, range: Option<Range<u64>>) -> Result<HttpResponse, RequestError> {
        let url = self.url(key);
        let wrong =
            |why: String| RequestError::Url(Error::usage(format!("`{url}` is not a valid URL: {why}")));
        // What a URL must not hold as it is, spaces and letters of other scripts, is encoded here.
        let parsed = url::Url::parse(&url).map_err(|e| wrong(e.to_string()))?;
        let mut request = http::Request::get(parsed.as_str());
        if let Some(Range { start, end }) = range {
            request = request.header(header::RANGE, format!("bytes={start}-{}", end - 1));
        }
        let request = request.body(HttpRequestBody::empty()).map_err(|e| wrong(e.to_string()))?;
        self.client.execute(request).await.map_err(RequestError::Http)
    }

    fn answer(
        &self,
        key: &str,
        range: Option<&Range<u64>>,
        response: HttpResponse,
    ) -> Result<Answer, Failed> {
        let url = self.url(key);
        let text = |name| header_of(&response, name);
        let version = text(header::ETAG).or_else(|| text(header::LAST_MODIFIED)).map(str::to_owned);
        let content_range = text(header::CONTENT_RANGE).and_then(ContentRange::parse);
        let status = response.status();
        let length = || text(header::CONTENT_LENGTH).and_then(|length| length.parse().ok());
        let said = content_range.as_ref().and_then(|range| range.size).or_else(length);
        let refused = |message: String| {
            Err(Failed::Other(Error::permanent(message).because(format_args!("the server answers {status}"))))
        };
        match (status, range) {
            _ if said.is_some_and(|size| size > MAX_OBJECT) => {
                let size = said.unwrap_or_default();
                refused(format!("can't read {url}: the server says that it has {size} bytes, which can't be"))
            }
            (StatusCode::OK, _) => Ok(Answer { start: 0, size: length(), version, response }),
            (StatusCode::PARTIAL_CONTENT, Some(range)) => match content_range {
                Some(ContentRange { start: Some(start), size }) if start == range.start => {
                    Ok(Answer { start, size, version, response })
                }
                _ => refused(format!("can't read {url}: the server gives another range than asked for")),
            },
            (StatusCode::NOT_FOUND | StatusCode::GONE, _) => Err(Failed::Missing),
            (StatusCode::RANGE_NOT_SATISFIABLE, Some(_)) => {
                Err(Failed::OutOfRange(content_range.and_then(|range| range.size)))
            }
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => {
                refused(format!("can't read {url}: the server doesn't allow it"))
            }
            _ => refused(format!("can't read {url}")),
        }
    }

    /// Looks what there is, once.
    async fn look(&self, key: &str) -> Result<Option<KnownObject>> {
        let mut answer = self.get(key, Some(0..1)).await;
        if let Err(Failed::OutOfRange(size)) = answer {
            if size == Some(0) {
                return Ok(Some(KnownObject { size: 0, version: None, has_ranges: false }));
            }
            answer = self.get(key, None).await;
        }
        match answer {
            Ok(Answer { size: Some(size), version, response, .. }) => {
                let has_ranges = response.status() == StatusCode::PARTIAL_CONTENT;
                Ok(Some(KnownObject { size, version, has_ranges }))
            }
            Ok(Answer { version, .. }) => {
                Ok(Some(KnownObject { size: self.count(key).await?, version, has_ranges: false }))
            }
            Err(Failed::Missing) => Ok(None),
            Err(failed) => Err(self.failed(key, failed)),
        }
    }

    /// The bytes of an object whose server doesn't tell them.
    async fn count(&self, key: &str) -> Result<u64> {
        let answer = self.get(key, None).await.map_err(|failed| self.failed(key, failed))?;
        let mut content = answer.response.into_body().bytes_stream();
        let mut size = 0;
        while let Some(piece) = content.next().await {
            size += piece.map_err(|error| self.broken(key, &error))?.len() as u64;
        }
        Ok(size)
    }

    fn failed(&self, key: &str, failed: Failed) -> Error {
        match failed {
            Failed::Missing => Error::permanent(format!("there is no object {}", self.url(key))),
            Failed::OutOfRange(_) => self.changed(key),
            Failed::Away(error, _) => *error,
            Failed::Other(error) => error,
        }
    }

    fn known(&self, key: &str) -> Result<Option<KnownObject>> {
        let lock = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let found = lock().get(key).cloned();
        if found.is_some() {
            return Ok(found);
        }
        let found = self.waiter.wait(self.look(key))?;
        if let Some(known) = &found {
            lock().insert(key.to_owned(), known.clone());
        }
        Ok(found)
    }

    fn read_only<T>(&self, key: &str) -> Result<T> {
        Err(Error::permanent(format!("can't write {}: a web server is only read", self.url(key))))
    }
}

impl Store for HttpStore {
    // A web server has no list: there is nothing below a prefix.
    fn list(&self, _prefix: &str, _recursive: bool) -> Result<Vec<ListedObject>> {
        Ok(Vec::new())
    }

    fn head(&self, key: &str) -> Result<Option<ListedObject>> {
        let known = self.known(key)?;
        Ok(known.map(|KnownObject { size, version, .. }| ListedObject { key: key.to_owned(), size, version }))
    }

    fn has_ranges(&self, key: &str) -> Result<bool> {
        Ok(self.known(key)?.is_some_and(|known| known.has_ranges))
    }

    fn open(&self, entry: &ListedObject, range: Range<u64>) -> Result<Box<dyn Read + Send>> {
        let bytes = range.end - range.start;
        if bytes == 0 {
            return Ok(Box::new(std::io::empty()));
        }
        let (send, receive) = tokio::sync::mpsc::channel(1);
        let (store, entry) = (self.clone(), entry.clone());
        let task = self.waiter.begin(async move {
            if let Err(error) = store.send(&entry, range, &send).await {
                // Nobody may read any more.
                let _ = send.send(Err(error)).await;
            }
        });
        Ok(Box::new(PieceReader::new(self.waiter.clone(), receive, bytes, task)))
    }

    fn read(&self, key: &str, range: Range<u64>) -> Result<Vec<u8>> {
        let Some(KnownObject { size, version, .. }) = self.known(key)? else {
            return Err(self.failed(key, Failed::Missing));
        };
        let entry = ListedObject { key: key.to_owned(), size, version };
        self.waiter.wait(async { self.piece(&entry, range).await.map(Vec::from) })
    }

    fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        match self.head(key)? {
            Some(entry) => self.read(key, 0..entry.size).map(Some),
            None => Ok(None),
        }
    }

    fn put(&self, key: &str, _bytes: Vec<u8>) -> Result<()> {
        self.read_only(key)
    }

    fn create(&self, key: &str, _bytes: Vec<u8>) -> Result<Created> {
        self.read_only(key)
    }

    fn delete(&self, keys: &[String]) -> Result<()> {
        keys.iter().try_for_each(|key| self.read_only(key))
    }

    fn stage(&self, key: &str, _work: &str) -> Result<Box<dyn StagedWriter>> {
        self.read_only(key)
    }

    fn complete(&self, key: &str, _staged: &Staged) -> Result<Created> {
        self.read_only(key)
    }

    fn abort(&self, key: &str, _staged: &Staged) -> Result<()> {
        self.read_only(key)
    }
}
