//! Whatever the splits and the sizes of reads, every record is read once.

use std::io::Read;
use std::sync::Arc;

use mapreduce_api::v1alpha1::Input;
use proptest::prelude::*;

use super::{Delimiter, LineReader};
use crate::input::source::{ObjectReader, SplitEnd};
use crate::record::chunk::Chunk;
use crate::record::format::Format;
use crate::record::key::Key;
use crate::record::split::RecordLimit;

/// A reader that gives at most `step` bytes at a time.
struct Slow {
    bytes: Vec<u8>,
    at: usize,
    step: usize,
}

impl Read for Slow {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let n = buf.len().min(self.step).min(self.bytes.len() - self.at);
        buf[..n].copy_from_slice(&self.bytes[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}

fn at_most(bytes: u64) -> RecordLimit {
    RecordLimit { bytes, ..format("\n").max_record }
}

fn format(delimiter: &str) -> Format {
    let input: Input = serde_json::from_value(serde_json::json!({
        "urls": ["file:x"], "format": {"type": "Lines", "lines": {"delimiter": delimiter}}
    }))
    .unwrap();
    Format::new(&input)
}

/// The records of `start..end` of a text, as offset and line.
fn records(
    text: &[u8],
    start: usize,
    end: Option<usize>,
    delimiter: &str,
    step: usize,
) -> Vec<(u64, Vec<u8>)> {
    let format = format(delimiter);
    let offset = start.saturating_sub(delimiter.len());
    let content = Box::new(Slow { bytes: text[offset..].to_vec(), at: 0, step });
    let end = SplitEnd::new(end.map(|end| end as u64));
    let source = ObjectReader { content, offset: offset as u64, start: start as u64, end };
    let url = Arc::from("file:///x");
    let mut reader =
        LineReader::new(source, format.delimiter.clone(), format.max_record, Arc::clone(&url), Vec::new())
            .unwrap();
    let mut found = Vec::new();
    while let Some(lines) = reader.next_chunk().unwrap() {
        let chunk = Chunk::new(lines, &format, &url);
        let count = chunk
            .each(|record| {
                assert_eq!(record.key, Key::Number(record.offset));
                found.push((record.offset, record.value.to_vec()));
                Ok(())
            })
            .unwrap();
        assert!(count > 0);
    }
    found
}

/// What a person would say the records are.
fn expected(text: &[u8], delimiter: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let (mut found, mut from, mut at) = (Vec::new(), 0, 0);
    while at < text.len() {
        if text[at..].starts_with(delimiter) {
            found.push((from as u64, text[from..at].to_vec()));
            at += delimiter.len();
            from = at;
        } else {
            at += 1;
        }
    }
    if from < text.len() {
        found.push((from as u64, text[from..].to_vec()));
    }
    if delimiter == b"\n" {
        for (offset, line) in &mut found {
            let ended = *offset as usize + line.len() < text.len();
            if ended && line.last() == Some(&b'\r') {
                line.pop();
            }
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn every_record_is_in_one_split_wherever_the_cuts_fall(
        text in proptest::collection::vec(prop_oneof![3 => Just(b'a'), 1 => Just(b'\n'), 1 => Just(b'\r'), 1 => Just(b'b')], 0..60),
        delimiter in prop_oneof![Just("\n"), Just("ab"), Just("\r\n"), Just("aab")],
        mut cuts in proptest::collection::vec(0usize..60, 0..5),
        step in 1usize..9,
    ) {
        cuts.iter_mut().for_each(|cut| *cut = (*cut).min(text.len()));
        cuts.push(0);
        cuts.push(text.len());
        cuts.sort_unstable();
        let mut found = Vec::new();
        for range in cuts.windows(2).filter(|range| range[0] < range[1]) {
            found.extend(records(&text, range[0], Some(range[1]), delimiter, step));
        }
        prop_assert_eq!(found, expected(&text, delimiter.as_bytes()));
    }

    #[test]
    fn a_whole_object_is_read_whatever_its_delimiter(
        text in proptest::collection::vec(prop_oneof![Just(b'a'), Just(b'\n'), Just(b'b')], 0..60),
        delimiter in prop_oneof![Just("\n"), Just("aa"), Just("aba")],
        step in 1usize..9,
    ) {
        prop_assert_eq!(records(&text, 0, None, delimiter, step), expected(&text, delimiter.as_bytes()));
    }
}

#[test]
fn records_longer_than_a_chunk_are_whole() {
    let mut text = vec![b'x'; 700_000];
    text[650_000] = b'\n';
    text[10] = b'\n';
    let found = records(&text, 0, None, "\n", 100_000);
    assert_eq!(found.iter().map(|(_, line)| line.len()).collect::<Vec<_>>(), [10, 649_989, 49_999]);
    let second = records(&text, 300_000, Some(700_000), "\n", 100_000);
    assert_eq!(second.len(), 1, "the long record belongs to the split before");
}

#[test]
fn short_records_before_a_long_one_are_not_part_of_it() {
    let mut text = vec![b'x'; 700_000];
    text[2] = b'\n';
    text[699_000] = b'\n';
    for (start, end, step) in [(0, None, 4), (0, Some(700_000), 1000), (0, Some(300_000), 70_000)] {
        let source = ObjectReader {
            content: Box::new(Slow { bytes: text.clone(), at: 0, step }),
            offset: 0,
            start,
            end: SplitEnd::new(end),
        };
        let newline = Delimiter::new(b"\n");
        let mut reader =
            LineReader::new(source, newline, at_most(100_000), Arc::from("file:///x"), Vec::new()).unwrap();
        let first = reader.next_chunk().unwrap().unwrap();
        assert_eq!((first.bytes, first.offset), (&b"xx\n"[..], 0), "{end:?} {step}");
        let error = reader.next_chunk().unwrap_err();
        assert_eq!(error.report().record.unwrap().offset, 3, "{error}");
        reader.skip_long().unwrap();
        let rest = reader.next_chunk().unwrap().map(|lines| lines.offset);
        assert_eq!(rest, if end == Some(300_000) { None } else { Some(699_001) });
    }
}

#[test]
fn lines_that_come_slowly_are_not_taken_for_one() {
    let text: Vec<u8> = (0..9).flat_map(|i| [vec![b'a' + i; 100_000], vec![b'\n']].concat()).collect();
    for step in [4, 30_000, 32_768, 100_000] {
        let source = ObjectReader {
            content: Box::new(Slow { bytes: text.clone(), at: 0, step }),
            offset: 0,
            start: 0,
            end: SplitEnd::new(None),
        };
        let newline = Delimiter::new(b"\n");
        let mut reader =
            LineReader::new(source, newline, at_most(200 << 10), Arc::from("file:///x"), Vec::new()).unwrap();
        let mut bytes = 0;
        while let Some(lines) = reader.next_chunk().unwrap() {
            bytes += lines.bytes.len();
        }
        assert_eq!(bytes, text.len(), "{step}");
    }
}

#[test]
fn a_delimiter_that_overlaps_itself_is_found_out() {
    for (delimiter, overlaps) in [("aa", true), ("aba", true), ("ab", false), ("\r\n", false), ("a", false)] {
        assert_eq!(Delimiter::new(delimiter.as_bytes()).overlaps_itself(), overlaps, "{delimiter}");
    }
}
