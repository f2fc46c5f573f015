//! Takes every record and fails when the task ends.

use mapreduce_guests::{Outcome, Pairs, Program};

struct FailsAtEnd;

mapreduce_guests::export!(FailsAtEnd);

impl Program for FailsAtEnd {
    fn teardown(_: &mut Pairs) -> Outcome {
        Err("can not end".into())
    }
}
