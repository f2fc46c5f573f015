//! A record → a million pairs, the numbers below it, through many calls of `emit`.

use mapreduce_guests::{Outcome, Pairs, Program};

struct EmitsMuch;

mapreduce_guests::export!(EmitsMuch);

impl Program for EmitsMuch {
    fn map(_: &[u8], record: &[u8], out: &mut Pairs) -> Outcome {
        for n in 0..1_000_000 {
            out.push(n.to_string().as_bytes(), record);
        }
        Ok(())
    }
}
