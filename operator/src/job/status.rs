//! The status, computed. Each function takes what is recorded and gives what should be; it is written
//! only where the two differ, and a time is set only where something else changes.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use mapreduce_api::v1alpha1::{
    Condition, JobInput, JobOutput, JobPhase, MapReduceJob, MapReduceJobStatus, PhaseCounts,
};
use mapreduce_api::wire::{Counters, JobSummary, PlanSummary, StepCounters};

use super::observed::{ChildJob, Failure, JobState, STORE_UNAVAILABLE};
use super::steps::{self, CurrentStep};
use crate::text::shortened;

/// The output is committed.
pub const COMPLETE: &str = "Complete";
/// There is no output.
pub const FAILED: &str = "Failed";
/// By `spec.suspend`, or by Kueue.
pub const SUSPENDED: &str = "Suspended";
/// The reason while the job's Job waits for Kueue to admit it.
pub const QUEUED: &str = "Queued";
/// The input is cut into splits.
pub const PLANNED: &str = "Planned";
/// `False` while pods can't start.
pub const PROGRESSING: &str = "Progressing";
/// `False` while the intermediate data of a job that has failed can't be removed.
pub const CLEANED: &str = "Cleaned";
/// All map tasks of the step are done.
pub const MAP_COMPLETE: &str = "MapComplete";
/// `Progressing` while all pods can start.
const STARTED: &str = "PodsStarted";
/// `Progressing` after an attempt at a task has failed.
pub const RETRYING: &str = "Retrying";

/// A condition of this type.
pub fn condition<'a>(status: &'a MapReduceJobStatus, kind: &str) -> Option<&'a Condition> {
    status.conditions.iter().find(|c| c.kind == kind)
}

/// Whether the condition is there and true.
pub fn is_true(status: &MapReduceJobStatus, kind: &str) -> bool {
    condition(status, kind).is_some_and(|c| c.status == "True")
}

/// Whether a change says nothing but how far the tasks of a phase are.
pub fn is_progress(old: Option<&MapReduceJobStatus>, new: &MapReduceJobStatus) -> bool {
    old.is_some_and(|old| {
        let MapReduceJobStatus { percent, maps, reduces, .. } = new.clone();
        MapReduceJobStatus { percent, maps, reduces, ..old.clone() } == *new
    })
}

/// How long the job has been active, suspensions left out.
pub fn active_for(status: &MapReduceJobStatus, now: Timestamp) -> SignedDuration {
    let before = SignedDuration::from_secs(status.active_seconds_before_suspension.unwrap_or(0));
    let Some(start) = status.start_time.as_ref().map(|t| t.0) else { return before };
    let since = match condition(status, SUSPENDED) {
        Some(c) if c.status == "True" => return before,
        Some(c) => c.last_transition_time.0.max(start),
        None => start,
    };
    before.saturating_add(now.duration_since(since)).max(SignedDuration::ZERO)
}

/// Bytes of the error of an attempt, where the job's own stands beside it.
const MAX_LINE: usize = 512;

/// Bytes of a status, as JSON.
const MAX_STATUS: usize = 8 << 10;

/// A status on its way from what is recorded to what should be.
#[derive(Debug)]
#[must_use]
pub struct Draft<'a> {
    status: MapReduceJobStatus,
    /// The step that is recorded.
    step: CurrentStep<'a>,
    now: Timestamp,
    generation: Option<i64>,
}

impl<'a> Draft<'a> {
    /// Begins with what is recorded.
    pub fn of(job: &'a MapReduceJob, now: Timestamp) -> Self {
        let generation = job.metadata.generation;
        let mut status = job.status.clone().unwrap_or_default();
        status.observed_generation = generation;
        Self { status, step: steps::at(job), now, generation }
    }

    /// What should be. What doesn't fit is left out: the counters of the first steps, then the user's; `_SUCCESS` has
    /// all of them.
    pub fn done(self) -> MapReduceJobStatus {
        let mut status = self.status;
        while serde_json::to_vec(&status).is_ok_and(|json| json.len() > MAX_STATUS) {
            if status.steps.len() > 1 {
                status.steps.remove(0);
            } else if status.counters.as_mut().and_then(|counters| counters.user.pop_last()).is_none() {
                break;
            }
        }
        status
    }

