//! Reads a variable of the environment. If that returns, what it has returned is emitted.

use mapreduce_guests::{Outcome, Pairs, Program};

struct ReadsEnvironment;

mapreduce_guests::export!(ReadsEnvironment);

impl Program for ReadsEnvironment {
    fn map(_: &[u8], _: &[u8], out: &mut Pairs) -> Outcome {
        let returned = std::env::var("HOME");
        out.push(format!("{returned:?}").as_bytes(), b"");
        Ok(())
    }
}
