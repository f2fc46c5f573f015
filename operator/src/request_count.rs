//! Counts requests to the API server, by verb and code: each attempt, for it is attempts that the server has to answer.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Method, Request, Response};
use kube::client::Body;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use tower::{Layer, Service};

/// The labels of a request. There are as many as verbs and codes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct VerbAndCode {
    verb: &'static str,
    code: String,
}

/// The requests so far. Clones share it; it is the layer that counts them.
#[derive(Clone, Debug, Default)]
pub struct RequestCount(Family<VerbAndCode, Counter>);

impl RequestCount {
    /// What a registry writes out.
    pub fn family(&self) -> Family<VerbAndCode, Counter> {
        self.0.clone()
    }
}

/// As the API server's own metrics name it.
fn verb(request: &Request<Body>) -> &'static str {
    let query = request.uri().query().unwrap_or_default();
    match *request.method() {
        Method::GET if query.contains("watch=true") => "watch",
        Method::GET if names_an_object(request.uri().path()) => "get",
        Method::GET => "list",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "other",
    }
}

/// `/api/v1/namespaces/NS/pods/NAME` does, `/apis/batch/v1/jobs` does not.
fn names_an_object(path: &str) -> bool {
    let mut parts = path.trim_matches('/').split('/');
    let skipped = if parts.next() == Some("api") { 1 } else { 2 };
    let rest: Vec<&str> = parts.skip(skipped).collect();
    match rest[..] {
        ["namespaces", _, _] => false,
        ["namespaces", _, _, ..] => true,
        _ => rest.len() > 1,
    }
}

impl<S> Layer<S> for RequestCount {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        Counted { inner, count: self.clone() }
    }
}

/// Counts what it lets through.
#[derive(Clone, Debug)]
pub struct Counted<S> {
    inner: S,
    count: RequestCount,
}

/// Counts its request when it is dropped: one that nobody waits for any more had no answer either.
struct RequestAttempt {
    count: RequestCount,
    verb: &'static str,
    code: Option<u16>,
}

impl RequestAttempt {
    fn answered<B, E>(&mut self, answer: &Result<Response<B>, E>) {
        self.code = answer.as_ref().ok().map(|answer| answer.status().as_u16());
    }
}

impl Drop for RequestAttempt {
    fn drop(&mut self) {
        let code = self.code.map_or_else(|| "none".to_owned(), |code| code.to_string());
        self.count.0.get_or_create(&VerbAndCode { verb: self.verb, code }).inc();
    }
}

impl<S, B> Service<Request<Body>> for Counted<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let mut attempt = RequestAttempt { count: self.count.clone(), verb: verb(&request), code: None };
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            attempt.answered(&answer);
            answer
        })
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use http::{Method, Request, Response};
    use kube::client::Body;
    use tower::{Layer as _, Service as _, service_fn};

    use super::{RequestCount, VerbAndCode};

    fn request(method: Method, uri: &str) -> Request<Body> {
        Request::builder().method(method).uri(uri).body(Body::empty()).unwrap()
    }

    #[tokio::test]
    async fn a_request_is_counted_by_its_verb_and_its_answer_s_code() {
        let count = RequestCount::default();
        let answers = ["200", "200", "200", "410", "409", "200", "200", "404", "none"];
        let mut codes = answers.into_iter();
        let mut server = count.layer(service_fn(move |_: Request<Body>| {
            let code = codes.next().unwrap().parse::<u16>();
            async move { code.map(|code| Response::builder().status(code).body(()).unwrap()) }
        }));
        let requests = [
            (Method::GET, "/api/v1/namespaces/ns", "get"),
            (Method::GET, "/apis/batch/v1/namespaces/ns/jobs/wc-map", "get"),
            (Method::GET, "/apis/batch/v1/namespaces/ns/jobs?limit=500", "list"),
            (Method::GET, "/apis/batch/v1/jobs?watch=true&resourceVersion=7", "watch"),
            (Method::POST, "/apis/batch/v1/namespaces/ns/jobs", "create"),
            (Method::PATCH, "/apis/batch/v1/namespaces/ns/jobs/wc-map", "patch"),
            (Method::PUT, "/apis/coordination.k8s.io/v1/namespaces/ns/leases/mapreduce", "update"),
            (Method::DELETE, "/api/v1/namespaces/ns/pods/wc-map-0", "delete"),
            (Method::GET, "/api/v1/pods", "list"),
        ];
        for ((method, uri, verb), code) in requests.into_iter().zip(answers) {
            let labels = VerbAndCode { verb, code: code.to_owned() };
            let before = count.family().get_or_create(&labels).get();
            let _ = server.call(request(method, uri)).await;
            assert_eq!(count.family().get_or_create(&labels).get(), before + 1, "{verb} {code} {uri}");
        }
    }

    #[tokio::test]
    async fn a_request_that_is_given_up_is_counted() {
        let count = RequestCount::default();
        let silent = service_fn(|_: Request<Body>| std::future::pending::<Result<Response<()>, ()>>());
        let mut given_up = count.layer(silent).call(request(Method::GET, "/api/v1/namespaces/ns"));
        assert!((&mut given_up).now_or_never().is_none());
        drop(given_up);
        let labels = VerbAndCode { verb: "get", code: "none".to_owned() };
        assert_eq!(count.family().get_or_create(&labels).get(), 1);
    }
}