    fn set(&mut self, kind: &str, value: bool, reason: &str, message: &str) {
        let status = if value { "True" } else { "False" };
        let old = condition(&self.status, kind);
        if old.is_some_and(|c| c.status == status && c.reason == reason && c.message == message) {
            return;
        }
        let since =
            old.filter(|c| c.status == status).map_or(Time(self.now), |c| c.last_transition_time.clone());
        let new = Condition {
            kind: kind.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: message.to_owned(),
            last_transition_time: since,
            observed_generation: self.generation,
        };
        match self.status.conditions.iter_mut().find(|c| c.kind == kind) {
            Some(c) => *c = new,
            None => self.status.conditions.push(new),
        }
    }

    /// Seen, nothing started.
    pub fn pending(mut self) -> Self {
        self.status.phase = Some(JobPhase::Pending);
        self
    }

    /// What the run does is this.
    pub fn revision(mut self, digest: Option<String>) -> Self {
        self.status.revision = digest;
        self
    }

    /// Notes whether what the run does may still be changed, as no pod of it has started.
    pub fn amendable(mut self, amendable: bool) -> Self {
        self.status.amendable = amendable.then_some(true);
        self
    }

    /// The job begins.
    pub fn started(mut self) -> Self {
        self.status.start_time = Some(Time(self.now));
        self
    }

    /// The Job of a step's plan is about to be made.
    pub fn planning(mut self, step: CurrentStep<'_>) -> Self {
        self.status.phase = Some(JobPhase::Planning);
        if !step.is_first() {
            self.status.maps = None;
            self.status.reduces = None;
        }
        self.status.step = step.recorded();
        self.progressing()
    }

    /// The plan is known, and with it how many tasks there are. In the same write as the phase, for the
    /// plan's Job may be gone at the next look.
    pub fn planned(mut self, plan: &PlanSummary) -> Self {
        let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        if self.step.is_first() {
            self.status.input =
                Some(JobInput { objects: number(plan.input_objects), bytes: number(plan.input_bytes) });
        }
        if let Some(before) = self.step.before() {
            self.step_done(before, plan.before.as_ref());
        }
        self.status.amendable = None;
        self.status.maps = Some(untouched(plan.map_tasks));
        self.status.reduces = Some(untouched(plan.reduce_tasks));
        let step = self.step.phases().name.map(|name| format!("step {name}: ")).unwrap_or_default();
        let message = format!(
            "{step}{} map tasks and {} reduce tasks for {} bytes in {} objects",
            plan.map_tasks, plan.reduce_tasks, plan.input_bytes, plan.input_objects
        );
        self.set(PLANNED, true, "PlanCommitted", &message);
        self
    }

    /// The planner's pod has run all tasks itself.
    fn ran_whole(mut self) -> Self {
        for counts in self.status.maps.iter_mut().chain(&mut self.status.reduces) {
            counts.succeeded = counts.total;
            counts.progress = format!("{0}/{0}", counts.total);
        }
        self
    }

    /// Notes what a step has done, once.
    fn step_done(&mut self, step: CurrentStep<'_>, counters: Option<&Counters>) {
        let (Some(name), Some(counters)) = (step.phases().name, counters) else { return };
        if self.status.steps.iter().all(|known| known.name != name) {
            let counters = counters.clone();
            self.status.steps.push(StepCounters { name: name.to_owned(), counters });
        }
    }

    /// The map tasks are about to be run.
    pub fn mapping(mut self) -> Self {
        self.status.phase = Some(JobPhase::Mapping);
        if is_true(&self.status, MAP_COMPLETE) {
            self.set(MAP_COMPLETE, false, "MapTasksLeft", "");
        }
        self.progressing()
    }

    /// All map tasks are done.
    pub fn reducing(mut self) -> Self {
        self.status.phase = Some(JobPhase::Reducing);
        self.map_complete().progressing()
    }

    fn map_complete(mut self) -> Self {
        let step = self.step.phases().name.map(|name| format!("step {name}: ")).unwrap_or_default();
        let tasks = self.status.maps.as_ref().map_or(0, |maps| maps.total);
        self.set(MAP_COMPLETE, true, "MapTasksDone", &format!("{step}{tasks} map tasks are done"));
        self
    }

