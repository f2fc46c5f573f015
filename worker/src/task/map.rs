//! The map task: reads its splits, maps their records, and leaves sorted runs or a part.

use std::sync::Arc;

use mapreduce_api::ids::{AttemptId, TaskId};
use mapreduce_api::wire::Counters;

use crate::error::{Error, Result};
use crate::function::{TaskContext, builtin, map_careful};
use crate::input::reader::Reader;
use crate::input::source::content_before;
use crate::machine::threads;
use crate::memory::{self, Resources};
use crate::plan::MapTask;
use crate::record::skipped::Skipping;
use crate::record::spill_store::SpillStore;
use crate::record::split::Split;
use crate::record::{MapOutput, Mapper};
use crate::shuffle::collector::{Collector, MapSideCombine};
use crate::shuffle::partition::KeyPartitioner;
use crate::shuffle::run::Spill;
use crate::step::RunStep;
use crate::task::result::{MapOnlyOutput, ResultWriter, WrittenResult};

/// What a task of a job with reducers leaves: the runs of its flushes, in their order.
pub type Runs = Vec<Spill>;

/// Memory that pairs take for each byte that is read, as stored: for most jobs.
const EXPANSION: usize = 8;
const MIN_MEMORY: usize = 4 << 20;

/// Runs an attempt at a map task. `memory` bytes are filled before runs are made.
pub fn run(
    step: &RunStep,
    task: TaskId,
    attempt: &AttemptId,
    splits: &MapTask,
    partitioner: &KeyPartitioner,
    memory: usize,
    spill_store: &Arc<SpillStore>,
) -> Result<(Runs, Counters)> {
    let name = Arc::from(format!("intermediate data of {task}"));
    let context = step.task_context(task, task.index, attempt, spill_store);
    // Memory is reserved before it is known how much there is to collect.
    let bytes: u64 = splits.splits.iter().map(Split::bytes).sum();
    let enough = usize::try_from(bytes).unwrap_or(usize::MAX).saturating_mul(EXPANSION).max(MIN_MEMORY);
    let mut out = Collector::for_shuffle(
        partitioner.clone(),
        &step.definition.shuffle_spec,
        combine(step, &context),
        memory.min(enough),
        spill_store,
        name,
    );
    let done = map_splits(step, &context, splits, &mut out)
        .and_then(|records| out.into_spills().map(|(runs, counters)| (records, runs, counters)));
    let (records, runs, mut counters) = done.map_err(|error| error.in_task(task))?;
    counters.map_input_records += records;
    context.counters.move_to(&mut counters)?;
    Ok((runs, counters))
}

/// The job's combine function for an attempt, and whether a table may add up in its place.
fn combine(step: &RunStep, context: &TaskContext) -> Option<MapSideCombine> {
    let function = step.definition.functions.combine.as_ref()?;
    // A sum that leaves out bad values has to see them one by one.
    let sums = matches!(function.builtin(), Some(builtin::BuiltinReduce::Sum)) && context.skipping.is_none();
    Some(MapSideCombine {
        combiner: function.combiner(context),
        combine_stats: sums.then(|| Arc::clone(&step.combine_stats)),
    })
}

/// Runs an attempt at a map task in several threads, each with its stretch of the splits.
pub fn run_threads(
    step: &RunStep,
    task: TaskId,
    attempt: &AttemptId,
    splits: &MapTask,
    partitioner: &KeyPartitioner,
    resources: &Resources,
    spill_store: &Arc<SpillStore>,
) -> Result<(Runs, Counters)> {
    let threads = resources.threads.min(splits.splits.len()).max(1);
    let memory = memory::collect(resources.memory, threads);
    let total = splits.splits.len();
    let stretch =
        |i: usize| MapTask { splits: splits.splits[total * i / threads..total * (i + 1) / threads].to_vec() };
    let done =
        threads::each(threads, |i| run(step, task, attempt, &stretch(i), partitioner, memory, spill_store));
    let panicked = |_| Err(Error::retry("a map thread has panicked"));
    let done = done.into_iter().map(|done| done.unwrap_or_else(panicked)).collect::<Result<Vec<_>>>()?;
    let mut all = Runs::new();
    let mut counters = Counters::default();
    for (runs, counted) in done {
        counters.add(&counted);
        all.extend(runs);
    }
    Ok((all, counters))
}

/// Runs an attempt at a task of a step without reducers: its pairs are its result.
pub fn run_map_only(
    step: &RunStep,
    task: TaskId,
    attempt: &AttemptId,
    splits: &MapTask,
    spill_store: &Arc<SpillStore>,
) -> Result<(WrittenResult, Counters)> {
    let context = step.task_context(task, task.index, attempt, spill_store);
    let run = || {
        // A built-in function emits while it has the record, which is told more of than the pair.
        let skipping = context.skipping.clone().filter(|_| !step.definition.functions.map.is_builtin());
        let writer = ResultWriter::new(step, task.index, attempt, &context.values)?.leaving_out(skipping);
        let mut out = MapOnlyOutput { writer, emitted: 0 };
        let records = map_splits(step, &context, splits, &mut out)?;
        let mut counters =
            Counters { map_input_records: records, map_output_records: out.emitted, ..Counters::default() };
        context.counters.move_to(&mut counters)?;
        let written = out.writer.finish()?;
        written.count(&mut counters);
        Ok((written, counters))
    };
    run().map_err(|error: Error| error.in_task(task))
}

fn map_splits<O: MapOutput>(
    step: &RunStep,
    context: &TaskContext,
    task: &MapTask,
    out: &mut O,
) -> Result<u64> {
    let mut records = 0;
    let mut function = step.definition.functions.map.make(context);
    let mut buffer = Vec::new();
    for split in &task.splits {
        let compression = step.spec().input.compression;
        let mut map_split = |buffer| {
            function.begin(split, out)?;
            let mut reader = Reader::open(split, &step.format, compression, &step.places.stores, buffer)?;
            if let Some(skipping) = &context.skipping {
                records += map_carefully(step, &mut *function, &mut reader, skipping, out)?;
            }
            while let Some(chunk) = reader.next_chunk()? {
                step.run.check_cancelled()?;
                records += function.map_chunk(&chunk, out)?;
            }
            Ok(reader.into_buffer())
        };
        buffer = map_split(buffer).map_err(|error: Error| match error.record_url() {
            // How much content is before the split is found out only where it matters.
            Some(url) if url == split.url => match content_before(split, &step.places.stores) {
                Ok(base) => error.counted_from(base),
                Err(_) => error,
            },
            _ => error,
        })?;
    }
    function.finish(out)?;
    Ok(records)
}

/// Maps the records of a split, and leaves out those that are bad.
fn map_carefully<O: MapOutput>(
    step: &RunStep,
    function: &mut dyn Mapper<O>,
    reader: &mut Reader<'_>,
    skipping: &Skipping,
    out: &mut O,
) -> Result<u64> {
    let mut records = 0;
    loop {
        let too_long = match reader.next_chunk() {
            Ok(None) => return Ok(records),
            Ok(Some(chunk)) => {
                step.run.check_cancelled()?;
                records += map_careful(function, &chunk, skipping, out)?;
                continue;
            }
            Err(error) if error.is_bad_record() => error,
            Err(error) => return Err(error),
        };
        match reader.skip_long()? {
            Some(text) => skipping.leave_out(&too_long, &text)?,
            None => return Err(too_long),
        }
    }
}
