//! What the user can do about a program that has failed: only what that kind of program has.

use crate::function::role::Role;

/// What the user has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::function) enum ProgramKind {
    /// A command, often a shell's line.
    Command,
    /// A script in Python, which the image's interpreter runs.
    Python,
}

/// What can be done about a program's failures.
#[derive(Clone, Copy, Debug)]
pub(in crate::function) struct Remedies {
    pub(in crate::function) kind: ProgramKind,
    pub(in crate::function) role: Role,
}

impl Remedies {
    /// The field of the manifest, below `spec` or a step, with the settings of its pods.
    fn phase(self) -> &'static str {
        match self.role {
            Role::Map | Role::Combine => "map",
            Role::Reduce => "reduce",
        }
    }

    /// What an exit code most often means.
    pub(super) fn of_exit_code(self, code: i32) -> Option<String> {
        let is_command = self.kind == ProgramKind::Command;
        match code {
            65 if is_command => Some("65 is EX_DATAERR: no other attempt is made".to_owned()),
            78 if is_command => Some("78 is EX_CONFIG: no other attempt is made".to_owned()),
            126 if is_command => {
                Some("126 is what a shell says of a program that can't be executed".to_owned())
            }
            127 if is_command => {
                Some("127 is what a shell says of a program that isn't there: is it in the image?".to_owned())
            }
            137 => Some(format!(
                "SIGKILL most often comes where there is no more memory: raise {}.resources.limits.memory on a cluster, \
                 or use less of it",
                self.phase()
            )),
            141 if is_command => Some("SIGPIPE: it wrote to a program that had ended".to_owned()),
            _ => None,
        }
    }

    pub(super) fn of_a_timeout(self) -> &'static str {
        match self.kind {
            ProgramKind::Command => {
                "if it needs longer: raise spec.taskTimeoutSeconds, or report with `reporter:status:…`"
            }
            ProgramKind::Python => {
                "if it needs longer: raise spec.taskTimeoutSeconds, or report with `print(\"reporter:status:…\")`"
            }
        }
    }

    pub(super) fn of_a_missing_program(self) -> String {
        match self.kind {
            ProgramKind::Command => "is the program in the image, and its interpreter too?".to_owned(),
            ProgramKind::Python => {
                format!("python3 runs it: the image needs one ({}.image), or this machine", self.phase())
            }
        }
    }
}
