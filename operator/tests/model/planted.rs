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

/// Whether it is a write of a Job that has this field in its spec.
fn changes(route: &Route, body: &Value, field: &str) -> bool {
    route.verb == Verb::Merge && route.resource == "jobs" && !body["spec"][field].is_null()
}

fn creates(route: &Route, resource: &str) -> bool {
    route.verb == Verb::Create && route.resource == resource
}

fn sets_finalizers(route: &Route, body: &Value) -> bool {
    route.resource == "mapreducejobs"
        && route.verb == Verb::Merge
        && body["metadata"]["finalizers"].is_array()
}

/// What there is, as if it were changed: the change is not made.
fn pretend(store: &Store, route: &Route, change: impl FnOnce(&mut Value)) -> Instead {
    let mut object = store.objects.get(&Store::key(route))?.clone();
    change(&mut object);
    Some((200, object))
}

fn not_found() -> (u16, Value) {
    let status =
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404, "reason": "NotFound"});
    (404, status)
}

/// The status says another phase than it should.
fn instead_of(route: &Route, body: &mut Value, phase: &str, other: &str) {
    if is_status(route) && body["status"]["phase"] == phase {
        body["status"]["phase"] = json!(other);
    }
}

pub(crate) static PLANTED: &[Planted] = &[
    request("a status is written without the version that it was computed from", |_, route, body| {
        if is_status(route) {
            forget(body, "resourceVersion");
        }
        None
    }),
    request("a status is written whatever version and whichever job it is", |_, route, body| {
        if is_status(route) {
            forget(body, "resourceVersion");
            forget(body, "uid");
        }
        None
    }),
    request("a status that was not written is taken for written", |store, route, body| {
        let key = Store::key(route);
        let now = store.objects.get(&key)?;
        let stale =
            is_status(route) && body["metadata"]["resourceVersion"] != now["metadata"]["resourceVersion"];
        if stale { pretend(store, route, |written| written["status"] = body["status"].clone()) } else { None }
    }),
    request("a status is told to be written, and is not", |store, route, body| {
        if !is_status(route) || body["status"]["phase"] != "Mapping" {
            return None;
        }
        pretend(store, route, |written| written["status"] = body["status"].clone())
    }),
    Planted { name: "the watch of jobs is silent", site: Site::Event(|which| which == Watched::Jobs) },
    Planted { name: "no pass is repeated by itself", site: Site::Requeue(|_| None) },
    Planted { name: "each pass is repeated at once", site: Site::Requeue(|_| Some(Duration::ZERO)) },
    request("a Job doesn't say whose it is", |_, route, body| {
        if creates(route, "jobs") {
            body["metadata"]["ownerReferences"] = json!([]);
            body["metadata"]["labels"] = json!({});
        }
        None
    }),
    request("each Job has a name of its own", |store, route, body| {
        if creates(route, "jobs") {
            let name = body["metadata"]["name"].as_str().unwrap_or_default();
            body["metadata"]["name"] = json!(format!("{name}-{}", store.version()));
        }
        None
    }),
    request("a Job is told to be made, and is not", |_, route, body| {
        creates(route, "jobs").then(|| (201, body.clone()))
    }),
    request("a cleanup is told to be made, and is not", |_, route, body| {
        let cleanup = body["metadata"]["labels"]["mapreduce.dev/phase"] == "cleanup";
        (creates(route, "jobs") && cleanup).then(|| (201, body.clone()))
    }),
    request("the deadline that ends a Job is not set", |store, route, body| {
        if changes(route, body, "activeDeadlineSeconds") { pretend(store, route, |_| ()) } else { None }
    }),
    request("the finalizer is told to be added, and is not", |store, route, body| {
        let adds = body["metadata"]["finalizers"].as_array().is_some_and(|all| !all.is_empty());
        if !sets_finalizers(route, body) || !adds {
            return None;
        }
        pretend(store, route, |job| job["metadata"]["finalizers"] = body["metadata"]["finalizers"].clone())
    }),
    request("the finalizer is told to be removed, and is not", |store, route, body| {
        let removes = body["metadata"]["finalizers"].as_array().is_some_and(Vec::is_empty);
        if !sets_finalizers(route, body) || !removes {
            return None;
        }
        pretend(store, route, |job| job["metadata"]["finalizers"] = json!([]))
    }),
    request("records are counted twice", |_, route, body| {
        if is_status(route)
            && let Some(records) = body["status"]["counters"]["reduceOutputRecords"].as_u64()
        {
            body["status"]["counters"]["reduceOutputRecords"] = json!(2 * records);
        }
        None
    }),
    request("a failure is recorded as a success", |_, route, body| {
        instead_of(route, body, "Failed", "Succeeded");
        None
    }),
    request("the reduce phase is left out", |_, route, body| {
        instead_of(route, body, "Reducing", "Succeeded");
        None
    }),
    request("after the map phase comes the map phase", |_, route, body| {
        instead_of(route, body, "Reducing", "Mapping");
        None
    }),
    request("the step is forgotten", |_, route, body| {
        if is_status(route)
            && let Some(status) = body["status"].as_object_mut()
        {
            status.remove("step");
        }
        None
    }),
    request("the job is read as it was at first", |store, route, _| {
        if route.verb != Verb::Get || route.resource != "mapreducejobs" {
            return None;
        }
        let now = store.objects.get(&Store::key(route))?;
        let uid = &now["metadata"]["uid"];
        let first =
            store.history().iter().find(|(_, _, event)| event["object"]["metadata"]["uid"] == *uid)?;
        Some((200, first.2["object"].clone()))
    }),
    request("pods on lost nodes are not removed", |store, route, body| {
        if body["gracePeriodSeconds"] == 0 { pretend(store, route, |_| ()) } else { None }
    }),
    request("a deleted job's Jobs are not seen", |store, route, _| {
        let reads = route.verb == Verb::Get && route.resource == "jobs" && !route.name.ends_with("cleanup");
        let child = store.objects.get(&Store::key(route))?;
        let of = crate::objects::find(store, "mapreducejobs", crate::objects::job_of(child)?)?;
        (reads && crate::objects::is_deleting(of)).then(not_found)
    }),
    request("finalizers are set on whichever job has the name", |_, route, body| {
        if sets_finalizers(route, body) {
            forget(body, "resourceVersion");
            forget(body, "uid");
        }
        None
    }),
];
