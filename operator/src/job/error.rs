//! Why a pass ended early. It is tried again; what no further try can change is a condition instead.

use crate::job::read_error::ReadError;
use crate::job::write_outcome::WriteError;
use crate::watchdog::PASS_LIMIT;

/// Why a pass ended early, by its step.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// Something could not be read.
    #[error("failed to look at the job: {0}")]
    Dereference(#[from] ReadError),
    /// Something could not be written.
    #[error("failed to bring the job forward: {0}")]
    Apply(#[from] WriteError),
    /// Each write led to another one.
    #[error("a pass of {0} writes came to no end")]
    Endless(usize),
    /// The API server is slow, or away.
    #[error("a pass has taken longer than {} s and was given up", PASS_LIMIT.as_secs())]
    TimedOut,
    /// A defect: the log has where.
    #[error("a pass has panicked: this is a defect, please report it")]
    Panicked,
}

impl ReconcileError {
    /// One word for logs and metrics.
    pub fn category(&self) -> &'static str {
        match self {
            Self::Dereference(error) => error.category(),
            Self::Apply(error) => error.category(),
            Self::Endless(_) => "endless",
            Self::TimedOut => "timeout",
            Self::Panicked => "panicked",
        }
    }
}
