//! What the server does with each request.

use std::convert::Infallible;

use futures::StreamExt as _;
use http::Response;
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody};
use kube::core::Status;
use serde_json::{Value, json};

use super::Reply;
use super::route::{Route, Verb};
use super::store::{Store, Watcher};

/// A failure as the API server writes it.
pub(crate) fn failure(code: u16, reason: &str, message: &str) -> Box<Status> {
    Status::failure(message, reason).with_code(code).boxed()
}

/// An answer that is a failure or nothing.
pub(crate) fn json(status: &Status) -> Reply {
    answer(status.code.max(200), &serde_json::to_value(status).unwrap())
}

fn answer(code: u16, body: &Value) -> Reply {
    let body = Full::new(body.to_string().into_bytes().into());
    Response::builder().status(code).body(body.boxed_unsync()).unwrap()
}

/// Serves a request.
pub(crate) fn serve(store: &mut Store, route: &Route, body: &Value) -> Reply {
    match serve_or_fail(store, route, body) {
        Ok(reply) => reply,
        Err(status) => json(&status),
    }
}

fn serve_or_fail(store: &mut Store, route: &Route, body: &Value) -> Result<Reply, Box<Status>> {
    let mut key = Store::key(route);
    let query = |name: &str| route.query.get(name).map(String::as_str).unwrap_or_default();
    match route.verb {
        Verb::List => {
            *store.lists.entry(route.resource.clone()).or_default() += 1;
            let mut items =
                store.list(&route.resource, &route.namespace, query("labelSelector"), query("fieldSelector"));
            let mut meta = json!({"resourceVersion": store.version().to_string()});
            // A page begins after the name that the one before has ended with.
            let name = |object: &Value| object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            items.retain(|object| name(object).as_str() > query("continue"));
            let limit = query("limit").parse().ok().filter(|limit| *limit > 0).unwrap_or(usize::MAX);
            if items.len() > limit {
                items.truncate(limit);
                meta["continue"] = json!(items.last().map(name));
            }
            Ok(answer(200, &json!({"kind": "List", "apiVersion": "v1", "metadata": meta, "items": items})))
        }
        Verb::Watch => Ok(watch(store, route)),
        Verb::Create => {
            body["metadata"]["name"].as_str().unwrap().clone_into(&mut key.2);
            if store.objects.contains_key(&key) {
                return Err(failure(409, "AlreadyExists", &format!("{} {:?} already exists", key.0, key.2)));
            }
            if query("dryRun") == "All" {
                return Ok(answer(201, body));
            }
            Ok(answer(201, &store.create(key, body.clone())))
        }
        Verb::Replace => {
            let version =
                &store.objects.get(&key).ok_or_else(|| not_found(route))?["metadata"]["resourceVersion"];
            assert!(
                !body["metadata"]["resourceVersion"].is_null(),
                "the operator replaces nothing it has not read"
            );
            if body["metadata"]["resourceVersion"] != *version {
                return Err(failure(409, "Conflict", "resourceVersion has changed"));
            }
            Ok(answer(200, &store.update("replace", key, body.clone())))
        }
        Verb::Get => {
            let found = store.objects.get(&key).ok_or_else(|| not_found(route))?;
            Ok(answer(200, found))
        }
        Verb::Delete => {
            let found = store.objects.get(&key).ok_or_else(|| not_found(route))?.clone();
            if body["preconditions"]["uid"].as_str().is_some_and(|uid| found["metadata"]["uid"] != uid) {
                return Err(failure(409, "Conflict", "the UID is another one"));
            }
            // The garbage collector takes it away once the pods are gone.
            let held = (body["propagationPolicy"] == "Foreground").then_some("foregroundDeletion");
            store.delete_held(&key, held);
            Ok(answer(200, &found))
        }
        Verb::Merge | Verb::Apply => {
            let mut object = store.objects.get(&key).ok_or_else(|| not_found(route))?.clone();
            for field in ["resourceVersion", "uid"] {
                let given = &body["metadata"][field];
                if !given.is_null() && *given != object["metadata"][field] {
                    return Err(failure(409, "Conflict", &format!("{field} has changed")));
                }
            }
            let what = if route.subresource == "status" && route.verb == Verb::Apply {
                // One manager applies the whole status: what it leaves out is gone.
                object["status"] = body["status"].clone();
                "status"
            } else if route.subresource == "status" {
                merge(&mut object["status"], &body["status"]);
                "status"
            } else {
                merge(&mut object, body);
                "patch"
            };
            Ok(answer(200, &store.update(what, key, object)))
        }
    }
}

fn not_found(route: &Route) -> Box<Status> {
    failure(404, "NotFound", &format!("{} {:?} not found", route.resource, route.name))
}

/// JSON merge patch.
fn merge(target: &mut Value, patch: &Value) {
    match patch {
        Value::Object(patch) => {
            if !target.is_object() {
                *target = json!({});
            }
            for (key, value) in patch {
                if value.is_null() {
                    target.as_object_mut().unwrap().remove(key);
                } else {
                    merge(&mut target[key.as_str()], value);
                }
            }
        }
        value => *target = value.clone(),
    }
}

fn watch(store: &mut Store, route: &Route) -> Reply {
    let (send, mut receive) = tokio::sync::mpsc::unbounded_channel();
    let query = |name: &str| route.query.get(name).cloned().unwrap_or_default();
    let watcher = Watcher {
        resource: route.resource.clone(),
        namespace: route.namespace.clone(),
        labels: query("labelSelector"),
        send,
    };
    store.watch(watcher, query("resourceVersion").parse().unwrap_or(0));
    let events = futures::stream::poll_fn(move |cx| receive.poll_recv(cx));
    let frames =
        events.map(|event| Ok::<_, Infallible>(Frame::data(format!("{event}\n").into_bytes().into())));
    Response::new(StreamBody::new(frames).boxed_unsync())
}
