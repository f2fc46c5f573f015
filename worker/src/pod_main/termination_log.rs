//! The file in which Kubernetes looks for a container's last words.
//!
//! Until the worker has any, the file says which stores it waits for: readiness probes read it, and Kubernetes itself
//! where the container is killed meanwhile.
//!
//! ```text
//!  empty ──> store away: s3://b/ since 16:05:03 UTC: … ──> empty ──> … ──> {"done":…}
//! ```

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use mapreduce_api::wire::{STORE_AWAY, Termination};

/// The file, as the worker's threads share it.
#[derive(Clone, Debug)]
pub(super) struct TerminationLog {
    path: PathBuf,
    has_ended: Arc<Mutex<bool>>,
}

impl TerminationLog {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, has_ended: Arc::default() }
    }

    /// Says that these stores are waited for; none, where the text is empty. Nothing is said after the last words.
    pub(super) fn wait_for(&self, stores: &str) {
        let has_ended = self.has_ended.lock().unwrap_or_else(PoisonError::into_inner);
        if !*has_ended {
            let line = if stores.is_empty() { String::new() } else { format!("{STORE_AWAY}{stores}\n") };
            // The log says it too, and a probe that reads nothing takes the worker for one that gets on.
            let _ = std::fs::write(&self.path, line);
        }
    }

    /// The line that says what is waited for, if anything is.
    pub(super) fn waits(&self) -> Option<String> {
        let text = std::fs::read_to_string(&self.path).ok()?;
        text.starts_with(STORE_AWAY).then(|| text.trim_end().to_owned())
    }

    /// Writes the last words.
    pub(super) fn end(&self, last_words: &Termination) {
        let mut has_ended = self.has_ended.lock().unwrap_or_else(PoisonError::into_inner);
        *has_ended = true;
        // Without a place for them (outside a pod) the last words are in the log alone.
        if let Err(error) = std::fs::write(&self.path, last_words.to_message()) {
            tracing::warn!(%error, path = %self.path.display(), "The termination message was not written.");
        }
    }
}

#[cfg(test)]
mod tests {
    use mapreduce_api::wire::Termination;

    use super::TerminationLog;

    #[test]
    fn a_worker_waits_until_its_stores_are_back_and_never_behind_its_last_words() {
        let folder = tempfile::tempdir().unwrap();
        let log = TerminationLog::new(folder.path().join("log"));
        assert_eq!(log.waits(), None);
        log.wait_for("s3://b/ since then: it does not answer");
        assert_eq!(log.waits().as_deref(), Some("store away: s3://b/ since then: it does not answer"));
        log.wait_for("");
        assert_eq!(log.waits(), None);
        log.end(&Termination::Done);
        log.wait_for("s3://b/ since then: it does not answer");
        assert_eq!(std::fs::read_to_string(&log.path).unwrap(), Termination::Done.to_message());
    }
}
