//! Makes a hash map, which asks for random numbers. If that returns, what it has returned is emitted.

use std::collections::HashMap;

use mapreduce_guests::{Outcome, Pairs, Program};

struct Hashes;

mapreduce_guests::export!(Hashes);

impl Program for Hashes {
    fn map(_: &[u8], _: &[u8], out: &mut Pairs) -> Outcome {
        let returned = HashMap::from([("key", "value")]);
        out.push(format!("{returned:?}").as_bytes(), b"");
        Ok(())
    }
}
