//! Word count: the map and the reduce function of a job, in one component.
//!
//! ```sh
//! cargo build --release --target wasm32-wasip2     # makes target/wasm32-wasip2/release/word_count.wasm
//! ```

mod pairs;

use pairs::{Pairs, Values, log_panics, records};

// Writes the trait `Guest` from the interface, and the functions of the host.
wit_bindgen::generate!({ world: "mapper-and-reducer", path: "../../../worker/wit" });

struct WordCount;

export!(WordCount);

impl Guest for WordCount {
    /// A line → each of its words, with 1.
    fn map(bytes: Vec<u8>, ends: Vec<u32>) -> Result<(), String> {
        log_panics();
        let mut out = Pairs::default();
        for (_offset, line) in records(&bytes, &ends) {
            for word in words(line) {
                out.push(word, b"1");
            }
        }
        Ok(())
    }

    /// A word and its numbers → the word and their sum. It does for `combine` too: a sum may be summed again.
    fn reduce(word: Vec<u8>, bytes: Vec<u8>, ends: Vec<u32>, more: bool) -> Result<(), String> {
        log_panics();
        let mut numbers = Values::new(bytes, ends, more);
        let mut sum = 0;
        while let Some(number) = numbers.next_value() {
            sum +=
                parse(number).ok_or_else(|| format!("{:?} is not a number", String::from_utf8_lossy(number)))?;
        }
        Pairs::default().push(&word, sum.to_string().as_bytes());
        Ok(())
    }

    fn teardown() -> Result<(), String> {
        Ok(())
    }
}

/// The runs of bytes other than space, `\t`, `\n`, `\v`, `\f` and `\r`.
fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| matches!(byte, b' ' | b'\t'..=b'\r')).filter(|word| !word.is_empty())
}

fn parse(number: &[u8]) -> Option<u64> {
    str::from_utf8(number).ok()?.parse().ok()
}
