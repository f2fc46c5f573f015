//! What a run has done: as one JSON object, or as a person reads it.

use std::fmt::Write as _;
use std::time::Duration;

use mapreduce_api::wire::{Counters, ErrorReport};
use mapreduce_worker::error::Error;
use mapreduce_worker::job::Job;
use mapreduce_worker::task::finish::{OutputObject, Success};
use serde::Serialize;

use crate::size::{bytes, count, many};

#[derive(Serialize)]
struct Json<'a> {
    state: &'static str,
    counters: &'a Counters,
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
    to_text(&Json { state: "Succeeded", counters: &done.counters, outputs: &done.outputs, error: None })
}

pub(crate) fn failed(error: &Error) -> String {
    let ErrorReport { message, causes, task, record, permanent: _ } = error.report();
    let error = Some(JsonError { message, causes, task, record });
    to_text(&Json { state: "Failed", counters: &Counters::default(), outputs: &[], error })
}

fn to_text(json: &impl Serialize) -> String {
    serde_json::to_string(json).unwrap_or_default()
}

/// A few lines for a person.
pub(crate) fn summary(done: &Success, job: &Job, took: Duration) -> String {
    let c = &done.counters;
    let mut out = String::new();
    let mut line = |what: &str, text: String| {
        let _ = writeln!(out, "  {what:<8} {text}");
    };
    line(
        "input",
        format!(
            "{}, {}, {}",
            many(c.input_objects, "object"),
            bytes(c.input_bytes),
            many(c.map_input_records, "record")
        ),
    );
    line("map", format!("{} emitted", many(c.map_output_records, "pair")));
    if c.combine_input_records > 0 {
        line(
            "combine",
            format!("{} to {}", many(c.combine_input_records, "pair"), count(c.combine_output_records)),
        );
    }
    if c.reduce_input_groups > 0 {
        line(
            "reduce",
            format!("{}, {}", many(c.reduce_input_groups, "key"), many(c.reduce_input_records, "pair")),
        );
    }
    if c.skipped_records > 0 {
        line("skipped", many(c.skipped_records, "bad record"));
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
            job.output.url(&job.output.key)
        ),
    );
    for (group, names) in &c.user {
        for (name, n) in names {
            line("counter", format!("{group} {name} {n}"));
        }
    }
    format!("{} succeeded in {:.2} s\n{out}", done.name, took.as_secs_f64())
}
