//! `group name n` adds to a counter.

use mapreduce_guests::mapreduce::function::host;
use mapreduce_guests::{Outcome, Pairs, Program, number, text};

struct Counts;

mapreduce_guests::export!(Counts);

impl Program for Counts {
    fn map(_: &[u8], line: &[u8], _: &mut Pairs) -> Outcome {
        let [group, name, n] = text(line)?.split(' ').collect::<Vec<_>>()[..] else {
            return Err("a line that is not of three fields".into());
        };
        host::counter(group, name, number(n.as_bytes())?);
        Ok(())
    }
}
