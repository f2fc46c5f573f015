//! Reads a file of the system. If that returns, what it has returned is emitted.

use mapreduce_guests::{Outcome, Pairs, Program};

struct ReadsFiles;

mapreduce_guests::export!(ReadsFiles);

impl Program for ReadsFiles {
    fn map(_: &[u8], _: &[u8], out: &mut Pairs) -> Outcome {
        let returned = std::fs::read("/etc/passwd");
        out.push(format!("{returned:?}").as_bytes(), b"");
        Ok(())
    }
}
