//! Manifests, built field by field.

use serde_json::{Value, json};

/// A MapReduceJob to be.
#[derive(Clone, Debug)]
pub struct MrJob {
    /// Its name.
    pub name: String,
    /// What is applied.
    pub manifest: Value,
}

impl MrJob {
    /// A job that reads `input` and writes below `output`, both `s3://` URLs.
    pub fn new(name: &str, input: &str, output: &str, storage: &Value) -> Self {
        let manifest = json!({
            "apiVersion": "mapreduce.dev/v1alpha1",
            "kind": "MapReduceJob",
            "metadata": {"name": name},
            // Most tests are about pods: a job that runs whole in one of them has tests of its own.
            "spec": {"input": {"urls": [input]}, "output": {"url": output}, "storage": storage,
                     "small": {"mode": "Never"}},
        });
        Self { name: name.to_owned(), manifest }
    }

    /// Counts words into so many parts.
    #[must_use]
    pub fn word_count(self, reduce_tasks: u32) -> Self {
        self.map("words").combine("sum").reduce("sum", reduce_tasks)
    }

    /// Maps with a built-in function.
    #[must_use]
    pub fn map(self, function: &str) -> Self {
        self.set("/map/function", json!({"builtin": {"name": function}}))
    }

    /// Combines with a built-in function.
    #[must_use]
    pub fn combine(self, function: &str) -> Self {
        self.set("/combine/function", json!({"builtin": {"name": function}}))
    }

    /// Reduces with a built-in function into so many parts.
    #[must_use]
    pub fn reduce(self, function: &str, tasks: u32) -> Self {
        self.set("/reduce/function", json!({"builtin": {"name": function}}))
            .set("/reduce/tasks", json!(tasks))
    }

    /// Reads key, TAB, value.
    #[must_use]
    pub fn key_value_input(self) -> Self {
        self.set("/input/format", json!({"type": "KeyValue"}))
    }

    /// So much of a processor for each pod of both phases: a phase that lasts as long on a fast
    /// machine as on a slow one can be hit by a fault.
    #[must_use]
    pub fn slow(self, millicores: u32) -> Self {
        let resources = json!({
            "requests": {"cpu": "10m", "memory": "64Mi"},
            "limits": {"cpu": format!("{millicores}m"), "memory": "512Mi"},
        });
        self.set("/map/resources", resources.clone()).set("/reduce/resources", resources)
    }

    /// Sets a field of the spec, given as a JSON pointer; objects on the way are made.
    #[must_use]
    pub fn set(mut self, pointer: &str, value: Value) -> Self {
        let mut place = &mut self.manifest["spec"];
        for name in pointer.split('/').skip(1) {
            place = &mut place[name];
        }
        *place = value;
        self
    }
}
