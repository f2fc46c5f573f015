//! A word → 1, and the sum of a word's numbers. Words of more than three bytes are counted as `words`, `long`.

use mapreduce_guests::mapreduce::function::host;
use mapreduce_guests::{Outcome, Pairs, Program, Values, number, text};

struct WordCount;

mapreduce_guests::export!(WordCount);

impl Program for WordCount {
    fn map(_: &[u8], line: &[u8], out: &mut Pairs) -> Outcome {
        let mut long = 0;
        for word in text(line)?.split_ascii_whitespace() {
            out.push(word.as_bytes(), b"1");
            long += i64::from(word.len() > 3);
        }
        host::counter("words", "long", long);
        Ok(())
    }

    fn reduce(word: &[u8], numbers: &mut Values, out: &mut Pairs) -> Outcome {
        let mut sum = 0;
        while let Some(value) = numbers.next_value() {
            sum += number(value)?;
        }
        out.push(word, sum.to_string().as_bytes());
        Ok(())
    }
}