    /// The output is committed; the last pod's summary of it, when there was a pod left to ask.
    pub fn succeeded(mut self, url: &str, summary: Option<&JobSummary>) -> Self {
        if let Some(plan) = summary.and_then(|summary| summary.plan.as_ref()) {
            self = self.planned(plan).ran_whole();
        }
        let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        self.status.output = summary.map(|summary| JobOutput {
            url: url.to_owned(),
            objects: number(summary.parts),
            bytes: number(summary.counters.output_bytes),
            records: number(summary.records),
        });
        self.step_done(self.step, summary.and_then(|summary| summary.last_step.as_ref()));
        if self.status.maps.is_none() {
            // The plan found nothing to do, and has committed the empty output itself.
            self.status.maps = Some(untouched(0));
            self.status.reduces = Some(untouched(0));
            let what = if self.step.is_first() { "the input" } else { "what the step before has written" };
            self.set(PLANNED, true, "PlanCommitted", &format!("{what} is empty"));
        }
        self.status.counters = summary.map(|summary| summary.counters.clone());
        let message = match summary {
            Some(summary) => format!("{} parts are committed under {url}", summary.parts),
            None => format!("the output is committed under {url}; its counters are in _SUCCESS alone"),
        };
        self.set(COMPLETE, true, "OutputCommitted", &message);
        self.status.skew_percent =
            summary.and_then(|summary| summary.skew_percent).and_then(|skew| i64::try_from(skew).ok());
        self.status.percent = Some(100);
        self = self.map_complete().progressing();
        self.ended(JobPhase::Succeeded, None)
    }

    /// The job has ended without output.
    pub fn failed(mut self, failure: &Failure) -> Self {
        let attempts = i32::try_from(failure.attempts).unwrap_or(i32::MAX);
        let counts = match self.status.phase {
            Some(JobPhase::Mapping) => self.status.maps.as_mut(),
            Some(JobPhase::Reducing) => self.status.reduces.as_mut(),
            _ => None,
        };
        // The Job controller counts pods, and a pod may have tried more than once.
        counts.into_iter().for_each(|counts| counts.failed = counts.failed.max(attempts));
        self.set(FAILED, true, failure.reason.as_str(), &failure.message);
        // The last attempt's error is that of the job, or another of its kind: it needn't be there twice.
        let retrying =
            self.status.conditions.iter_mut().find(|c| c.kind == PROGRESSING && c.reason == RETRYING);
        if let Some(retrying) = retrying {
            let line = retrying.message.lines().next().unwrap_or_default();
            retrying.message = shortened(line.to_owned(), MAX_LINE);
        }
        self.ended(JobPhase::Failed, Some(failure.reason.as_str()))
    }

    /// The intermediate data of a job that has failed is still there.
    pub fn cleanup_failed(mut self, why: &str) -> Self {
        let message = format!("intermediate data is still there, and its removal is tried again: {why}");
        self.set(CLEANED, false, "CleanupFailed", &message);
        self
    }

    fn ended(mut self, phase: JobPhase, reason: Option<&str>) -> Self {
        self.status.phase = Some(phase);
        self.status.amendable = None;
        self.status.reason = reason.map(str::to_owned);
        self.status.completion_time = Some(Time(self.now));
        for counts in self.status.maps.iter_mut().chain(&mut self.status.reduces) {
            counts.active = 0;
        }
        self
    }

    /// What the phase's Job counts.
    pub fn counts(mut self, phase: JobPhase, run: &ChildJob, disrupted: i32) -> Self {
        let counts = match phase {
            JobPhase::Mapping => self.status.maps.as_mut(),
            JobPhase::Reducing => self.status.reduces.as_mut(),
            _ => None,
        };
        if let Some(counts) = counts {
            counts.active = run.active;
            // A Job that was made again counts from 0.
            counts.failed = run.failed.max(counts.failed);
            let succeeded = if run.state == JobState::Complete { counts.total } else { run.succeeded };
            counts.succeeded = succeeded.max(counts.succeeded);
            counts.progress = format!("{}/{}", counts.succeeded, counts.total);
            // A Job's start is reset at each resume.
            counts.start_time = counts.start_time.clone().or_else(|| run.start_time.clone());
            counts.completion_time.clone_from(&run.completion_time);
            counts.disrupted = disrupted.max(counts.disrupted);
            let times = counts.start_time.as_ref().zip(counts.completion_time.as_ref());
            counts.seconds = times.map(|(start, end)| end.0.duration_since(start.0).as_secs().max(0));
        }
        self.measured()
    }

