//! The client of the API server: kube's, with limits on how long a connection or a request may be silent.
//!
//! A connection whose packets are dropped by the network says nothing, and kube's own client waits for it: a
//! watch for five minutes, a request as long as it takes. Here the kernel probes connections, and a request
//! without an answer is given up and made again.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::client::retry::RetryPolicy;
use kube::client::{Body, ClientBuilder, ConfigExt as _};
use kube::{Client, Config};
use tower::retry::RetryLayer;
use tower::{BoxError, Service, ServiceBuilder};

use crate::leader::claim::Claim;
use crate::request_count::RequestCount;

/// How long a connection is set up at most.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// A silent connection, such as a watch's, is probed after this time, and this often until it is given up.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(5), Duration::from_secs(2), 3);
/// How long what was sent may be without an acknowledgement.
const UNACKNOWLEDGED_LIMIT: Duration = Duration::from_secs(11);
/// How long a request may be without an answer; watches are meant to be.
const REQUEST_LIMIT: Duration = Duration::from_secs(25);

/// A client of the cluster that this process runs in, or that the kubeconfig names. It writes while the claim holds.
pub async fn connect(claim: &Claim, count: &RequestCount) -> anyhow::Result<Client> {
    let config = Config::infer().await?;
    // A proxy is between us and the server: kube's own client knows how to ask it.
    if config.proxy_url.is_some() {
        return Ok(ClientBuilder::try_from(config)?.with_layer(count).with_layer(claim).build());
    }
    client(&config, claim, count)
}

fn client(config: &Config, claim: &Claim, count: &RequestCount) -> anyhow::Result<Client> {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_connect_timeout(Some(CONNECT_LIMIT));
    connector.set_nodelay(true);
    let (after, every, times) = KEEPALIVE;
    connector.set_keepalive(Some(after));
    connector.set_keepalive_interval(Some(every));
    connector.set_keepalive_retries(Some(times));
    connector.set_tcp_user_timeout(Some(UNACKNOWLEDGED_LIMIT));
    let connector = config.rustls_https_connector_with_connector(connector)?;
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .layer(RetryLayer::new(RetryPolicy::server_retry()))
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .layer_fn(|inner| TimeLimited { inner, limit: REQUEST_LIMIT })
        // Behind the retries, which may come much later than the request.
        .layer(claim)
        .layer(count)
        .service(hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(connector));
    Ok(Client::new(service, config.default_namespace.clone()))
}

/// Gives up requests that aren't answered in time.
#[derive(Clone)]
struct TimeLimited<S> {
    inner: S,
    limit: Duration,
}

/// The API server has not answered in time.
#[derive(Debug, thiserror::Error)]
#[error("the API server has not answered {what} within {} s", limit.as_secs())]
struct NoAnswer {
    what: String,
    limit: Duration,
}

impl<S, B> Service<Request<Body>> for TimeLimited<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: 'static,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<B>, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let limit = self.limit;
        let watches = request.uri().query().is_some_and(|query| query.contains("watch=true"));
        let what = format!("{} {}", request.method(), request.uri().path());
        let answer = self.inner.call(request);
        if watches {
            return Box::pin(async { answer.await.map_err(Into::into) });
        }
        Box::pin(async move {
            match tokio::time::timeout(limit, answer).await {
                Ok(answer) => answer.map_err(Into::into),
                Err(_) => Err(NoAnswer { what, limit }.into()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{Request, Response};
    use kube::client::Body;
    use tower::{BoxError, Service as _, service_fn};

    use super::{REQUEST_LIMIT, TimeLimited};

    async fn ask(path: &str) -> Result<Response<()>, BoxError> {
        let silent = service_fn(|_: Request<Body>| async {
            tokio::time::sleep(Duration::from_hours(1)).await;
            Ok::<_, BoxError>(Response::new(()))
        });
        let request = Request::get(path).body(Body::empty()).unwrap();
        TimeLimited { inner: silent, limit: REQUEST_LIMIT }.call(request).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_without_an_answer_is_given_up_and_a_watch_is_not() {
        let error = ask("/apis/batch/v1/jobs?limit=5").await.unwrap_err().to_string();
        assert_eq!(error, "the API server has not answered GET /apis/batch/v1/jobs within 25 s");
        assert!(ask("/apis/batch/v1/jobs?watch=true&timeoutSeconds=290").await.is_ok());
    }
}
