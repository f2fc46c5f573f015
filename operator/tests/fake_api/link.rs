//! One replica's way to the server: requests can be held up on it, and arrive later, whatever their sender does meanwhile.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use http::{Method, Request};
use kube::client::Body;
use tokio::sync::{oneshot, watch};
use tower::Service;

use super::{FakeApi, Reply};

/// What is held up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    Nothing,
    Writes,
    Leases,
}

/// A request that the server has answered.
#[derive(Clone, Debug)]
pub(crate) struct Served {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) code: u16,
    /// Whether it was held up.
    pub(crate) is_late: bool,
}

impl Served {
    pub(crate) fn writes(&self) -> bool {
        self.method != Method::GET
    }

    pub(crate) fn is_of_lease(&self) -> bool {
        self.path.contains("/leases")
    }
}

/// A way to the server. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Link {
    api: FakeApi,
    held: Arc<watch::Sender<Held>>,
    served: Arc<Mutex<Vec<Served>>>,
}

impl Link {
    pub(crate) fn new(api: &FakeApi) -> Self {
        let held = Arc::new(watch::Sender::new(Held::Nothing));
        Self { api: api.clone(), held, served: Arc::default() }
    }

    /// Holds requests up from now on; those that are held no more arrive.
    pub(crate) fn hold(&self, held: Held) {
        self.held.send_replace(held);
    }

    /// What has arrived, in order.
    pub(crate) fn served(&self) -> Vec<Served> {
        self.served.lock().unwrap().clone()
    }

    async fn pass(mut self, request: Request<Body>) -> Result<Reply, std::io::Error> {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let mut served = Served { method, path, code: 0, is_late: false };
        let is_held = |held: Held| match held {
            Held::Nothing => false,
            Held::Writes => served.writes(),
            Held::Leases => served.is_of_lease(),
        };
        let mut held = self.held.subscribe();
        let is_late = is_held(*held.borrow_and_update());
        let _ = held.wait_for(|held| !is_held(*held)).await;
        served.is_late = is_late;
        let reply = self.api.call(request).await;
        served.code = reply.as_ref().map_or(0, |reply| reply.status().as_u16());
        self.served.lock().unwrap().push(served);
        reply
    }
}

impl Service<Request<Body>> for Link {
    type Response = Reply;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Reply, std::io::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), std::io::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (send, receive) = oneshot::channel();
        let link = self.clone();
        tokio::spawn(async move {
            let _ = send.send(link.pass(request).await);
        });
        Box::pin(async {
            receive.await.unwrap_or_else(|_| Err(std::io::Error::other("the connection was lost")))
        })
    }
}
