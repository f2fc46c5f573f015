//! The Jobs of jobs, as a watch shows them: without their templates, and without those that have ended, of which there may
//! be tens of thousands. What isn't here is read from the API server.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::batch::v1::{Job, JobCondition, UncountedTerminatedPods};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::runtime::watcher::Event;
use kube::{Resource, ResourceExt as _};
use serde::{Deserialize, Serialize};

/// The part of a Job that is looked at.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ChildObject {
    /// Whose it is, and which.
    pub metadata: ObjectMeta,
    /// What it should do.
    #[serde(default)]
    pub spec: ChildSpec,
    /// Where it is.
    #[serde(default)]
    pub status: ChildStatus,
}

/// The part of a Job's spec that is looked at.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChildSpec {
    /// As in a `JobSpec`.
    pub suspend: Option<bool>,
    /// As in a `JobSpec`.
    pub parallelism: Option<i32>,
    /// As in a `JobSpec`.
    pub completions: Option<i32>,
    /// As in a `JobSpec`.
    pub active_deadline_seconds: Option<i64>,
}

/// The part of a Job's status that is looked at.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChildStatus {
    /// As in a `JobStatus`.
    pub active: Option<i32>,
    /// As in a `JobStatus`.
    pub ready: Option<i32>,
    /// As in a `JobStatus`.
    pub terminating: Option<i32>,
    /// As in a `JobStatus`.
    pub succeeded: Option<i32>,
    /// As in a `JobStatus`.
    pub failed: Option<i32>,
    /// As in a `JobStatus`.
    pub uncounted_terminated_pods: Option<UncountedTerminatedPods>,
    /// As in a `JobStatus`.
    pub start_time: Option<Time>,
    /// As in a `JobStatus`.
    pub completion_time: Option<Time>,
    /// As in a `JobStatus`.
    #[serde(default)]
    pub conditions: Vec<JobCondition>,
}

impl ChildStatus {
    /// The condition of this type, if it is true.
    pub fn condition(&self, kind: &str) -> Option<&JobCondition> {
        self.conditions.iter().find(|condition| condition.type_ == kind && condition.status == "True")
    }
}

impl Resource for ChildObject {
    type DynamicType = ();
    type Scope = kube::core::NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        Job::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        Job::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        Job::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        Job::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// Namespace and name.
type Place = (String, String);

fn place(object: &ChildObject) -> Place {
    (object.namespace().unwrap_or_default(), object.name_any())
}

/// The Jobs that the watches have shown and that have not ended, as far as is known.
#[derive(Debug, Default)]
pub struct ChildCache(Mutex<HashMap<Place, Arc<ChildObject>>>);

impl ChildCache {
    /// The Job of this name, where a watch has shown it.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<ChildObject>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&(namespace.to_owned(), name.to_owned())).cloned()
    }

    /// Takes what a watch has shown.
    fn take(&self, object: &ChildObject) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if object.status.condition("Complete").is_some() || object.status.condition("Failed").is_some() {
            known.remove(&place(object));
            return;
        }
        let mut kept = object.clone();
        (kept.metadata.managed_fields, kept.metadata.finalizers) = (None, None);
        known.insert(place(object), Arc::new(kept));
    }

    fn remove(&self, gone: &Place) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(gone);
    }
}

/// What one watch, of a namespace or of all, has brought into the cache.
#[derive(Debug)]
pub struct ChildWatch {
    cache: Arc<ChildCache>,
    shown: HashSet<Place>,
    /// Shown by the list that is under way.
    listed: Option<HashSet<Place>>,
}

impl ChildWatch {
    /// Nothing seen yet.
    pub fn new(cache: Arc<ChildCache>) -> Self {
        Self { cache, shown: HashSet::new(), listed: None }
    }

    /// Takes an event over into the cache.
    pub fn follow(&mut self, event: &Event<ChildObject>) {
        match event {
            Event::Apply(object) => {
                self.shown.insert(place(object));
                self.cache.take(object);
            }
            Event::Delete(object) => {
                let gone = place(object);
                self.shown.remove(&gone);
                self.cache.remove(&gone);
            }
            Event::Init => self.listed = Some(HashSet::new()),
            Event::InitApply(object) => {
                self.listed.get_or_insert_default().insert(place(object));
                self.cache.take(object);
            }
            Event::InitDone => {
                let listed = self.listed.take().unwrap_or_default();
                self.shown.difference(&listed).for_each(|gone| self.cache.remove(gone));
                self.shown = listed;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kube::runtime::watcher::Event;
    use serde_json::json;

    use super::{ChildCache, ChildObject, ChildWatch};

    fn child(name: &str, condition: Option<&str>) -> ChildObject {
        let conditions = condition.map(|kind| json!([{"type": kind, "status": "True"}]));
        serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "ns", "managedFields": [{"manager": "m"}]},
            "spec": {"parallelism": 2, "template": {"spec": {"containers": []}}},
            "status": {"active": 1, "conditions": conditions.unwrap_or_else(|| json!([]))},
        }))
        .unwrap()
    }

    #[test]
    fn a_job_is_known_from_its_first_sight_to_its_end() {
        let cache = Arc::new(ChildCache::default());
        let mut watch = ChildWatch::new(Arc::clone(&cache));
        assert!(cache.get("ns", "a").is_none());
        watch.follow(&Event::Apply(child("a", None)));
        let known = cache.get("ns", "a").unwrap();
        assert_eq!((known.spec.parallelism, known.status.active), (Some(2), Some(1)));
        assert!(known.metadata.managed_fields.is_none());
        watch.follow(&Event::Apply(child("a", Some("Complete"))));
        assert!(cache.get("ns", "a").is_none(), "one that has ended is read when it matters");
        watch.follow(&Event::Apply(child("b", None)));
        watch.follow(&Event::Delete(child("b", None)));
        assert!(cache.get("ns", "b").is_none());
    }

    #[test]
    fn what_is_gone_by_the_next_list_is_forgotten_and_another_watch_s_is_not() {
        let cache = Arc::new(ChildCache::default());
        let (mut one, mut other) = (ChildWatch::new(Arc::clone(&cache)), ChildWatch::new(Arc::clone(&cache)));
        other.follow(&Event::Apply(child("others", None)));
        one.follow(&Event::Apply(child("gone", None)));
        for event in [Event::Init, Event::InitApply(child("there", None)), Event::InitDone] {
            one.follow(&event);
        }
        assert!(cache.get("ns", "gone").is_none());
        assert!(cache.get("ns", "there").is_some() && cache.get("ns", "others").is_some());
    }
}
