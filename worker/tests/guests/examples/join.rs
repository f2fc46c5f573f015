//! `L id text` and `R id text` → the id, with side and text; then each left text with each right text.

use mapreduce_guests::{Outcome, Pairs, Program, Values, text};

struct Join;

mapreduce_guests::export!(Join);

impl Program for Join {
    fn map(_: &[u8], line: &[u8], out: &mut Pairs) -> Outcome {
        let [side, id, text] = text(line)?.split(' ').collect::<Vec<_>>()[..] else {
            return Err("a line that is not of three fields".into());
        };
        out.push(id.as_bytes(), format!("{side}\t{text}").as_bytes());
        Ok(())
    }

    fn reduce(id: &[u8], values: &mut Values, out: &mut Pairs) -> Outcome {
        let (mut left, mut right) = (Vec::new(), Vec::new());
        while let Some(value) = values.next_value() {
            match text(value)?.split_once('\t') {
                Some(("L", text)) => left.push(text.to_owned()),
                Some(("R", text)) => right.push(text.to_owned()),
                _ => return Err("a value without a side".into()),
            }
        }
        for left in &left {
            for right in &right {
                out.push(id, format!("{left}\t{right}").as_bytes());
            }
        }
        Ok(())
    }
}
