//! Who a run is, for those who find what it left: written into locks and work folders.

use mapreduce_api::ids::JobId;
use serde::{Deserialize, Serialize};

use crate::machine::{clock, variables};

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
    pub process: Option<Process>,
}

/// A process of a machine, told from all that had or will have its number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    boot: String,
    /// In this PID namespace, by its inode: a container's process 7 is not the machine's.
    namespace: String,
    pid: u32,
    /// When it began, in clock ticks since the machine did.
    began: String,
}

/// The name of a [`Sign`] in its run's work folder.
pub const OWNER: &str = "owner";

/// What a run in one process says of itself while it runs.
#[derive(Debug, Serialize, Deserialize)]
pub struct Sign {
    /// The run.
    pub owner: Owner,
    /// The URL of its intermediate data.
    pub folder: String,
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

impl Process {
    /// The process of a number in this PID namespace, if there is one.
    pub(super) fn of(pid: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may hold anything. Behind it: the state, then eighteen numbers before this one.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        if fields.next()? == "Z" {
            return None;
        }
        let began = fields.nth(18)?.to_owned();
        let namespace = std::fs::read_link("/proc/self/ns/pid").ok()?.to_string_lossy().into_owned();
        Some(Self { boot: read("/proc/sys/kernel/random/boot_id"), namespace, pid, began })
    }

    /// Whether it has certainly ended.
    fn is_dead(&self) -> bool {
        let Some(us) = Self::of(std::process::id()) else { return false };
        if us.boot.is_empty() || us.boot != self.boot || us.namespace != self.namespace {
            // Another machine's, or of the time before this one was started again: who knows.
            return false;
        }
        Self::of(self.pid).as_ref() != Some(self)
    }
}

impl Owner {
    /// This process, for a run. `alone`: no other process works for it.
    pub fn new(id: &JobId, name: &str, alone: bool) -> Self {
        let process = if alone { Process::of(std::process::id()) } else { None };
        let host = variables::text("HOSTNAME").filter(|host| !host.is_empty());
        Self {
            id: id.clone(),
            name: name.to_owned(),
            host: host.unwrap_or_else(|| read("/proc/sys/kernel/hostname")),
            since: clock::epoch_seconds(),
            process,
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
        self.process.as_ref().is_some_and(Process::is_dead)
    }
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { id, name, host, since, process } = self;
        let ago = clock::epoch_seconds().saturating_sub(*since);
        match process {
            Some(Process { pid, .. }) => {
                write!(f, "run {id} of job {name}, process {pid} on {host}, begun {ago} s ago")
            }
            None => write!(f, "run {id} of job {name}, pod {host}, begun {ago} s ago"),
        }
    }
}
