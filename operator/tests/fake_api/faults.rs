//! What is to go wrong, once or until further notice.

use kube::core::Status;
use serde_json::json;

use super::route::{Route, Verb};
use super::store::Store;
use super::verbs::failure;

/// What becomes of a request.
pub(crate) enum Fate {
    Serve,
    /// Answered with this failure, and not done.
    Refuse(Box<Status>),
    /// Done, but the answer is lost.
    CutAfter,
    /// Not done, and the connection is lost.
    CutBefore,
}

/// How the operator ends at a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The server says 500.
    Error,
    /// The operator is gone right after its write.
    KilledAfter,
    /// The operator is gone right before its write.
    KilledBefore,
}

/// What is to go wrong.
#[derive(Default)]
pub(crate) struct Faults {
    /// At the n-th request from now (of writes alone for the killed ones).
    pub(crate) at: Option<(usize, Kind)>,
    /// It went wrong; until this is taken back every request of the dead operator is cut.
    pub(crate) fired: bool,
    pub(crate) dead: bool,
    /// Nothing may be created, for the namespace goes away.
    pub(crate) terminating: bool,
    /// So many status writes find that somebody else was faster.
    pub(crate) overtaken: usize,
    /// Nothing may be done with these resources: the operator's role has no right to.
    pub(crate) rightless: Vec<&'static str>,
    /// Creations of this resource are refused for now, with this message.
    pub(crate) forbidden: Option<(&'static str, &'static str)>,
    /// Creations of this resource are denied by a webhook, with a code of its own.
    pub(crate) denied: Option<(&'static str, u16)>,
    /// Creations of this resource are refused for good, with this message.
    pub(crate) invalid: Option<(&'static str, &'static str)>,
}

impl Faults {
    /// Decides on a request.
    pub(crate) fn judge(&mut self, route: &Route, store: &mut Store) -> Fate {
        store.requests += 1;
        if self.dead {
            return Fate::CutBefore;
        }
        if route.resource == "events" {
            return Fate::Serve;
        }
        if let Some((left, kind)) = &mut self.at {
            let kind = *kind;
            if kind == Kind::Error || route.writes() {
                *left -= 1;
            }
            if *left == 0 {
                self.at = None;
                self.fired = true;
                self.dead = kind != Kind::Error;
                return match kind {
                    Kind::Error => Fate::Refuse(failure(500, "InternalError", "etcd is away")),
                    Kind::KilledAfter => Fate::CutAfter,
                    Kind::KilledBefore => Fate::CutBefore,
                };
            }
        }
        if self.rightless.contains(&route.resource.as_str()) {
            return Fate::Refuse(failure(403, "Forbidden", "the operator's role says nothing of it"));
        }
        let creates = |refused: Option<(&'static str, &'static str)>| {
            refused.filter(|(resource, _)| route.verb == Verb::Create && route.resource == *resource)
        };
        if self.terminating && route.verb == Verb::Create {
            let status = json!({"status": "Failure", "code": 403, "reason": "Forbidden",
                "message": "unable to create new content in namespace ns because it is being terminated",
                "details": {"causes": [{"reason": "NamespaceTerminating", "field": "metadata.namespace"}]}});
            return Fate::Refuse(Box::new(serde_json::from_value(status).unwrap()));
        }
        if let Some((_, message)) = creates(self.forbidden) {
            return Fate::Refuse(failure(403, "Forbidden", message));
        }
        if let Some((_, code)) =
            self.denied.filter(|(resource, _)| route.verb == Verb::Create && route.resource == *resource)
        {
            return Fate::Refuse(failure(code, "Denied", "admission webhook says no"));
        }
        if let Some((_, message)) = creates(self.invalid) {
            return Fate::Refuse(failure(422, "Invalid", message));
        }
        if route.subresource == "status" && self.overtaken > 0 {
            self.overtaken -= 1;
            let key = Store::key(route);
            let mut object = store.objects[&key].clone();
            object["metadata"]["annotations"]["touched"] = json!(self.overtaken.to_string());
            store.update("touch", key, object);
        }
        Fate::Serve
    }
}
