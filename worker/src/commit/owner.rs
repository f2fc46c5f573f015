//! Who a run is, for those who find what it left: written into locks and work folders.

use mapreduce_api::ids::JobId;
use serde::{Deserialize, Serialize};

pub use crate::machine::process::ProcessIdentity;
use crate::machine::{clock, process};

/// A run, and the process that writes for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Owner {
    /// The run.
    pub id: JobId,
    /// The job's name.
    pub name: String,
    /// The machine, or the pod.
    pub host: String,
    /// Seconds since 1970 when this was written.
    pub since: u64,
    /// The process, where it is a run of its own and not a pod of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessIdentity>,
}

impl Owner {
    /// This process, for a run. `alone`: no other process works for it.
    pub fn new(id: &JobId, name: &str, alone: bool) -> Self {
        Self {
            id: id.clone(),
            name: name.to_owned(),
            host: process::host(),
            since: clock::epoch_seconds(),
            process: if alone { ProcessIdentity::this() } else { None },
        }
    }

    /// Reads what an owner wrote.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// What it writes.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Whether its run has certainly ended without tidying up: it was killed.
    pub fn is_dead(&self) -> bool {
        self.process.as_ref().is_some_and(ProcessIdentity::is_dead)
    }
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { id, name, host, since, process } = self;
        let ago = clock::epoch_seconds().saturating_sub(*since);
        match process {
            Some(ProcessIdentity { pid, .. }) => {
                write!(f, "run {id} of job {name}, process {pid} on {host}, begun {ago} s ago")
            }
            None => write!(f, "run {id} of job {name}, pod {host}, begun {ago} s ago"),
        }
    }
}
