//! How a run ends in this process: with its result, or with nothing. Of the thread that publishes and the one that was
//! asked to stop the run, who decides first has decided.
//!
//! ```text
//!  publishes   parts are about to appear ────────> _SUCCESS is about to be written
//!  stops       they are taken back                 it is too late: the run succeeds
//! ```

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Result};
use crate::storage::StagedPart;

/// What is decided of a run's end.
#[derive(Debug, Default)]
pub struct Ending {
    decision: Mutex<EndingState>,
    is_left: AtomicBool,
}

#[derive(Debug)]
enum EndingState {
    /// Nothing: these parts are staged, and may have appeared.
    Open(Vec<StagedPart>),
    /// It succeeds.
    Succeeds,
    /// It was stopped.
    Stopped,
}

impl Default for EndingState {
    fn default() -> Self {
        Self::Open(Vec::new())
    }
}

impl Ending {
    /// Says that there is a part of which no log may tell. Where the run was stopped, its task is too.
    pub fn staged(&self, part: &StagedPart) {
        if let EndingState::Open(parts) = &mut *self.decided() {
            parts.push(part.clone());
        }
    }

    /// Says which parts are about to appear. An error where the run was stopped.
    pub fn publish(&self, parts: &[StagedPart]) -> Result<()> {
        self.decide(EndingState::Open(parts.to_vec()))
    }

    /// Says that `_SUCCESS` is about to be written. An error where the run was stopped.
    pub fn succeed(&self) -> Result<()> {
        self.decide(EndingState::Succeeds)
    }

    fn decide(&self, decision: EndingState) -> Result<()> {
        let mut decided = self.decided();
        if matches!(*decided, EndingState::Stopped) {
            return Err(Error::cancelled());
        }
        *decided = decision;
        Ok(())
    }

    /// Stops the run, whatever its threads do: the parts that are staged or have appeared. None where it succeeds.
    pub fn stop(&self) -> Option<Vec<StagedPart>> {
        let mut decided = self.decided();
        let parts = match &mut *decided {
            EndingState::Succeeds => return None,
            EndingState::Open(parts) => std::mem::take(parts),
            EndingState::Stopped => Vec::new(),
        };
        *decided = EndingState::Stopped;
        Some(parts)
    }

    /// Notes that something is left that can't be removed; says whether this is the first to note it.
    pub fn is_left(&self) -> bool {
        !self.is_left.swap(true, Ordering::Relaxed)
    }

    fn decided(&self) -> MutexGuard<'_, EndingState> {
        self.decision.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::Ending;
    use crate::error::ErrorKind;
    use crate::storage::{Staged, StagedPart};

    fn part() -> StagedPart {
        let staged = Staged::Upload { id: "1".into(), parts: Vec::new() };
        StagedPart { name: "part-00000".into(), staged, bytes: 1, records: 1, checksum: 0 }
    }

    #[test]
    fn a_run_that_was_stopped_does_not_succeed_any_more() {
        let ending = Ending::default();
        ending.publish(&[part()]).unwrap();
        assert_eq!(ending.stop(), Some(vec![part()]));
        assert_eq!(ending.succeed().unwrap_err().kind(), ErrorKind::Cancelled);
        assert_eq!(ending.publish(&[part()]).unwrap_err().kind(), ErrorKind::Cancelled);
    }

    #[test]
    fn what_tasks_have_staged_is_known_before_any_of_it_appears() {
        let ending = Ending::default();
        ending.staged(&part());
        assert_eq!(ending.stop(), Some(vec![part()]));
        ending.staged(&part());
        assert_eq!(ending.stop(), Some(Vec::new()));
    }

    #[test]
    fn a_run_that_is_about_to_succeed_is_not_stopped_unless_that_has_failed() {
        let ending = Ending::default();
        ending.publish(&[part()]).unwrap();
        ending.succeed().unwrap();
        assert_eq!(ending.stop(), None);
        ending.publish(&[part()]).unwrap();
        assert_eq!(ending.stop(), Some(vec![part()]));
    }
}
