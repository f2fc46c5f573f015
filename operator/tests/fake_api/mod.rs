//! A small API server in this process: objects with versions, server-side apply as a merge, the status
//! subresource, finalizers, watches, and faults that a real server can't be asked for.
//!
//! ```text
//!  kube::Client ──> FakeApi::call ─┬─ faults   fail, cut or change a request
//!                                  ├─ route    path and query
//!                                  ├─ verbs    get list watch create patch delete
//!                                  └─ store    objects, history, watchers
//!  Cluster (Job controller, kubelet, garbage collector) ──> the same store
//! ```

pub(crate) mod cluster;
pub(crate) mod faults;
pub(crate) mod link;
pub(crate) mod route;
pub(crate) mod store;
pub(crate) mod verbs;

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use kube::client::Body;
use tower::Service;

use faults::{Fate, Faults};
use store::Store;

pub(crate) type Reply = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// The server. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct FakeApi {
    store: Arc<Mutex<Store>>,
    faults: Arc<Mutex<Faults>>,
}

impl FakeApi {
    /// A client of it.
    pub(crate) fn client(&self) -> kube::Client {
        kube::Client::new(self.clone(), "default")
    }

    /// What it holds.
    pub(crate) fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap()
    }

    /// What is to go wrong.
    pub(crate) fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap()
    }
}

impl Service<Request<Body>> for FakeApi {
    type Response = Reply;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Reply, std::io::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), std::io::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let api = self.clone();
        Box::pin(async move {
            let (route, body) = route::read(request).await?;
            let fate = {
                let mut store = api.store();
                api.faults().judge(&route, &mut store)
            };
            match fate {
                Fate::Serve => Ok(verbs::serve(&mut api.store(), &route, &body)),
                Fate::Refuse(status) => Ok(verbs::json(&status)),
                Fate::CutAfter => {
                    verbs::serve(&mut api.store(), &route, &body);
                    Err(std::io::Error::other("the answer was lost"))
                }
                Fate::CutBefore => Err(std::io::Error::other("the connection was lost")),
            }
        })
    }
}
