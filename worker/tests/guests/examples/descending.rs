//! The values of a key from the largest to the smallest.

use mapreduce_guests::{Outcome, Pairs, Program, Values};

struct Descending;

mapreduce_guests::export!(Descending);

impl Program for Descending {
    fn reduce(key: &[u8], values: &mut Values, out: &mut Pairs) -> Outcome {
        let mut sorted = Vec::new();
        while let Some(value) = values.next_value() {
            sorted.push(value.to_vec());
        }
        sorted.sort_by(|a, b| b.cmp(a));
        for value in &sorted {
            out.push(key, value);
        }
        Ok(())
    }
}
