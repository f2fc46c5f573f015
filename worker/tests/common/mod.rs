//! Jobs over files of a temporary folder.
#![allow(dead_code, reason = "each test crate uses its part")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use mapreduce_api::ids::JobId;
use mapreduce_api::v1alpha1::MapReduceJobSpec;
use mapreduce_api::wire::JobFile;
use mapreduce_worker::error::Result;
use mapreduce_worker::job::local::{self, RunProgress};
use mapreduce_worker::job::{Job, Resources};
use mapreduce_worker::task::finish::Success;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// A folder with input, output, and a runtime for stores.
pub struct Place {
    pub dir: tempfile::TempDir,
    pub runtime: tokio::runtime::Runtime,
    pub resources: Resources,
}

impl Place {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let resources = Resources { memory: 64 << 20, threads: 2, scratch: dir.path().join("scratch") };
        Self { dir, runtime, resources }
    }

    /// With an object for each of these texts, and tasks with so much memory and so many threads.
    pub fn of(texts: &[Vec<u8>], memory: u64, threads: usize) -> Self {
        let mut place = Self::new();
        for (i, text) in texts.iter().enumerate() {
            place.write(&format!("in/{i}.txt"), text);
        }
        place.resources.memory = memory;
        place.resources.threads = threads;
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    /// A job with these fields over `in/` and `out/`.
    pub fn job(&self, fields: Value) -> Result<Job> {
        self.job_of_run(fields, "run-1")
    }

    pub fn job_of_run(&self, fields: Value, id: &str) -> Result<Job> {
        let mut spec = json!({"input": {"urls": ["file:in/"]}, "output": {"url": "file:out/"}});
        merge(&mut spec, fields);
        let spec: MapReduceJobSpec = serde_json::from_value(spec).unwrap();
        let file = JobFile { id: JobId::new(id), name: "test".into(), spec };
        Job::new(file, self.dir.path(), self.runtime.handle().clone(), CancellationToken::new())
    }

    pub fn run(&self, fields: Value) -> Result<Success> {
        local::run(&self.job(fields)?, &self.resources, &RunProgress::default())
    }

    /// The parts one after the other.
    pub fn output(&self) -> Vec<u8> {
        self.names("out")
            .into_iter()
            .filter(|n| n.starts_with("part-"))
            .flat_map(|n| self.read(&format!("out/{n}")))
            .collect()
    }

    pub fn output_text(&self) -> String {
        String::from_utf8(self.output()).unwrap()
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    /// What is in a folder, by name; nothing when there is none.
    pub fn names(&self, folder: &str) -> Vec<String> {
        list(&self.path(folder))
    }
}

pub fn list(folder: &Path) -> Vec<String> {
    let Ok(items) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<_> = items.map(|item| item.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

pub fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (name, value) in from {
                merge(into.entry(name).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

/// A function by name.
pub fn builtin(name: &str) -> Value {
    json!({"function": {"builtin": {"name": name}}})
}

/// The fields of a word count.
pub fn word_count(partitions: u32, combine: bool) -> Value {
    let mut reduce = builtin("sum");
    reduce["tasks"] = json!(partitions);
    let mut fields = json!({"map": builtin("words"), "reduce": reduce});
    if combine {
        fields["combine"] = builtin("sum");
    }
    fields
}

/// What a word count of a text is.
pub fn counted(texts: &[impl AsRef<[u8]>]) -> BTreeMap<Vec<u8>, u64> {
    let mut counts = BTreeMap::new();
    for text in texts {
        let words = text.as_ref().split(|byte| b" \t\n\x0b\x0c\r".contains(byte));
        words.filter(|word| !word.is_empty()).for_each(|word| *counts.entry(word.to_vec()).or_default() += 1);
    }
    counts
}

/// Lines of `key TAB number`, in any order.
pub fn parse_counts(output: &[u8]) -> BTreeMap<Vec<u8>, u64> {
    let lines = output.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let at = line.iter().rposition(|&byte| byte == b'\t').unwrap();
            (line[..at].to_vec(), std::str::from_utf8(&line[at + 1..]).unwrap().parse().unwrap())
        })
        .collect()
}
