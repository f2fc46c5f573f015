//! What a run has done: as one JSON object, or as a person reads it.

use std::fmt::Write as _;
use std::time::Duration;

use mapreduce_api::wire::{Counters, ErrorReport, StepCounters};
use mapreduce_worker::error::Error;
use mapreduce_worker::job::Job;
use mapreduce_worker::task::finish::{OutputObject, Success};
use serde::Serialize;

use crate::size::{bytes, count, many};

#[derive(Serialize)]
struct Json<'a> {
    state: &'static str,
    counters: &'a Counters,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    steps: &'a [StepCounters],
    outputs: &'a [OutputObject],
    error: Option<JsonError>,
}

#[derive(Serialize)]
struct JsonError {
    message: String,
    causes: Vec<String>,
    task: Option<String>,
    record: Option<mapreduce_api::wire::RecordRef>,
}

pub(crate) fn succeeded(done: &Success) -> String {
    let Success { counters, steps, outputs, .. } = done;
    to_text(&Json { state: "Succeeded", counters, steps, outputs, error: None })
}

pub(crate) fn failed(error: &Error) -> String {
    let ErrorReport { message, causes, task, record, permanent: _, attempts: _ } = error.report();
    let error = Some(JsonError { message, causes, task, record });
    let counters = &Counters::default();
    to_text(&Json { state: "Failed", counters, steps: &[], outputs: &[], error })
}

fn to_text(json: &impl Serialize) -> String {
    serde_json::to_string(json).unwrap_or_default()
}

/// What was done between input and output.
fn work(c: &Counters) -> Vec<(&'static str, String)> {
    let mut lines = vec![("map", format!("{} emitted", many(c.map_output_records, "pair")))];
    if c.combine_input_records > 0 {
        let text =
            format!("{} to {}", many(c.combine_input_records, "pair"), count(c.combine_output_records));
        lines.push(("combine", text));
    }
    if c.shuffle_writes > 0 {
        let requests = [many(c.shuffle_writes, "write"), many(c.shuffle_reads, "read")];
        lines.push(("shuffle", format!("{}, {}", bytes(c.shuffle_bytes), requests.join(", "))));
    }
    if c.reduce_input_groups > 0 {
        let text =
            format!("{}, {}", many(c.reduce_input_groups, "key"), many(c.reduce_input_records, "pair"));
        lines.push(("reduce", text));
    }
    lines
}

/// A few lines for a person.
pub(crate) fn summary(done: &Success, job: &Job, took: Duration) -> String {
    let c = &done.counters;
    let mut out = String::new();
    let mut line = |what: &str, text: String| {
        let _ = writeln!(out, "  {what:<8} {text}");
    };
    let first = done.steps.first().map_or(c, |step| &step.counters);
    line(
        "input",
        format!(
            "{}, {}, {}",
            many(c.input_objects, "object"),
            bytes(c.input_bytes),
            many(first.map_input_records, "record")
        ),
    );
    if done.steps.is_empty() {
        work(c).into_iter().for_each(|(what, text)| line(what, text));
    }
    for step in &done.steps {
        let work: Vec<_> =
            work(&step.counters).into_iter().map(|(what, text)| format!("{what} {text}")).collect();
        line("step", format!("{}: {}", step.name, work.join("; ")));
    }
    if c.skipped_records > 0 {
        let place = job.places().output.join("_skipped/");
        line(
            "skipped",
            format!("{} in {}", many(c.skipped_records, "bad record"), job.places().output.url(&place.key)),
        );
    }
    if c.failed_tasks > 0 {
        line("failed", many(c.failed_tasks, "attempt"));
    }
    let records = done.outputs.iter().map(|part| part.records).sum();
    let parts = many(done.outputs.len() as u64, "part");
    line(
        "output",
        format!(
            "{parts}, {}, {} in {}",
            bytes(c.output_bytes),
            many(records, "record"),
            job.places().output.url(&job.places().output.key)
        ),
    );
    for (group, names) in &c.user {
        for (name, n) in names {
            line("counter", format!("{group} {name} {n}"));
        }
    }
    format!("{} succeeded in {:.2} s\n{out}", done.name, took.as_secs_f64())
}
