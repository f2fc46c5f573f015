//! Which of its steps a job is at. Pure.
//!
//! The steps of a job run one after the other, each with a plan, a map and perhaps a reduce Job of its own.
//! Which one it is is recorded in `status.step`, in the same write as the phase that it begins with.

use mapreduce_api::v1alpha1::{JobStep, MapReduceJob, MapReduceJobSpec, Phases};

/// A step of a job; a job without `spec.steps` is one step without a name.
#[derive(Clone, Copy, Debug)]
pub struct CurrentStep<'a> {
    spec: &'a MapReduceJobSpec,
    /// From 0.
    index: usize,
}

/// The step that a job is at.
pub fn at(job: &MapReduceJob) -> CurrentStep<'_> {
    let recorded = job.status.as_ref().and_then(|s| s.step.as_ref());
    let number = recorded.map_or(1, |step| usize::try_from(step.number).unwrap_or(1).max(1));
    CurrentStep { spec: &job.spec, index: (number - 1).min(job.spec.step_count() - 1) }
}

/// All steps of a job.
pub fn all(spec: &MapReduceJobSpec) -> impl Iterator<Item = CurrentStep<'_>> {
    (0..spec.step_count()).map(move |index| CurrentStep { spec, index })
}

impl<'a> CurrentStep<'a> {
    /// What is done in it.
    pub fn phases(self) -> Phases<'a> {
        self.spec.phases(self.index)
    }

    /// The number, from 1; none in a job without steps.
    pub fn number(self) -> Option<i32> {
        self.phases().name.and_then(|_| i32::try_from(self.index + 1).ok())
    }

    /// Whether it is the job's first one.
    pub fn is_first(self) -> bool {
        self.index == 0
    }

    /// The one after it.
    pub fn next(self) -> Option<Self> {
        let next = Self { index: self.index + 1, ..self };
        (next.index < self.spec.step_count()).then_some(next)
    }

    /// The one before it.
    pub fn before(self) -> Option<Self> {
        Some(Self { index: self.index.checked_sub(1)?, ..self })
    }

    /// The field of the manifest that its phases are below.
    pub fn path(self) -> String {
        Phases::path(self.spec, self.index)
    }

    /// As it is recorded.
    pub fn recorded(self) -> Option<JobStep> {
        Some(JobStep {
            name: self.phases().name?.to_owned(),
            number: self.number()?,
            total: i32::try_from(self.spec.step_count()).unwrap_or(i32::MAX),
        })
    }
}
