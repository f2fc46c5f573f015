//! A job of several steps: going from one to the next.
//!
//! ```text
//!  step 0                 step 1                              last step
//!  list input ─> plan     commit records of step 0 ─> plan    …
//!  map, reduce ─> pairs   map, reduce ─> pairs                map, reduce ─> parts, _SUCCESS
//! ```
//!
//! Commit records are a step's own, and stay to the end of the job, so that an attempt that comes late,
//! at a task of a step long done, finds that it is. The data goes as soon as nobody can need it: with the
//! plan of a step, which is made when the step before is complete, the shuffle objects of that one, and
//! the pairs that it has read.

use std::collections::BTreeMap;
use std::sync::Arc;

use mapreduce_api::ids::{AttemptId, TaskKind};
use mapreduce_api::v1alpha1::Cleanup;
use mapreduce_api::wire::{Counters, ErrorReport, PlanSummary, StepCounters};
use serde::{Deserialize, Serialize};

use super::Job;
use crate::error::{Error, Result};
use crate::plan;
use crate::record::format::Format;
use crate::record::pairs::{PairsObject, PairsPlace};
use crate::record::skipped::{self, SkippedRecords};
use crate::task::lost;

/// What the steps that are complete have done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// All of them together.
    pub total: Counters,
    /// Each of them, in a job with `spec.steps`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<StepCounters>,
    /// The bad records that they have left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<SkippedRecords>,
    /// Why there is nothing of some of their tasks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<ErrorReport>,
    /// The tasks that they had.
    #[serde(default)]
    pub tasks: u32,
}

impl Done {
    /// Adds the step that the job is seen at.
    pub fn add(&mut self, job: &Job, counters: Counters) {
        self.total.add(&counters);
        self.steps.extend(job.step_name().map(|name| StepCounters { name: name.to_owned(), counters }));
    }

    /// What the last of them has done, without the user's counters.
    pub fn last(&self) -> Option<Counters> {
        let last = &self.steps.last()?.counters;
        Some(Counters { user: BTreeMap::new(), ..last.clone() })
    }

    pub(crate) fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// The steps that are complete, and what the next one reads of them.
#[derive(Clone, Debug, Default)]
pub struct Ended {
    /// What the last of them has written, by partition.
    pub objects: Vec<PairsObject>,
    /// What they have done.
    pub done: Done,
}

impl Job {
    /// The job at another of its steps; behind the last one it is at the last.
    #[must_use]
    pub fn at_step(&self, number: usize) -> Self {
        let number = number.min(self.steps.len() - 1);
        let step = &self.steps[number];
        let format = match number {
            0 => Format::new(&step.spec.input),
            _ => Format::pairs(self.pairs.clone()),
        };
        let mut file = self.file.clone();
        file.spec.clone_from(&step.spec);
        Self {
            file,
            functions: step.functions.clone(),
            arrangement: step.arrangement.clone(),
            format,
            stores: Arc::clone(&self.stores),
            output: self.output.clone(),
            folder: self.folder.clone(),
            work: self.folder.join(&step.folder()),
            pairs: self.pairs.clone(),
            staging: self.staging.clone(),
            requests: Arc::clone(&self.requests),
            skipped: Arc::clone(&self.skipped),
            failed_before: self.failed_before,
            cancel: self.cancel.clone(),
            last_resort: self.last_resort.clone(),
            alone: self.alone,
            // What pays in one step need not in another.
            gain: Arc::default(),
            steps: Arc::clone(&self.steps),
            number,
        }
    }

    /// The step after so many failed attempts at the task at hand.
    #[must_use]
    pub fn after_failures(&self, failed_before: u64) -> Self {
        Self { failed_before, ..self.at_step(self.number) }
    }

    /// The job at its last step.
    #[must_use]
    pub fn at_last_step(&self) -> Self {
        self.at_step(self.steps.len())
    }

    /// The job with the pairs between steps kept elsewhere.
    #[must_use]
    pub fn keeping_pairs_in(&self, place: PairsPlace) -> Self {
        Self { pairs: place, ..self.at_step(self.number) }.at_step(self.number)
    }

    /// The job of which this process is all.
    #[must_use]
    pub fn alone(&self) -> Self {
        Self { alone: true, ..self.at_step(self.number) }
    }

    /// How many steps there are.
    pub fn step_count(&self) -> usize {
        self.steps.len()
    }

    /// The number of the step that the job is seen at, from 0.
    pub fn step(&self) -> usize {
        self.number
    }

    /// The step's name; none in a job without `spec.steps`.
    pub fn step_name(&self) -> Option<&str> {
        self.name_of(self.number)
    }

    /// The name of any step.
    pub fn name_of(&self, number: usize) -> Option<&str> {
        self.steps.get(number).and_then(|step| step.name.as_deref())
    }

    /// Whether the step's result is the output.
    pub fn is_last_step(&self) -> bool {
        self.number + 1 == self.steps.len()
    }

    /// What the names of the pairs that the step writes begin with.
    pub fn pairs_prefix(&self) -> String {
        format!("{}pairs/", self.steps[self.number].folder())
    }

    /// Removes what no task can need any more, once the step before is complete.
    pub fn remove_used(&self) -> Result<()> {
        // After a failure there may be somebody who wants to look at it.
        if self.number == 0 || self.file.spec.cleanup != Cleanup::Always {
            return Ok(());
        }
        let before = self.at_step(self.number - 1);
        before.work.store.delete_prefix(&before.work.join("shuffle/").key)?;
        match self.number {
            1 => Ok(()),
            number => self.pairs.delete_below(&self.at_step(number - 2).pairs_prefix()),
        }
    }
}

impl super::Step {
    /// Its folder below the job's work folder.
    fn folder(&self) -> String {
        self.name.as_ref().map_or_else(String::new, |name| format!("steps/{name}/"))
    }
}

/// What the plan of a step counts: objects of the job's input, and not of pairs.
pub fn input_counters(job: &Job, summary: &PlanSummary) -> Counters {
    if job.step() > 0 {
        return Counters::default();
    }
    Counters { input_objects: summary.input_objects, input_bytes: summary.input_bytes, ..Counters::default() }
}

/// What a step that is complete has left, by its commit records.
pub fn ended(job: &Job, attempt: &AttemptId) -> Result<Ended> {
    let plan = plan::load(job)?;
    let summary = &plan.summary;
    let all = |kind, tasks| {
        job.log()
            .all(kind, tasks, attempt)?
            .ok_or_else(|| Error::retry("a commit record of the step before is missing"))
    };
    let maps = all(TaskKind::Map, summary.map_tasks)?;
    let reduces = all(TaskKind::Reduce, summary.reduce_tasks)?;
    let mut counters = input_counters(job, summary);
    let mut objects = Vec::new();
    let mut done = plan.before.clone();
    lost::check(job, &done.lost, maps.iter().filter_map(|commit| commit.lost.as_ref()), summary.map_tasks)?;
    for commit in maps.into_iter().chain(reduces) {
        counters.add(&commit.counters);
        objects.extend(commit.pairs);
        done.skipped.extend(commit.skipped);
        done.lost.extend(commit.lost);
    }
    done.add(job, counters);
    done.tasks += summary.map_tasks + summary.reduce_tasks;
    skipped::check_budget(job.file.spec.skip_bad_records.max, &done.skipped)?;
    Ok(Ended { objects, done })
}
