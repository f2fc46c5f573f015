//! Faults of the operator and of the layer below it, to see that the model finds them: what a request is changed to, and
//! what its queue forgets.

use std::time::Duration;

use serde_json::{Value, json};

use crate::fake_api::route::{Route, Verb};
use crate::fake_api::store::Store;
use crate::world::Watched;

pub(crate) struct Planted {
    pub(crate) name: &'static str,
    pub(crate) site: Site,
}

type Instead = Option<(u16, Value)>;

#[derive(Clone, Copy)]
pub(crate) enum Site {
    /// Changes a request, or answers it instead.
    Request(fn(&mut Store, &mut Route, &mut Value) -> Instead),
    /// Whether a watch swallows its events.
    Event(fn(Watched) -> bool),
    /// Changes when a pass is repeated.
    Requeue(fn(Option<Duration>) -> Option<Duration>),
}

const fn request(name: &'static str, site: fn(&mut Store, &mut Route, &mut Value) -> Instead) -> Planted {
    Planted { name, site: Site::Request(site) }
}

fn is_status(route: &Route) -> bool {
    route.subresource == "status"
}

fn forget(body: &mut Value, field: &str) {
    if let Some(meta) = body["metadata"].as_object_mut() {
        meta.remove(field);
    }
}

pub(crate) static PLANTED: &[Planted] = &[
    request("a status is written without the version that it was computed from", |_, route, body| {
        if is_status(route) {
            forget(body, "resourceVersion");
        }
        None
    }),
    request("a status that was not written is taken for written", |store, route, body| {
        let key = Store::key(route);
        let now = store.objects.get(&key)?;
        let stale =
            is_status(route) && body["metadata"]["resourceVersion"] != now["metadata"]["resourceVersion"];
        stale.then(|| {
            let mut written = now.clone();
            written["status"] = body["status"].clone();
            (200, written)
        })
    }),
    Planted {
        name: "the watch of children is silent",
        site: Site::Event(|which| which == Watched::Children),
    },
    Planted { name: "no pass is repeated by itself", site: Site::Requeue(|_| None) },
    request("a Job has no owner", |_, route, body| {
        if route.verb == Verb::Create && route.resource == "jobs" {
            body["metadata"]["ownerReferences"] = json!([]);
        }
        None
    }),
];
