//! All that the operator does to the API server, beside watching. Its role needs exactly:
//!
//! | group | resource | verbs | for |
//! |---|---|---|---|
//! | mapreduce.dev | mapreducejobs | get, list, watch | the jobs |
//! | | | patch | the finalizer |
//! | | | delete | `ttlSecondsAfterFinished` |
//! | | mapreducejobs/status | patch | |
//! | | mapreducejobs/finalizers | update | `blockOwnerDeletion` where the cluster asks for it |
//! | batch | jobs | get, list, watch, create, patch, delete | one per phase |
//! | (core) | configmaps | get, create, delete | what a run does; created in a dry run where namespaces can't be read |
//! | | pods | get, list | last words, and why one can't start |
//! | | pods, pods/status | delete, patch | pods on a node that is lost |
//! | | nodes | get | optional: whether a node is lost |
//! | | namespaces | get | optional: let go of a terminating namespace at once |
//! | kueue.x-k8s.io | workloads | list, patch | optional: holds the Jobs of a suspended job with their finished tasks |
//! | events.k8s.io | events | create, patch | what happened |
//! | | | list | optional: why a Job can't make pods (quota) |
//!
//! All but `namespaces` and `nodes` are namespaced; with `--namespace` Roles suffice.

use std::fmt::Debug;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy};
use kube::core::{NamespaceResourceScope, PartialObjectMeta};
use kube::{Client, Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The one field manager.
pub const MANAGER: &str = "mapreduce-operator";

/// What became of a create.
#[derive(Debug)]
pub enum CreateOutcome<K> {
    /// It is there now.
    New(Box<K>),
    /// There is one of that name already.
    Exists,
}

/// Creates an object. An existing one is left as it is: others, such as Kueue, may have changed it.
pub async fn create<K>(api: &Api<K>, object: &K) -> Result<CreateOutcome<K>, kube::Error>
where
    K: Clone + DeserializeOwned + Debug + Serialize,
{
    let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
    match api.create(&params, object).await {
        Ok(object) => Ok(CreateOutcome::New(Box::new(object))),
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(CreateOutcome::Exists),
        Err(e) => Err(e),
    }
}

/// Applies a status. The patch has to carry the `resourceVersion` that it was computed from.
pub async fn apply_status<K>(api: &Api<K>, name: &str, patch: &Value) -> Result<K, kube::Error>
where
    K: DeserializeOwned,
{
    api.patch_status(name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(patch)).await
}

fn merging() -> PatchParams {
    PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() }
}

/// `None` for what isn't there any more.
fn if_there<T>(answer: Result<T, kube::Error>) -> Result<Option<T>, kube::Error> {
    match answer {
        Ok(object) => Ok(Some(object)),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(None),
        Err(e) => Err(e),
    }
}

/// Objects of one namespace, or of all.
pub fn scoped<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType: Default>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// Changes a few fields of an object; `None` when it isn't there any more.
pub async fn patch_opt<K>(api: &Api<K>, name: &str, patch: &Value) -> Result<Option<K>, kube::Error>
where
    K: Clone + DeserializeOwned + Debug,
{
    if_there(api.patch(name, &merging(), &Patch::Merge(patch)).await)
}

/// The same where only the metadata is known.
pub async fn patch_metadata_opt<K>(
    api: &Api<K>,
    name: &str,
    patch: &Value,
) -> Result<Option<PartialObjectMeta<K>>, kube::Error>
where
    K: Clone + DeserializeOwned + Debug,
{
    if_there(api.patch_metadata(name, &merging(), &Patch::Merge(patch)).await)
}

/// Deletes the object with this name and UID, if it is there.
pub async fn delete_opt<K>(
    api: &Api<K>,
    name: &str,
    uid: &str,
    propagation: PropagationPolicy,
) -> Result<(), kube::Error>
where
    K: Clone + DeserializeOwned + Debug,
{
    let params = DeleteParams { propagation_policy: Some(propagation), ..DeleteParams::default() };
    delete(api, name, uid, params).await
}

/// The same without a time to end in: for a pod on a node that nobody can reach.
pub async fn delete_now_opt<K>(api: &Api<K>, name: &str, uid: &str) -> Result<(), kube::Error>
where
    K: Clone + DeserializeOwned + Debug,
{
    delete(api, name, uid, DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() }).await
}

async fn delete<K>(api: &Api<K>, name: &str, uid: &str, params: DeleteParams) -> Result<(), kube::Error>
where
    K: Clone + DeserializeOwned + Debug,
{
    let this_one = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
    match api.delete(name, &DeleteParams { preconditions: Some(this_one), ..params }).await {
        Ok(_) => Ok(()),
        // Another object has the name by now: the one that was meant is gone.
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(()),
        Err(e) => Err(e),
    }
}

/// The owner that is responsible for an object.
pub fn controller_of<K: Resource>(object: &K) -> Option<&OwnerReference> {
    object.owner_references().iter().find(|owner| owner.controller == Some(true))
}

/// Whether a refusal says that the namespace is being deleted.
pub fn is_namespace_terminating(status: &kube::core::Status) -> bool {
    let cause =
        |s: &kube::core::response::StatusDetails| s.causes.iter().any(|c| c.reason == "NamespaceTerminating");
    status.is_forbidden()
        && (status.details.as_ref().is_some_and(cause) || status.message.contains("is being terminated"))
}
