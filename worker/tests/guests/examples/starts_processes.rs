//! Starts a process. If that returns, what it has returned is emitted.

use std::process::Command;

use mapreduce_guests::{Outcome, Pairs, Program};

struct StartsProcesses;

mapreduce_guests::export!(StartsProcesses);

impl Program for StartsProcesses {
    fn map(_: &[u8], _: &[u8], out: &mut Pairs) -> Outcome {
        let returned = Command::new("/bin/true").status();
        out.push(format!("{returned:?}").as_bytes(), b"");
        Ok(())
    }
}
