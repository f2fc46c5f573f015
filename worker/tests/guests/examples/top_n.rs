//! `name number` → `all`, with number and name; then the two values with the largest numbers, a pair each.

use std::cmp::Reverse;

use mapreduce_guests::{Outcome, Pairs, Program, Values, number, text};

struct TopN;

mapreduce_guests::export!(TopN);

impl Program for TopN {
    fn map(_: &[u8], line: &[u8], out: &mut Pairs) -> Outcome {
        let (name, score) = text(line)?.split_once(' ').ok_or("a line without a number")?;
        out.push(b"all", format!("{score} {name}").as_bytes());
        Ok(())
    }

    fn reduce(key: &[u8], values: &mut Values, out: &mut Pairs) -> Outcome {
        let mut top = Vec::new();
        while let Some(value) = values.next_value() {
            let score = value.split(|&byte| byte == b' ').next().unwrap_or_default();
            top.push((number(score)?, value.to_vec()));
            top.sort_by_key(|(score, _)| Reverse(*score));
            top.truncate(2);
        }
        for (_, value) in &top {
            out.push(key, value);
        }
        Ok(())
    }
}
