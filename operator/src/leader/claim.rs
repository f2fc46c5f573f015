//! Until when this process may change the cluster, and the layer of its client that holds it to that.
//!
//! A leader whose lease is lost drops its passes, but a process that is stopped for a minute and goes on knows nothing of
//! the minute: the next request of a pass may set out before anything has looked at the clock. So each write looks.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use futures::future::Either;
use futures::{FutureExt as _, TryFutureExt as _};
use http::{Method, Request};
use kube::client::Body;
use tokio::time::Instant;
use tower::{BoxError, Layer, Service};

/// Until when this process may change the cluster. Clones share it.
#[derive(Clone, Debug)]
pub struct Claim(Arc<Mutex<Until>>);

#[derive(Clone, Copy, Debug)]
enum Until {
    /// There is one replica only.
    Always,
    Never,
    Time(Instant),
}

impl Claim {
    /// Of a process that is the only one.
    pub fn always() -> Self {
        Self(Arc::new(Mutex::new(Until::Always)))
    }

    /// Of a process that does not lead yet.
    pub fn none() -> Self {
        Self(Arc::new(Mutex::new(Until::Never)))
    }

    /// It holds until then, and no longer.
    pub fn set(&self, until: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = until.map_or(Until::Never, Until::Time);
    }

    /// Whether this process may change the cluster now.
    pub fn holds(&self) -> bool {
        match *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Until::Always => true,
            Until::Never => false,
            Until::Time(until) => Instant::now() < until,
        }
    }
}

/// A write that was not sent.
#[derive(Debug, thiserror::Error)]
#[error("this replica does not lead any more: {0} was not sent")]
pub struct NotLeading(String);

impl<S> Layer<S> for Claim {
    type Service = Fenced<S>;

    fn layer(&self, inner: S) -> Fenced<S> {
        Fenced { inner, claim: self.clone() }
    }
}

/// Sends what changes something only while the claim holds.
#[derive(Clone, Debug)]
pub struct Fenced<S> {
    inner: S,
    claim: Claim,
}

impl<S> Service<Request<Body>> for Fenced<S>
where
    S: Service<Request<Body>>,
    S::Error: Into<BoxError>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Either<
        futures::future::MapErr<S::Future, fn(S::Error) -> BoxError>,
        std::future::Ready<Result<S::Response, BoxError>>,
    >;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if request.method() != Method::GET && !self.claim.holds() {
            let what = format!("{} {}", request.method(), request.uri().path());
            return std::future::ready(Err(NotLeading(what).into())).right_future();
        }
        let into: fn(S::Error) -> BoxError = Into::into;
        self.inner.call(request).map_err(into).left_future()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{Method, Request, Response};
    use kube::client::Body;
    use tokio::time::Instant;
    use tower::{BoxError, Layer as _, Service as _, service_fn};

    use super::Claim;

    async fn send(claim: &Claim, method: Method) -> Result<(), String> {
        let server = service_fn(|_: Request<Body>| async { Ok::<_, BoxError>(Response::new(())) });
        let request = Request::builder().method(method).uri("/api/v1/pods").body(Body::empty()).unwrap();
        claim.layer(server).call(request).await.map(drop).map_err(|error| error.to_string())
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_is_sent_only_while_the_claim_holds() {
        let refused = Err("this replica does not lead any more: POST /api/v1/pods was not sent".to_owned());
        let claim = Claim::none();
        assert_eq!(send(&claim, Method::POST).await, refused);
        claim.set(Some(Instant::now() + Duration::from_secs(10)));
        tokio::time::advance(Duration::from_millis(9_999)).await;
        assert_eq!(send(&claim, Method::POST).await, Ok(()));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(send(&claim, Method::POST).await, refused);
        assert_eq!(send(&claim, Method::GET).await, Ok(()), "what is only read does no harm");
        assert_eq!(send(&Claim::always(), Method::POST).await, Ok(()));
    }
}