    /// Notes how much of all is done: of each step as much.
    fn measured(mut self) -> Self {
        let (number, steps) =
            self.status.step.as_ref().map_or((1, 1), |step| (step.number, step.total.max(1)));
        let counts = || self.status.maps.iter().chain(&self.status.reduces);
        let (done, all) =
            counts().fold((0, 0), |(done, all), c| (done + i64::from(c.succeeded), all + i64::from(c.total)));
        let of_step = (done * 100).checked_div(all).unwrap_or(0);
        let percent = (i64::from(number - 1) * 100 + of_step) / i64::from(steps);
        // It is all once the output is committed.
        self.status.percent = i32::try_from(percent.clamp(0, 99)).ok().filter(|percent| *percent > 0);
        self
    }

    /// Notes that the job is suspended by its spec, or isn't any more.
    pub fn suspension(self, suspend: bool) -> Self {
        if suspend {
            self.pause("Suspended", "spec.suspend is true; what is done stays done")
        } else {
            self.resume()
        }
    }

    /// Notes that the job waits in a queue.
    pub fn queued(self, message: &str) -> Self {
        self.pause(QUEUED, message)
    }

    fn pause(mut self, reason: &str, message: &str) -> Self {
        if !is_true(&self.status, SUSPENDED) {
            let active = active_for(&self.status, self.now).as_secs();
            self.status.active_seconds_before_suspension = self.status.start_time.as_ref().map(|_| active);
        }
        self.set(SUSPENDED, true, reason, message);
        self.status.reason = Some(reason.to_owned());
        self
    }

    fn resume(mut self) -> Self {
        if is_true(&self.status, SUSPENDED) {
            self.set(SUSPENDED, false, "Resumed", "");
            self.status.reason = None;
        }
        self
    }

    /// Pods can't start.
    pub fn stuck(mut self, reason: &str, message: &str) -> Self {
        let told =
            condition(&self.status, PROGRESSING).is_some_and(|c| c.status == "False" && c.reason == reason);
        // These messages take turns: two on the same pod, and those of pods that wait for one store.
        if !(told && ["ImagePullBackOff", STORE_UNAVAILABLE].contains(&reason)) {
            self.set(PROGRESSING, false, reason, message);
        }
        if !is_true(&self.status, SUSPENDED) {
            self.status.reason = Some(reason.to_owned());
        }
        self
    }

    /// Some pods can't start, and others run.
    pub fn slowed(mut self, reason: &str, message: &str) -> Self {
        let told =
            condition(&self.status, PROGRESSING).is_some_and(|c| c.status == "True" && c.reason == reason);
        if !told {
            self.set(PROGRESSING, true, reason, message);
            self.unstick();
        }
        self
    }

    /// An attempt at a task has failed, and there will be another one.
    pub fn retrying(mut self, error: &str) -> Self {
        self.set(PROGRESSING, true, RETRYING, error);
        if !is_true(&self.status, SUSPENDED) {
            self.status.reason = Some(RETRYING.to_owned());
        }
        self
    }

    /// They can again, if ever they couldn't.
    pub fn progressing(mut self) -> Self {
        let told = condition(&self.status, PROGRESSING);
        if told.is_some_and(|c| c.status == "False" || ![STARTED, RETRYING].contains(&c.reason.as_str())) {
            self.set(PROGRESSING, true, STARTED, "");
            self.unstick();
        }
        self
    }

    fn unstick(&mut self) {
        if !is_true(&self.status, SUSPENDED) {
            self.status.reason = None;
        }
    }
}

fn untouched(total: u32) -> PhaseCounts {
    PhaseCounts {
        total: i32::try_from(total).unwrap_or(i32::MAX),
        progress: format!("0/{total}"),
        ..PhaseCounts::default()
    }
}
