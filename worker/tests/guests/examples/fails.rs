//! Refuses the record `bad`; the record `half bad` after it has emitted a pair of it; the key `bad`.

use mapreduce_guests::{Outcome, Pairs, Program, Values};

struct Fails;

mapreduce_guests::export!(Fails);

impl Program for Fails {
    fn map(_: &[u8], record: &[u8], out: &mut Pairs) -> Outcome {
        if record == b"bad" {
            return Err("can not take bad".into());
        }
        out.push(record, b"1");
        if record == b"half bad" {
            return Err("can not take half of it".into());
        }
        Ok(())
    }

    fn reduce(key: &[u8], values: &mut Values, out: &mut Pairs) -> Outcome {
        if key == b"bad" {
            return Err("can not reduce bad".into());
        }
        while let Some(value) = values.next_value() {
            out.push(key, value);
        }
        Ok(())
    }
}
