//! Panics at the record `bad` and at the key `bad`.

use mapreduce_guests::{Outcome, Pairs, Program, Values};

struct Traps;

mapreduce_guests::export!(Traps);

impl Program for Traps {
    fn map(_: &[u8], record: &[u8], out: &mut Pairs) -> Outcome {
        assert!(record != b"bad", "can not take bad");
        out.push(record, b"1");
        Ok(())
    }

    fn reduce(key: &[u8], values: &mut Values, out: &mut Pairs) -> Outcome {
        assert!(key != b"bad", "can not reduce bad");
        while let Some(value) = values.next_value() {
            out.push(key, value);
        }
        Ok(())
    }
}
