//! `name: text` → each word of the text, with the name; then the names of a word in byte order, each once.

use std::collections::BTreeSet;

use mapreduce_guests::{Outcome, Pairs, Program, Values, text};

struct InvertedIndex;

mapreduce_guests::export!(InvertedIndex);

impl Program for InvertedIndex {
    fn map(_: &[u8], line: &[u8], out: &mut Pairs) -> Outcome {
        let (name, words) = text(line)?.split_once(": ").ok_or("a line without a name")?;
        for word in words.split(' ') {
            out.push(word.as_bytes(), name.as_bytes());
        }
        Ok(())
    }

    fn reduce(word: &[u8], values: &mut Values, out: &mut Pairs) -> Outcome {
        let mut names = BTreeSet::new();
        while let Some(name) = values.next_value() {
            names.insert(name.to_vec());
        }
        let names: Vec<_> = names.into_iter().collect();
        out.push(word, &names.join(&b','));
        Ok(())
    }
}
