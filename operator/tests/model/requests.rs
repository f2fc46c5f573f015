//! The way of a request to the API server and back, and what goes wrong on it.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use http_body_util::BodyExt as _;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::fake_api::Reply;
use crate::fake_api::route::{self, Route, Verb};
use crate::fake_api::store::Store;
use crate::fake_api::verbs;
use crate::objects::{KUBELET, without_finalizer};
use crate::planted::Site;
use crate::world::{Event, MINUTE, SECOND, Time, World, now};

/// A pass that makes requests: the operator, the job's name and uid.
#[derive(Clone, Debug)]
pub(crate) struct Pass {
    pub(crate) operator: usize,
    pub(crate) job: String,
    pub(crate) uid: String,
}

tokio::task_local! {
    /// The pass that makes a request.
    pub(crate) static PASS: Pass;
}

type Result = std::result::Result<Reply, std::io::Error>;

/// A request on its way.
pub(crate) struct Request {
    pub(crate) pass: Pass,
    pub(crate) route: Route,
    pub(crate) body: Value,
    /// When it set out.
    sent: Time,
    fate: Fate,
    answer: Option<oneshot::Sender<Result>>,
}

/// An answer on its way.
pub(crate) struct Answered {
    to: oneshot::Sender<Result>,
    answer: Result,
}

impl Answered {
    /// Whoever asked may be gone.
    pub(crate) fn arrive(self) {
        let _ = self.to.send(self.answer);
    }
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Serve,
    /// The server refuses it, and does nothing.
    Refuse(u16),
    /// It never arrives.
    CutBefore,
    /// It is done, and its answer lost.
    CutAfter,
    /// Whoever sent it gives up, and then it is done.
    Late,
    /// Somebody else changes the job right before.
    Overtaken,
    /// The answer takes its time.
    SlowAnswer,
}

impl Fate {
    pub(crate) const ALL: [Self; 8] = [
        Self::Refuse(500),
        Self::Refuse(429),
        Self::Refuse(503),
        Self::CutBefore,
        Self::CutAfter,
        Self::Late,
        Self::Overtaken,
        Self::SlowAnswer,
    ];
}

/// An operator's way to the API server.
#[derive(Clone)]
pub(crate) struct Connection {
    pub(crate) world: Arc<Mutex<World>>,
    pub(crate) operator: usize,
}

impl tower::Service<http::Request<Body>> for Connection {
    type Response = Reply;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = Result> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::result::Result<(), std::io::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let Self { world, operator } = self.clone();
        Box::pin(async move {
            let (route, body) = route::read(request).await?;
            let nobody = || Pass { operator, job: String::new(), uid: String::new() };
            let pass = PASS.try_with(Clone::clone).unwrap_or_else(|_| nobody());
            let (send, receive) = oneshot::channel();
            world.lock().unwrap().sent(pass, route, body, send);
            receive.await.unwrap_or_else(|_| Err(std::io::Error::other("the connection was lost")))
        })
    }
}

impl World {
    /// A request sets out.
    fn sent(&mut self, pass: Pass, route: Route, body: Value, answer: oneshot::Sender<Result>) {
        self.oracle.requested(&pass, &route);
        if route.resource == "events" && route.writes() {
            self.oracle.told(&body);
        }
        let wrong = self.fault_rate > 0 && self.random.chance(1, self.fault_rate);
        let fate = if wrong { self.random.pick(&Fate::ALL) } else { Fate::Serve };
        let arrives = match fate {
            Fate::CutBefore | Fate::Late => self.random.wait(40 * SECOND),
            _ => self.random.wait(16),
        };
        let paused = self.paused[pass.operator].saturating_sub(now());
        self.oracle.fates(fate);
        let request = Request { pass, route, body, sent: now(), fate, answer: Some(answer) };
        self.after(paused + arrives, Event::Serve(request));
    }

    /// A request arrives.
    pub(crate) fn serve(&mut self, mut request: Request) {
        let Some(to) = request.answer.take() else { return };
        if to.is_closed() && self.random.chance(1, 2) {
            // Its sender is gone, and with it what had not been sent.
            return;
        }
        let (operator, fate) = (request.pass.operator, request.fate);
        let lost = || Err(std::io::Error::other("the connection was lost"));
        let answer = match fate {
            Fate::Refuse(code) => {
                self.note(|| format!("op{} {} refused: {code}", request.pass.operator, line(&request.route)));
                Ok(verbs::json(&verbs::failure(code, "InternalError", "etcd is away")))
            }
            Fate::CutBefore => lost(),
            Fate::Late => {
                let wait = self.random.wait(5 * MINUTE);
                self.after(wait, Event::Late(Request { fate: Fate::Serve, ..request }));
                lost()
            }
            Fate::CutAfter => {
                let _ = self.done(&mut request);
                lost()
            }
            Fate::Overtaken => {
                self.touch(&request.pass.job.clone());
                Ok(self.done(&mut request))
            }
            Fate::Serve | Fate::SlowAnswer => Ok(self.done(&mut request)),
        };
        let most = if fate == Fate::SlowAnswer { 2 * MINUTE } else { 16 };
        let wait: Time = self.random.wait(most);
        let paused = self.paused[operator].saturating_sub(now());
        self.after(paused + wait, Event::Answer(Answered { to, answer }));
    }

    /// A request takes effect after its sender has given up.
    pub(crate) fn serve_late(&mut self, mut request: Request) {
        let _ = self.done(&mut request);
    }

    /// The API server does what is asked.
    fn done(&mut self, request: &mut Request) -> Reply {
        let Request { pass, route, body, sent, .. } = request;
        if route.resource == "events" {
            return match route.verb {
                Verb::List => verbs::serve(&mut self.store, route, body),
                _ => answer(201, body),
            };
        }
        if let Some(Site::Request(change)) = self.planted.map(|planted| planted.site)
            && let Some((code, instead)) = change(&mut self.store, route, body)
        {
            self.settle();
            return answer(code, &instead);
        }
        if route.verb == Verb::Create {
            if self.namespace_is_terminating() {
                let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 403, "reason": "Forbidden",
                    "message": "unable to create new content in namespace ns because it is being terminated",
                    "details": {"causes": [{"reason": "NamespaceTerminating", "field": "metadata.namespace"}]}});
                return answer(403, &status);
            }
            if self.quota {
                return verbs::json(&verbs::failure(403, "Forbidden", "exceeded quota"));
            }
        }
        if route.verb == Verb::Delete && body["gracePeriodSeconds"] == 0 {
            // By force: nobody waits for the kubelet.
            self.change("force", &Store::key(route), |pod| without_finalizer(pod, KUBELET));
        }
        let before = self.store.objects.get(&Store::key(route)).cloned();
        let reply = verbs::serve(&mut self.store, route, body);
        let code = reply.status().as_u16();
        self.note(|| {
            let meta = &body["metadata"];
            let status = if body["status"].is_null() { String::new() } else { body["status"].to_string() };
            format!("op{} {} {} {} -> {code}", pass.operator, line(route), meta["name"], status)
        });
        if route.writes() && code < 300 {
            self.oracle.wrote(pass, route, body, before.as_ref(), &self.store, *sent);
        }
        self.settle();
        reply
    }
}

fn line(route: &Route) -> String {
    format!("{:?} {} {} {}", route.verb, route.resource, route.name, route.subresource)
}

fn answer(code: u16, body: &Value) -> Reply {
    let body = http_body_util::Full::new(body.to_string().into_bytes().into());
    http::Response::builder().status(code).body(body.boxed_unsync()).unwrap()
}
