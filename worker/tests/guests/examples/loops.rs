//! Never returns from its first record or key.

use mapreduce_guests::{Outcome, Pairs, Program, Values};

struct Loops;

mapreduce_guests::export!(Loops);

impl Program for Loops {
    fn map(_: &[u8], _: &[u8], _: &mut Pairs) -> Outcome {
        loop {
            std::hint::spin_loop();
        }
    }

    fn reduce(_: &[u8], _: &mut Values, _: &mut Pairs) -> Outcome {
        loop {
            std::hint::spin_loop();
        }
    }
}
