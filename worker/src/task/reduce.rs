//! The reduce task: merges the runs of a partition, reduces its groups, and leaves their result.

use std::sync::Arc;

use mapreduce_api::ids::{AttemptId, TaskId};
use mapreduce_api::wire::Counters;

use crate::error::{Error, Result};
use crate::function::TaskContext;
use crate::record::Emit;
use crate::record::spill_store::SpillStore;
use crate::shuffle::combine::merge_down;
use crate::shuffle::merge::{FanIn, Merge};
use crate::shuffle::run::Run;
use crate::shuffle::stream::Groups;
use crate::step::RunStep;
use crate::task::result::{ResultWriter, WrittenResult};

/// Reduces a partition, whose runs are in the order of the map tasks that they come from.
pub fn run(
    step: &RunStep,
    task: TaskId,
    attempt: &AttemptId,
    partition: u32,
    runs: Vec<Run>,
    fan_in: FanIn,
    spill_store: &Arc<SpillStore>,
) -> Result<(WrittenResult, Counters)> {
    let context = step.task_context(task, partition, attempt, spill_store);
    reduce(step, &context, runs, fan_in, spill_store).map_err(|error| error.in_task(task))
}

fn reduce(
    step: &RunStep,
    context: &TaskContext,
    runs: Vec<Run>,
    fan_in: FanIn,
    spill_store: &Arc<SpillStore>,
) -> Result<(WrittenResult, Counters)> {
    let Some(function) = step.definition.functions.reduce.as_ref() else {
        return Err(Error::permanent("the job has no reduce function"));
    };
    let mut function = function.make(context);
    let out = ResultWriter::new(step, context.partition, &context.attempt, &context.values)?;
    let mut out = out.leaving_out(context.skipping.clone());
    // Combining on the way down would not change the result, only how much there is to merge.
    let mut combiner = step.definition.functions.combine.as_ref().map(|combine| combine.combiner(context));
    let runs = merge_down(runs, fan_in.0, spill_store, &step.definition.shuffle_spec, combiner.as_mut())?;
    let mut groups = Groups::new(Merge::new(runs, step.definition.shuffle_spec.values_sorted));
    let mut seen = 0;
    while let Some((stored, mut values)) = groups.next_group()? {
        seen += 1;
        if seen % CANCEL_EVERY == 0 {
            step.run.check_cancelled()?;
        }
        function.reduce(step.definition.shuffle_spec.order.key(stored), &mut values, &mut out)?;
    }
    function.finish(&mut out as &mut dyn Emit)?;
    let mut counters = Counters::default();
    context.counters.move_to(&mut counters)?;
    let written = out.finish()?;
    counters.add(&Counters {
        reduce_input_groups: groups.groups,
        reduce_input_records: groups.records(),
        reduce_output_records: written.records(),
        ..Counters::default()
    });
    written.count(&mut counters);
    Ok((written, counters))
}

/// Groups between two looks whether somebody has asked to stop.
const CANCEL_EVERY: u64 = 4096;
