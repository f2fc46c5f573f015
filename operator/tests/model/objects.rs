//! Objects of the API, as far as the model reads and writes them.

use serde_json::{Value, json};

use crate::fake_api::store::{Key, Store};

/// The one namespace of the jobs.
pub(crate) const NAMESPACE: &str = "ns";
/// Holds a pod until the kubelet says that it has ended.
pub(crate) const KUBELET: &str = "model/kubelet";
/// Holds a pod until the Job controller has counted it.
pub(crate) const TRACKING: &str = "batch.kubernetes.io/job-tracking";
/// The label of a pod with its Job's uid.
pub(crate) const JOB_UID: &str = "batch.kubernetes.io/controller-uid";
/// The annotation of a pod with its task.
pub(crate) const INDEX: &str = "batch.kubernetes.io/job-completion-index";

pub(crate) fn key(resource: &str, name: &str) -> Key {
    (resource.to_owned(), NAMESPACE.to_owned(), name.to_owned())
}

pub(crate) fn namespace_key() -> Key {
    ("namespaces".to_owned(), String::new(), NAMESPACE.to_owned())
}

pub(crate) fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

pub(crate) fn uid(object: &Value) -> &str {
    object["metadata"]["uid"].as_str().unwrap_or_default()
}

pub(crate) fn is_deleting(object: &Value) -> bool {
    !object["metadata"]["deletionTimestamp"].is_null()
}

/// The uid of the owner that is responsible.
pub(crate) fn owner(object: &Value) -> Option<&str> {
    let owners = object["metadata"]["ownerReferences"].as_array()?;
    owners.iter().find(|owner| owner["controller"] == true)?["uid"].as_str()
}

pub(crate) fn finalizers(object: &Value) -> impl Iterator<Item = &str> {
    object["metadata"]["finalizers"].as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// The uid of the job that one of its children is for: its label stays when owners are taken away.
pub(crate) fn job_of(child: &Value) -> Option<&str> {
    child["metadata"]["labels"]["mapreduce.dev/job-uid"].as_str().or_else(|| owner(child))
}

pub(crate) fn node_key(node: usize) -> Key {
    ("nodes".to_owned(), String::new(), format!("node-{node}"))
}

pub(crate) fn is_held_by(object: &Value, finalizer: &str) -> bool {
    finalizers(object).any(|f| f == finalizer)
}

pub(crate) fn without_finalizer(object: &mut Value, finalizer: &str) {
    if let Some(finalizers) = object["metadata"]["finalizers"].as_array_mut() {
        finalizers.retain(|f| f != finalizer);
    }
}

/// Whether a condition of this type is true.
pub(crate) fn has(object: &Value, condition: &str) -> bool {
    let conditions = object["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|c| c["type"] == condition && c["status"] == "True")
}

pub(crate) fn add_condition(object: &mut Value, kind: &str, reason: &str, message: &str, at: &str) {
    let condition = json!({"type": kind, "status": "True", "reason": reason, "message": message, "lastTransitionTime": at});
    match object["status"]["conditions"].as_array_mut() {
        Some(conditions) => conditions.push(condition),
        None => object["status"]["conditions"] = json!([condition]),
    }
}

/// The phase that a Job or a pod belongs to.
pub(crate) fn phase(object: &Value) -> &str {
    object["metadata"]["labels"]["mapreduce.dev/phase"].as_str().unwrap_or_default()
}

/// Whether a pod has ended.
pub(crate) fn is_terminal(pod: &Value) -> bool {
    pod["status"]["phase"] == "Succeeded" || pod["status"]["phase"] == "Failed"
}

pub(crate) fn index(pod: &Value) -> u64 {
    pod["metadata"]["annotations"][INDEX].as_str().and_then(|i| i.parse().ok()).unwrap_or_default()
}

/// The object of a resource that has this uid.
pub(crate) fn find<'a>(store: &'a Store, resource: &str, with: &str) -> Option<&'a Value> {
    of(store, resource).find(|object| uid(object) == with)
}

/// All objects of a resource.
pub(crate) fn of<'a>(store: &'a Store, resource: &str) -> impl Iterator<Item = &'a Value> {
    let from = (resource.to_owned(), String::new(), String::new());
    let resource = resource.to_owned();
    store.objects.range(from..).take_while(move |(key, _)| key.0 == resource).map(|(_, object)| object)
}
