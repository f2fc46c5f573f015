//! Processes, and whether they are alive.
#![allow(clippy::disallowed_methods, reason = "this is what is called instead")]

use serde::{Deserialize, Serialize};

use super::{simulated, variables};

/// A process of a machine, told from all that had or will have its number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessIdentity {
    boot: String,
    /// In this PID namespace, by its inode: a container's process 7 is not the machine's.
    namespace: String,
    /// The number.
    pub pid: u32,
    /// When it began, in clock ticks since the machine did.
    began: String,
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// The name of the machine, or of the pod.
pub fn host() -> String {
    let host = variables::text("HOSTNAME").filter(|host| !host.is_empty());
    host.unwrap_or_else(|| match simulated() {
        None => read("/proc/sys/kernel/hostname"),
        Some(_) => "simulated".to_owned(),
    })
}

impl ProcessIdentity {
    /// This one.
    pub fn this() -> Option<Self> {
        match simulated() {
            None => Self::of(std::process::id()),
            Some(machine) => Some(Self::simulated(machine.process())),
        }
    }

    /// The process of a number in this PID namespace, if there is one.
    pub(crate) fn of(pid: u32) -> Option<Self> {
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

    /// As a part of a file's name: what tells it from other processes of this machine.
    pub(crate) fn to_name(&self) -> String {
        let digits = |text: &str| text.chars().filter(char::is_ascii_alphanumeric).collect::<String>();
        let Self { boot, namespace, pid, began } = self;
        [&digits(boot), &digits(namespace), &pid.to_string(), began].map(String::as_str).join("-")
    }

    /// Whether the process that is called so has certainly ended.
    pub(crate) fn is_dead_by_name(name: &str) -> bool {
        let (Some(us), Some(pid)) = (Self::this(), name.split('-').nth(2).and_then(|pid| pid.parse().ok()))
        else {
            return false;
        };
        let of_this_machine = |process: &Self| {
            let name = process.to_name();
            name.splitn(3, '-').take(2).collect::<Vec<_>>().join("-")
        };
        name.starts_with(&format!("{}-", of_this_machine(&us)))
            && Self::of(pid).is_none_or(|process| process.to_name() != name)
    }

    fn simulated(pid: u32) -> Self {
        Self { boot: "simulated".into(), namespace: String::new(), pid, began: String::new() }
    }

    /// Whether it has certainly ended.
    pub fn is_dead(&self) -> bool {
        if let Some(machine) = simulated() {
            return *self == Self::simulated(self.pid) && !machine.is_alive(self.pid);
        }
        let Some(us) = Self::of(std::process::id()) else { return false };
        if us.boot.is_empty() || us.boot != self.boot || us.namespace != self.namespace {
            // Another machine's, or of the time before this one was started again: who knows.
            return false;
        }
        Self::of(self.pid).as_ref() != Some(self)
    }
}
