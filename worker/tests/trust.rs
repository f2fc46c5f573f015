//! What a bucket says is checked before it is believed: a commit record or a plan that somebody has written leads
//! to nothing outside of the run's own places.

mod common;

use common::{Place, merge, word_count};
use mapreduce_api::ids::AttemptId;
use mapreduce_worker::error::{Error, ErrorKind};
use mapreduce_worker::job::{Job, pod};
use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_64;

/// Two map tasks, two reduce tasks; all but the last reduce task are committed. A file beside that is nobody's.
struct Run {
    place: Place,
    job: Job,
}

/// A place, which is not the run's.
type Named = fn(&Run) -> String;

const SECRET: &str = "not the run's";

impl Run {
    fn new() -> Self {
        let place = Place::of(&[b"to be or not\n".to_vec(), b"to be\n".to_vec()], 64 << 20, 1);
        place.write("victim", SECRET);
        place.write("in-other/secret", SECRET);
        let mut fields = word_count(2, false);
        merge(&mut fields, json!({"input": {"splitSize": 1}, "shuffle": {"url": "file:shuffle/"}}));
        let job = place.job(fields).unwrap();
        let summary = pod::plan(&job, &place.resources).unwrap().summary;
        assert!(summary.map_tasks >= 2 && summary.reduce_tasks == 2);
        let run = Self { place, job };
        (0..summary.map_tasks).for_each(|task| run.map(task).unwrap());
        run.reduce(0).unwrap();
        run
    }

    fn path(&self, name: &str) -> String {
        self.place.path(name).display().to_string()
    }

    fn map(&self, task: u32) -> Result<(), Error> {
        pod::map(&self.job, task, &AttemptId::new("a"), &self.place.resources).map(drop)
    }

    fn reduce(&self, task: u32) -> Result<(), Error> {
        pod::reduce(&self.job, task, &AttemptId::new("a"), &self.place.resources).map(drop)
    }

    /// Writes a record of a task as an attempt would, its checksum too.
    fn forge(&self, task: &str, change: impl FnOnce(&mut Value)) {
        let name = format!("shuffle/run-1/commit/{task}");
        let bytes = self.place.read(&name);
        let end = bytes.iter().position(|&byte| byte == b'\n').unwrap();
        let mut record: Value = serde_json::from_slice(&bytes[..end - 17]).unwrap();
        change(&mut record);
        let record = record.to_string();
        let line = format!("{record} {:016x}\n", xxh3_64(record.as_bytes()));
        self.place.write(&name, [line.as_bytes(), &bytes[end + 1..]].concat());
    }

    fn assert_untouched(&self, context: &str) {
        assert_eq!(self.place.read("victim"), SECRET.as_bytes(), "{context}");
        assert_eq!(self.place.read("in-other/secret"), SECRET.as_bytes(), "{context}");
        let text = String::from_utf8_lossy(&self.place.output()).into_owned();
        assert!(!text.contains(SECRET), "{context}");
    }
}

#[test]
fn a_commit_record_that_names_a_place_outside_is_refused_and_nothing_there_is_touched() {
    let staged: [(&str, Named); 4] = [
        ("an absolute path", |run| run.path("victim")),
        ("a way up", |run| run.path("out/_mapreduce-run-1/../../victim")),
        ("a relative path", |_| "victim".into()),
        ("no path", |_| String::new()),
    ];
    for (what, path) in staged {
        let run = Run::new();
        run.forge("reduce-00000", |record| {
            record["parts"][0]["staged"] = json!({"file": {"path": path(&run)}});
        });
        assert_refused(&run, &run.reduce(1).unwrap_err(), what);
    }
    for name in ["../victim", "/victim", "", "a//b", "./part-00000", "s3://b/x/../y"] {
        let run = Run::new();
        run.forge("reduce-00000", |record| record["parts"][0]["name"] = json!(name));
        assert_refused(&run, &run.reduce(1).unwrap_err(), name);
        if !name.is_empty() {
            let run = Run::new();
            run.forge("map-00000", |record| record["shuffle"]["name"] = json!(name));
            assert_refused(&run, &run.map(0).unwrap_err(), name);
        }
        let run = Run::new();
        run.forge("reduce-00000", |record| {
            record["skipped"] = json!({"part": record["parts"][0].clone(), "first": []});
            record["skipped"]["part"]["name"] = json!(name);
        });
        run.reduce(1).unwrap_err();
        pod::cleanup(&run.job).ok();
        run.assert_untouched(name);
    }
    // An upload is not a file: no path of this store is made of it.
    let run = Run::new();
    run.forge("reduce-00000", |record| {
        record["parts"][0]["staged"] = json!({"upload": {"id": run.path("victim"), "parts": []}});
    });
    run.reduce(1).unwrap_err();
    run.assert_untouched("an upload");
}

