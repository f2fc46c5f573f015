//! Asks for values where there are none: in `map`, after the last one of a key, and in `teardown`. It emits how many
//! it got.

use mapreduce_guests::mapreduce::function::host;
use mapreduce_guests::{Outcome, Pairs, Program, Values};

struct AsksForValues;

mapreduce_guests::export!(AsksForValues);

impl Program for AsksForValues {
    fn map(_: &[u8], _: &[u8], out: &mut Pairs) -> Outcome {
        ask(b"map", out)
    }

    fn reduce(_: &[u8], values: &mut Values, out: &mut Pairs) -> Outcome {
        while values.next_value().is_some() {}
        ask(b"reduce", out)
    }

    fn teardown(out: &mut Pairs) -> Outcome {
        ask(b"teardown", out)
    }
}

fn ask(at: &[u8], out: &mut Pairs) -> Outcome {
    let (_, ends) = host::next_values();
    out.push(at, ends.len().to_string().as_bytes());
    Ok(())
}
