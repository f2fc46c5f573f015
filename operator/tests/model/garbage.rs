//! The garbage collector, and the namespace controller: what has lost its owner goes, what is deleted takes
//! what it owns along, in the foreground or not.

use crate::fake_api::store::Key;
use crate::objects::{finalizers, is_deleting, is_held_by, namespace_key, of, owner, uid, without_finalizer};
use crate::world::World;

pub(crate) const OWNERS: [&str; 2] = ["mapreducejobs", "jobs"];
const OWNED: [&str; 3] = ["jobs", "configmaps", "pods"];

impl World {
    /// One look around. It comes again as long as there is something that is being deleted.
    pub(crate) fn collect_garbage(&mut self) {
        self.collected();
        self.collect_deleted();
        self.collect_orphans();
        self.empty_namespace();
        let left = OWNED.iter().chain(&OWNERS).any(|resource| of(&self.store, resource).any(is_deleting));
        if left || (self.namespace_is_terminating() && self.store.objects.contains_key(&namespace_key())) {
            self.collect();
        }
    }

    fn owned_by(&self, by: &str) -> Vec<Key> {
        let owned = |(key, object): (&Key, &serde_json::Value)| {
            (OWNED.contains(&key.0.as_str()) && owner(object) == Some(by)).then(|| key.clone())
        };
        self.store.objects.iter().filter_map(owned).collect()
    }

    fn delete(&mut self, at: &Key) {
        if at.0 == "pods" {
            self.delete_pod(at);
        } else if self.store.objects.get(at).is_some_and(|object| !is_deleting(object)) {
            // As the garbage collector deletes what a foreground deletion owns.
            self.store.delete(at);
        }
    }

    /// Objects that are deleted in the foreground, or orphan what they own.
    fn collect_deleted(&mut self) {
        for resource in OWNERS {
            let deleted: Vec<_> = of(&self.store, resource)
                .filter(|object| is_deleting(object) && finalizers(object).next().is_some())
                .cloned()
                .collect();
            for object in deleted {
                let at = (
                    resource.to_owned(),
                    crate::objects::NAMESPACE.to_owned(),
                    crate::objects::name(&object).to_owned(),
                );
                if is_held_by(&object, "foregroundDeletion") {
                    let owned = self.owned_by(uid(&object));
                    owned.iter().for_each(|key| {
                        if key.0 == "jobs" && self.store.objects.get(key).is_some_and(|job| !is_deleting(job))
                        {
                            self.store.delete_held(key, Some("foregroundDeletion"));
                        } else {
                            self.delete(key);
                        }
                    });
                    if self.owned_by(uid(&object)).is_empty() {
                        self.change("collect", &at, |object| without_finalizer(object, "foregroundDeletion"));
                    }
                } else if is_held_by(&object, "orphan") {
                    for key in self.owned_by(uid(&object)) {
                        self.change("orphan", &key, |object| {
                            object["metadata"]["ownerReferences"] = serde_json::json!([]);
                        });
                    }
                    self.change("collect", &at, |object| without_finalizer(object, "orphan"));
                }
            }
        }
    }

    /// Objects whose owner is gone.
    fn collect_orphans(&mut self) {
        let alive: std::collections::BTreeSet<String> =
            OWNERS.iter().flat_map(|r| of(&self.store, r)).map(|object| uid(object).to_owned()).collect();
        let orphan = |(key, object): (&Key, &serde_json::Value)| {
            let of = owner(object)?;
            (OWNED.contains(&key.0.as_str()) && !alive.contains(of)).then(|| key.clone())
        };
        let orphans: Vec<Key> = self.store.objects.iter().filter_map(orphan).collect();
        orphans.iter().for_each(|key| self.delete(key));
    }

    /// Pods first, and nothing else before they are gone.
    fn empty_namespace(&mut self) {
        let at = namespace_key();
        if !self.store.objects.get(&at).is_some_and(is_deleting) {
            return;
        }
        for resource in ["pods", "jobs", "configmaps", "mapreducejobs"] {
            let keys: Vec<Key> = self.store.objects.keys().filter(|key| key.0 == resource).cloned().collect();
            keys.iter().for_each(|key| self.delete(key));
            if resource == "pods" && of(&self.store, "pods").next().is_some() {
                return;
            }
        }
        if self.store.objects.keys().all(|key| ["namespaces", "nodes"].contains(&key.0.as_str())) {
            self.change("collect", &at, |namespace| without_finalizer(namespace, "kubernetes"));
        }
    }
}
