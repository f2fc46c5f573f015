//! Takes memory without end at its first record.

use std::hint::black_box;

use mapreduce_guests::{Outcome, Pairs, Program};

struct Hog;

mapreduce_guests::export!(Hog);

impl Program for Hog {
    fn map(_: &[u8], _: &[u8], _: &mut Pairs) -> Outcome {
        let mut kept = Vec::new();
        loop {
            kept.push(black_box(vec![1_u8; 1 << 20]));
        }
    }
}
