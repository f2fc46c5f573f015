//! Gives up a request on which nothing moves.
//!
//! ```text
//!  request ──────────────────> head of the answer ── piece ── piece ── …
//!          <─ LIMIT, and what ─>                  <─ LIMIT ─>
//!             its content takes
//! ```
//!
//! A limit of whole requests would cut large objects on slow lines. How far a request's own content is sent the client
//! doesn't tell: it has as long as the slowest line that is reckoned with takes.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use object_store::client::{
    HttpClient, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody,
};
use tokio::time::{Instant, Sleep};

/// How long a request may stand still.
pub(super) const LIMIT: Duration = Duration::from_secs(30);
/// Bytes that the slowest line takes in a second.
const SLOWEST: u32 = 64 << 10;

#[derive(Debug, thiserror::Error)]
#[error("nothing was received for {} s", .0.as_secs())]
struct StandsStill(Duration);

fn stands_still(limit: Duration) -> HttpError {
    HttpError::new(HttpErrorKind::Timeout, StandsStill(limit))
}

/// How long the head of the answer may take to a request with so many bytes.
fn limit(content: usize) -> Duration {
    LIMIT + Duration::from_secs(1) * u32::try_from(content).unwrap_or(u32::MAX).div_euclid(SLOWEST)
}

/// Makes a request; an error of the kind [`HttpErrorKind::Timeout`] where it stands still.
pub(super) async fn execute(client: &HttpClient, request: HttpRequest) -> Result<HttpResponse, HttpError> {
    let limit = limit(request.body().content_length());
    let answer = tokio::time::timeout(limit, client.execute(request)).await;
    let (head, body) = answer.map_err(|_| stands_still(limit))??.into_parts();
    let sleep = Box::pin(tokio::time::sleep(LIMIT));
    Ok(HttpResponse::from_parts(head, HttpResponseBody::new(WatchedBody { body, sleep })))
}

/// The body of an answer, which ends with an error where nothing more of it comes.
struct WatchedBody {
    body: HttpResponseBody,
    sleep: Pin<Box<Sleep>>,
}

impl Body for WatchedBody {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Pending => self.sleep.as_mut().poll(context).map(|()| Some(Err(stands_still(LIMIT)))),
            ready @ Poll::Ready(_) => {
                self.sleep.as_mut().reset(Instant::now() + LIMIT);
                ready
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;
    use object_store::client::{HttpRequestBody, HttpService};
    use tokio::time::sleep;

    use super::{
        Body, Bytes, Context, Duration, Frame, HttpClient, HttpError, HttpErrorKind, HttpRequest,
        HttpResponse, HttpResponseBody, Instant, LIMIT, Pin, Poll, Sleep, execute,
    };

    /// Nearly too slow.
    const PAUSE: Duration = Duration::from_secs(29);

    /// A server that answers after some time, and then by the byte.
    #[derive(Debug)]
    struct Slow {
        answers_after: Duration,
        /// It says nothing more after so many bytes.
        says: usize,
    }

    #[async_trait::async_trait]
    impl HttpService for Slow {
        async fn call(&self, _: HttpRequest) -> Result<HttpResponse, HttpError> {
            sleep(self.answers_after).await;
            let (left, pause) = (self.says, Box::pin(sleep(PAUSE)));
            Ok(HttpResponse::new(HttpResponseBody::new(Drips { left, pause })))
        }
    }

    /// A byte in each [`PAUSE`], and never an end.
    struct Drips {
        left: usize,
        pause: Pin<Box<Sleep>>,
    }

    impl Body for Drips {
        type Data = Bytes;
        type Error = HttpError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
            if self.left == 0 || self.pause.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            self.left -= 1;
            self.pause.as_mut().reset(Instant::now() + PAUSE);
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"x")))))
        }
    }

    async fn asked(content: usize, answers_after: Duration, says: usize) -> Result<HttpResponse, HttpError> {
        let body = HttpRequestBody::from(vec![0; content]);
        let request = http::Request::put("http://h/b/k").body(body).unwrap();
        execute(&HttpClient::new(Slow { answers_after, says }), request).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_without_an_answer_is_given_up_and_one_with_content_has_the_time_to_send_it() {
        let begun = Instant::now();
        let error = asked(0, Duration::from_hours(1), 0).await.unwrap_err();
        assert_eq!((error.kind(), begun.elapsed()), (HttpErrorKind::Timeout, LIMIT));
        let minutes = Duration::from_mins(2);
        assert!(asked(0, minutes, 0).await.is_err() && asked(8 << 20, minutes, 0).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_answer_that_moves_is_never_cut_and_one_that_stands_still_is() {
        let begun = Instant::now();
        let mut content = asked(0, PAUSE, 100).await.unwrap().into_body().bytes_stream();
        for _ in 0..100 {
            assert_eq!(content.next().await.unwrap().unwrap(), "x");
        }
        assert!(begun.elapsed() >= 100 * PAUSE, "it was to be slow");
        let error = content.next().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), HttpErrorKind::Timeout);
    }
}
