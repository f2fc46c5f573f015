//! `mapreduce plan` and `mapreduce validate`.

use mapreduce_api::quantity::Bytes;
use mapreduce_worker::error::{Error, Result};
use mapreduce_worker::job;
use mapreduce_worker::plan::cost::{Cost, Requests};
use mapreduce_worker::plan::{self, Planned};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::args::FileArgs;
use crate::load;
use crate::size::{bytes, count, many};

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|e| Error::retry("can't start the runtime").because(e))
}

pub(crate) fn validate(args: &FileArgs) -> Result<()> {
    let loaded = load::load(&args.file)?;
    let name = loaded.manifest.metadata.name.clone();
    job::check(&loaded.manifest.spec)?;
    if args.json {
        println!("{}", json!({"valid": true, "name": name}));
    } else {
        println!("{}: MapReduceJob {name} is valid", args.file.display());
    }
    Ok(())
}

pub(crate) fn plan(args: &FileArgs) -> Result<()> {
    let loaded = load::load(&args.file)?;
    let runtime = runtime()?;
    let job = loaded.job(runtime.handle().clone(), CancellationToken::new())?;
    let planned = plan::for_pods(&job)?;
    let cost = Cost::of(&job, &planned);
    if args.json {
        println!("{}", as_json(&planned, &cost));
    } else {
        print!("{}", as_text(&job.file.name, job.file.spec.input.split_size, &planned, &cost));
    }
    Ok(())
}

fn splits(planned: &Planned) -> usize {
    planned.tasks.iter().map(|task| task.splits.len()).sum()
}

fn as_json(planned: &Planned, cost: &Cost) -> serde_json::Value {
    let summary = &planned.plan.summary;
    let requests = |r: &Requests| json!({"list": r.list, "get": r.get, "put": r.put});
    json!({
        "inputObjects": summary.input_objects,
        "inputBytes": summary.input_bytes,
        "splits": splits(planned),
        "mapTasks": summary.map_tasks,
        "reduceTasks": summary.reduce_tasks,
        "partitions": summary.partitions,
        "unsplit": planned.unsplit.iter().map(|u| json!({"url": u.url, "bytes": u.bytes, "why": u.why})).collect::<Vec<_>>(),
        "requests": {"input": requests(&cost.input), "shuffle": requests(&cost.shuffle), "output": requests(&cost.output)},
        "requestsUsd": cost.usd(),
    })
}

fn as_text(name: &str, split_size: Bytes, planned: &Planned, cost: &Cost) -> String {
    let summary = &planned.plan.summary;
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
    for unsplit in &planned.unsplit {
        out += &format!("  not split   {} ({}): {}\n", unsplit.url, bytes(unsplit.bytes), unsplit.why);
    }
    for (what, requests) in [("input", &cost.input), ("shuffle", &cost.shuffle), ("output", &cost.output)] {
        let Requests { list, get, put } = *requests;
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
    out
}
