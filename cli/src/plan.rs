//! `mapreduce plan` and `mapreduce validate`.

use mapreduce_worker::error::Result;
use mapreduce_worker::job::{self, Job};
use mapreduce_worker::plan::cost::{Cost, RequestEstimate};
use mapreduce_worker::plan::{self, PlannedStep, RangeSampling, Sampling};
use mapreduce_worker::storage;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::args::{FileArgs, PlanArgs};
use crate::load;
use crate::size::{bytes, count, many};

pub(crate) fn validate(args: &FileArgs) -> Result<()> {
    let loaded = load::load(&args.file)?;
    let name = loaded.manifest.metadata.name.clone();
    job::check(&loaded.manifest.spec, loaded.folder())?;
    if args.json {
        println!("{}", json!({"valid": true, "name": name}));
    } else {
        println!("{}: MapReduceJob {name} is valid", args.file.display());
    }
    Ok(())
}

pub(crate) fn plan(args: &PlanArgs) -> Result<()> {
    let loaded = load::load_job(&args.job)?;
    let runtime = storage::runtime()?;
    let job = loaded.job(runtime.handle().clone(), CancellationToken::new())?;
    let planned =
        plan::for_pods(job.step(), None, if args.sample { Sampling::Take } else { Sampling::LeaveOut })?;
    let cost = Cost::of(job.step(), &planned);
    if args.json {
        println!("{}", as_json(&job, &planned, &cost));
    } else {
        print!("{}", as_text(&job, &planned, &cost));
    }
    Ok(())
}

fn splits(planned: &PlannedStep) -> usize {
    planned.tasks.iter().map(|task| task.splits.len()).sum()
}

/// The steps after the first: they are planned when what they read is there. Their names, and how many
/// partitions the manifest gives them, 0 for a map-only one.
fn later_steps(job: &Job) -> Vec<(String, Option<i32>)> {
    let steps = (1..job.step_count()).map(|number| {
        let job = job.at_step(number);
        let reduce = job.spec().reduce.as_ref();
        (job.step().name().unwrap_or_default().to_owned(), reduce.map_or(Some(0), |reduce| reduce.tasks))
    });
    steps.collect()
}

const NOT_SAMPLED: &str =
    "how keys are shared out among the ranges: the map function shows that, and runs only with --sample";

/// What the plan doesn't know.
fn unknown(planned: &PlannedStep) -> Vec<&'static str> {
    if planned.ranges == RangeSampling::NotSampled { vec![NOT_SAMPLED] } else { Vec::new() }
}

fn as_json(job: &Job, planned: &PlannedStep, cost: &Cost) -> serde_json::Value {
    let summary = &planned.plan.summary;
    let requests = |r: &RequestEstimate| json!({"list": r.list, "get": r.get, "put": r.put});
    let mut json = json!({
        "inputObjects": summary.input_objects,
        "inputBytes": summary.input_bytes,
        "splits": splits(planned),
        "mapTasks": summary.map_tasks,
        "reduceTasks": summary.reduce_tasks,
        "partitions": summary.partitions,
        "unsplit": planned.unsplit.iter().map(|u| json!({"url": u.url, "bytes": u.bytes, "why": u.why})).collect::<Vec<_>>(),
        "requests": {"input": requests(&cost.input), "shuffle": requests(&cost.shuffle), "output": requests(&cost.output)},
        "requestsUsd": cost.usd(),
        "unknown": unknown(planned),
    });
    if let RangeSampling::Sampled(ranges) = planned.ranges {
        json["ranges"] = json!(ranges);
    }
    if let Some(name) = job.step().name() {
        json["step"] = json!(name);
        let later = later_steps(job);
        json["laterSteps"] =
            later.iter().map(|(name, partitions)| json!({"name": name, "partitions": partitions})).collect();
    }
    json
}

fn as_text(job: &Job, planned: &PlannedStep, cost: &Cost) -> String {
    let summary = &planned.plan.summary;
    let split_size = job.spec().input.split_size;
    let mut name = job.run().name.clone();
    if let Some(step) = job.step().name() {
        name += &format!(", step {step}");
    }
    let mut out = format!(
        "{name}\n  input       {}, {}\n  splits      {} of at most about {split_size}\n  map tasks   {}\n",
        many(summary.input_objects, "object"),
        bytes(summary.input_bytes),
        count(splits(planned) as u64),
        count(summary.map_tasks.into()),
    );
    if summary.reduce_tasks > 0 {
        out += &format!(
            "  reduce      {}, {}\n",
            many(summary.reduce_tasks.into(), "task"),
            many(summary.partitions.into(), "partition")
        );
    } else {
        out += "  reduce      none: a part per map task\n";
    }
    if let RangeSampling::Sampled(ranges) = planned.ranges {
        out += &format!("  ranges      {} with keys in the sample\n", count(ranges as u64));
    }
    for unknown in unknown(planned) {
        out += &format!("  not known   {unknown}\n");
    }
    for unsplit in &planned.unsplit {
        out += &format!("  not split   {} ({}): {}\n", unsplit.url, bytes(unsplit.bytes), unsplit.why);
    }
    for (what, requests) in [("input", &cost.input), ("shuffle", &cost.shuffle), ("output", &cost.output)] {
        let RequestEstimate { list, get, put } = *requests;
        if list + get + put > 0 {
            out += &format!(
                "  requests    {what}: {} LIST, {} GET, {} PUT\n",
                count(list),
                count(get),
                count(put)
            );
        }
    }
    if let Some(usd) = cost.usd() {
        out += &format!("  cost        about ${usd:.4} of requests at S3's list prices, at most\n");
    }
    let mut before = job.step().name().unwrap_or_default().to_owned();
    for (name, partitions) in later_steps(job) {
        let partitions = match partitions {
            Some(0) => "map only".to_owned(),
            Some(tasks) => many(tasks.unsigned_abs().into(), "partition"),
            None => "as many partitions as suit its input".to_owned(),
        };
        out += &format!("  then step   {name}, {partitions}: planned when {before} is complete\n");
        before = name;
    }
    out
}