/// That a task has failed for good, and that cleaning up goes by none of it either.
fn assert_refused(run: &Run, error: &Error, what: &str) {
    let said = format!("{what}: {error} {:?}", error.causes());
    assert!(error.to_string().contains("which is not in the job's folder"), "{said}");
    assert_eq!(error.kind(), ErrorKind::Permanent, "{said}");
    run.assert_untouched(&said);
    // It may fail, and must not believe.
    let cleaned = pod::cleanup(&run.job);
    run.assert_untouched(&format!("{said}, cleaned up: {cleaned:?}"));
    assert!(run.place.output().is_empty(), "{said}");
}

#[test]
fn a_plan_that_reads_what_is_not_the_jobs_input_is_refused() {
    let urls: [Named; 6] = [
        |run| format!("file://{}", run.path("in/../victim")),
        |run| format!("file://{}", run.path("in-other/secret")),
        |run| format!("file://{}", run.path("victim")),
        |_| "http://127.0.0.1:9/secret".into(),
        |_| "s3://other/secret".into(),
        |_| "victim".into(),
    ];
    for url in urls {
        let run = Run::new();
        let tasks = run.place.names("shuffle/run-1").into_iter().find(|name| name.starts_with("plan.tasks-"));
        let tasks = format!("shuffle/run-1/{}", tasks.unwrap());
        let text = String::from_utf8(run.place.read(&tasks)).unwrap();
        // The offsets of the lines stay as they are.
        let url = url(&run);
        let (line, rest) = text.split_once('\n').unwrap();
        let mut task: Value = serde_json::from_str(line).unwrap();
        task["splits"][0]["url"] = json!(url);
        let forged = task.to_string();
        let padding = " ".repeat(200);
        let mut plan: Value = serde_json::from_slice(&run.place.read("shuffle/run-1/plan.json")).unwrap();
        let grown = forged.len() + padding.len() - line.len();
        for offset in plan["offsets"].as_array_mut().unwrap().iter_mut().skip(1) {
            *offset = json!(offset.as_u64().unwrap() + grown as u64);
        }
        run.place.write("shuffle/run-1/plan.json", plan.to_string());
        run.place.write(&tasks, format!("{forged}{padding}\n{rest}"));
        std::fs::remove_file(run.place.path("shuffle/run-1/commit/map-00000")).unwrap();
        let error = run.map(0).unwrap_err();
        assert_eq!(error.to_string(), format!("the plan reads {url}, which is not the job's input"));
        assert_eq!(error.kind(), ErrorKind::Permanent);
        run.assert_untouched(&url);
    }
}

#[test]
fn a_plan_that_names_other_tasks_than_its_own_is_refused() {
    for name in ["../../victim", "/victim", "plan.tasks-../../../victim", "victim", "", "s3://b/plan.tasks-x"]
    {
        let run = Run::new();
        let mut plan: Value = serde_json::from_slice(&run.place.read("shuffle/run-1/plan.json")).unwrap();
        plan["tasks"] = json!(name);
        run.place.write("shuffle/run-1/plan.json", plan.to_string());
        std::fs::remove_file(run.place.path("shuffle/run-1/commit/map-00000")).unwrap();
        let error = run.map(0).unwrap_err();
        assert_eq!(error.to_string(), format!("the plan names `{name}` for its tasks"));
        run.assert_untouched(name);
    }
}
