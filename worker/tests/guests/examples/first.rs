//! The first value of each key: the others are not asked for.

use mapreduce_guests::{Outcome, Pairs, Program, Values};

struct First;

mapreduce_guests::export!(First);

impl Program for First {
    fn reduce(key: &[u8], values: &mut Values, out: &mut Pairs) -> Outcome {
        out.push(key, values.next_value().ok_or("a key without a value")?);
        Ok(())
    }
}
