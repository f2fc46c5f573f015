//! Asks what time it is. If that returns, what it has returned is emitted.

use std::time::SystemTime;

use mapreduce_guests::{Outcome, Pairs, Program};

struct ReadsClock;

mapreduce_guests::export!(ReadsClock);

impl Program for ReadsClock {
    fn map(_: &[u8], _: &[u8], out: &mut Pairs) -> Outcome {
        let returned = SystemTime::now();
        out.push(format!("{returned:?}").as_bytes(), b"");
        Ok(())
    }
}
