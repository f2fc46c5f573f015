//! Objects, their history, and who watches them.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedSender;

use super::route::Route;

/// Resource, namespace, name.
pub(crate) type Key = (String, String, String);

/// Who waits for changes.
pub(crate) struct Watcher {
    pub(crate) resource: String,
    pub(crate) namespace: String,
    pub(crate) labels: String,
    pub(crate) send: UnboundedSender<Value>,
}

/// Everything there is.
#[derive(Default)]
pub(crate) struct Store {
    pub(crate) objects: BTreeMap<Key, Value>,
    version: u64,
    next_uid: u64,
    history: Vec<(u64, String, Value)>,
    watchers: Vec<Watcher>,
    /// Resources whose changes no watch sees any more: a cache that stays behind.
    pub(crate) silent: Vec<String>,
    /// Every write that changed something: `create jobs wc-map`.
    pub(crate) log: Vec<String>,
    /// All requests.
    pub(crate) requests: usize,
    /// How often objects of a resource were listed.
    pub(crate) lists: BTreeMap<String, usize>,
    /// What tells the time; the machine's clock where there is none.
    pub(crate) clock: Option<fn() -> Timestamp>,
}

impl Store {
    /// The key of a request's object.
    pub(crate) fn key(route: &Route) -> Key {
        (route.resource.clone(), route.namespace.clone(), route.name.clone())
    }

    /// An object of the tests' one namespace.
    pub(crate) fn get(&self, resource: &str, name: &str) -> Option<&Value> {
        self.objects.get(&(resource.to_owned(), "ns".to_owned(), name.to_owned()))
    }

    /// Objects that match.
    pub(crate) fn list(&self, resource: &str, namespace: &str, labels: &str, fields: &str) -> Vec<Value> {
        let matches = |key: &Key, object: &Value| {
            key.0 == resource
                && (namespace.is_empty() || key.1 == namespace)
                && selected(object, labels, fields)
        };
        self.objects
            .iter()
            .filter(|(key, object)| matches(key, object))
            .map(|(_, object)| object.clone())
            .collect()
    }

    /// The version of the newest change.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// Puts an object that wasn't there.
    pub(crate) fn create(&mut self, key: Key, mut object: Value) -> Value {
        self.next_uid += 1;
        let meta = &mut object["metadata"];
        meta["name"] = json!(key.2);
        meta["namespace"] = json!(key.1);
        if meta["uid"].is_null() {
            meta["uid"] = json!(format!("uid-{}", self.next_uid));
        }
        meta["generation"] = json!(1);
        if meta["creationTimestamp"].is_null() {
            meta["creationTimestamp"] = json!(self.time());
        }
        self.log.push(format!("create {} {}", key.0, key.2));
        self.put("ADDED", key, object)
    }

    /// Changes an object, if it is changed at all; removes one that was only held by its finalizers.
    pub(crate) fn update(&mut self, what: &str, key: Key, mut object: Value) -> Value {
        let old = &self.objects[&key];
        object["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"].clone();
        if *old == object {
            return object;
        }
        if old["spec"] != object["spec"] {
            let generation = old["metadata"]["generation"].as_u64().unwrap_or(0) + 1;
            object["metadata"]["generation"] = json!(generation);
        }
        self.log.push(format!("{what} {} {}", key.0, key.2));
        let held = object["metadata"]["finalizers"].as_array().is_some_and(|f| !f.is_empty());
        if !held && !object["metadata"]["deletionTimestamp"].is_null() {
            return self.remove(&key);
        }
        self.put("MODIFIED", key, object)
    }

    /// Deletes an object, or marks it where finalizers hold it.
    pub(crate) fn delete(&mut self, key: &Key) {
        self.delete_held(key, None);
    }

    /// The same, held by one more finalizer: that of a deletion in the foreground, or of one that orphans.
    pub(crate) fn delete_held(&mut self, key: &Key, by: Option<&str>) {
        self.log.push(format!("delete {} {}", key.0, key.2));
        let old = &self.objects[key];
        let mut object = old.clone();
        let meta = &mut object["metadata"];
        let mut finalizers = meta["finalizers"].as_array().cloned().unwrap_or_default();
        if let Some(by) = by.filter(|by| finalizers.iter().all(|f| f != by)) {
            finalizers.push(json!(by));
        }
        if finalizers.is_empty() {
            self.remove(key);
            return;
        }
        meta["finalizers"] = json!(finalizers);
        if meta["deletionTimestamp"].is_null() {
            meta["deletionTimestamp"] = json!(self.time());
        }
        if *old != object {
            self.put("MODIFIED", key.clone(), object);
        }
    }

    fn remove(&mut self, key: &Key) -> Value {
        let mut object = self.objects.remove(key).unwrap();
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.tell("DELETED", key, &object);
        object
    }

    fn put(&mut self, event: &str, key: Key, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.tell(event, &key, &object);
        self.objects.insert(key, object.clone());
        object
    }

    fn tell(&mut self, event: &str, key: &Key, object: &Value) {
        if self.silent.contains(&key.0) {
            return;
        }
        let event = json!({"type": event, "object": object});
        self.watchers.retain(|watcher| {
            let wanted = watcher.resource == key.0
                && (watcher.namespace.is_empty() || watcher.namespace == key.1)
                && selected(object, &watcher.labels, "");
            !wanted || watcher.send.send(event.clone()).is_ok()
        });
        self.history.push((self.version, key.0.clone(), event));
    }

    /// Sends what has changed since, and from now on.
    pub(crate) fn watch(&mut self, watcher: Watcher, since: u64) {
        for (version, resource, event) in &self.history {
            let object = &event["object"];
            let here =
                watcher.namespace.is_empty() || object["metadata"]["namespace"] == watcher.namespace.as_str();
            if *version > since
                && *resource == watcher.resource
                && here
                && selected(object, &watcher.labels, "")
            {
                let _ = watcher.send.send(event.clone());
            }
        }
        self.watchers.push(watcher);
    }

    /// All that has changed: version, resource, event. A watch is at a place in it.
    #[allow(dead_code, reason = "the scenarios have watches of their own")]
    pub(crate) fn history(&self) -> &[(u64, String, Value)] {
        &self.history
    }

    fn time(&self) -> String {
        self.clock.map_or_else(now, |clock| written(clock()))
    }

    /// Ends all watches, as a server that is restarted does.
    pub(crate) fn drop_watches(&mut self) {
        self.watchers.clear();
    }

    /// How often something was done.
    pub(crate) fn count(&self, what: &str) -> usize {
        self.log.iter().filter(|line| *line == what).count()
    }
}

/// Whether `a=b,c` holds for labels, and `a=b` for the few fields that are asked for.
fn selected(object: &Value, labels: &str, fields: &str) -> bool {
    let pairs = |text: &str| -> Vec<(String, String)> {
        text.split(',').filter_map(|p| p.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
    };
    let keys = labels.split(',').filter(|key| !key.is_empty() && !key.contains('='));
    keys.into_iter().all(|key| !object["metadata"]["labels"][key].is_null())
        && pairs(labels).iter().all(|(key, value)| object["metadata"]["labels"][key] == value.as_str())
        && pairs(fields)
            .iter()
            .all(|(path, value)| path.split('.').fold(object, |at, part| &at[part]) == value.as_str())
}

/// As the API server writes times.
pub(crate) fn now() -> String {
    written(Timestamp::now())
}

pub(crate) fn written(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
