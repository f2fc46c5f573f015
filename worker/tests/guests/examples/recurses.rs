//! Calls itself without end at its first record.

use std::hint::black_box;

use mapreduce_guests::{Outcome, Pairs, Program};

struct Recurses;

mapreduce_guests::export!(Recurses);

impl Program for Recurses {
    fn map(_: &[u8], _: &[u8], out: &mut Pairs) -> Outcome {
        out.push(depth(0).to_string().as_bytes(), b"");
        Ok(())
    }
}

/// The sum after the call keeps it from being made a loop.
fn depth(n: u64) -> u64 {
    if black_box(n) == u64::MAX { 0 } else { 1 + depth(n + 1) }
}
