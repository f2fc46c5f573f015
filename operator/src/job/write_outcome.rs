//! What becomes of a write.

use mapreduce_api::v1alpha1::MapReduceJob;

use super::observed::Refusal;

/// What could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The API server, or the way to it.
    #[error("failed to write {what}: {source}")]
    Write {
        /// What.
        what: &'static str,
        /// Why.
        source: Box<kube::Error>,
    },
    /// The description can't be written as JSON.
    #[error("failed to describe the job: {0}")]
    Describe(#[from] serde_json::Error),
}

impl WriteError {
    /// One word for metrics.
    pub fn category(&self) -> &'static str {
        match self {
            Self::Write { what, .. } => what,
            Self::Describe(_) => "describe",
        }
    }
}

pub(super) fn writing(what: &'static str) -> impl Fn(kube::Error) -> WriteError {
    move |source| WriteError::Write { what, source: Box::new(source) }
}

/// What became of a write.
#[derive(Debug)]
pub enum WriteOutcome {
    /// It is made; this is the job as it is now.
    Job(Box<MapReduceJob>),
    /// It is made, and the job is as it was.
    Child,
    /// Somebody else has changed the job: look at it again.
    Stale,
    /// The API server won't have it.
    Refused(Refusal),
    /// The namespace is being deleted.
    NamespaceTerminating,
    /// The name is still held by an object that the garbage collector is about to remove.
    Later,
    /// There is no job any more.
    Gone,
}
