//! Functions over values as bytes.

use std::collections::{HashMap, HashSet};
use std::io::Write as _;
use std::sync::Arc;

use super::stats::deviation;
use crate::error::Result;
use crate::record::number::push_f64;
use crate::record::number::push_i64;
use crate::record::{Emit, Reducer, Values};

/// Every pair.
pub(super) struct Identity;

impl Reducer for Identity {
    fn reduce(&mut self, key: &[u8], values: &mut dyn Values, out: &mut dyn Emit) -> Result<()> {
        while let Some(value) = values.next()? {
            out.emit(key, value)?;
        }
        Ok(())
    }
}

/// The number of values.
#[derive(Default)]
pub(super) struct Count {
    text: Vec<u8>,
}

impl Reducer for Count {
    fn reduce(&mut self, key: &[u8], values: &mut dyn Values, out: &mut dyn Emit) -> Result<()> {
        let mut count = 0;
        while values.next()?.is_some() {
            count += 1;
        }
        self.text.clear();
        push_i64(&mut self.text, count);
        out.emit(key, &self.text)
    }
}

/// The smallest or the largest value in byte order.
pub(super) struct End {
    largest: bool,
    best: Vec<u8>,
}

impl End {
    pub(super) fn first() -> Self {
        Self { largest: false, best: Vec::new() }
    }

    pub(super) fn last() -> Self {
        Self { largest: true, best: Vec::new() }
    }
}

impl Reducer for End {
    fn reduce(&mut self, key: &[u8], values: &mut dyn Values, out: &mut dyn Emit) -> Result<()> {
        let mut any = false;
        while let Some(value) = values.next()? {
            if !any || if self.largest { *value > *self.best } else { *value < *self.best } {
                self.best.clear();
                self.best.extend_from_slice(value);
                any = true;
            }
        }
        if any { out.emit(key, &self.best) } else { Ok(()) }
    }
}

/// The number of distinct values.
#[derive(Default)]
pub(super) struct Distinct {
    seen: HashSet<Box<[u8]>>,
    text: Vec<u8>,
}

impl Reducer for Distinct {
    fn reduce(&mut self, key: &[u8], values: &mut dyn Values, out: &mut dyn Emit) -> Result<()> {
        self.seen.clear();
        while let Some(value) = values.next()? {
            if !self.seen.contains(value) {
                self.seen.insert(value.into());
            }
        }
        self.text.clear();
        push_i64(&mut self.text, self.seen.len() as i64);
        // To clear a table takes time by its room, and the next group may be small.
        self.seen.shrink_to(1 << 10);
        out.emit(key, &self.text)
    }
}

/// Hadoop's line about how often the distinct values come.
#[derive(Default)]
pub(super) struct Histogram {
    counts: ValueCounts,
    text: Vec<u8>,
}

impl Reducer for Histogram {
    fn reduce(&mut self, key: &[u8], values: &mut dyn Values, out: &mut dyn Emit) -> Result<()> {
        while let Some(value) = values.next()? {
            self.counts.add(value, 1);
        }
        self.counts.end(&mut self.text)?;
        out.emit(key, &self.text)
    }
}

/// How often distinct values come.
#[derive(Default)]
pub(super) struct ValueCounts {
    counts: HashMap<Box<[u8]>, i128>,
}

impl ValueCounts {
    pub(super) fn add(&mut self, value: &[u8], times: i128) {
        if let Some(count) = self.counts.get_mut(value) {
            *count += times;
        } else {
            self.counts.insert(value.into(), times);
        }
    }

    /// Writes `unique TAB min TAB median TAB max TAB mean TAB stddev` of the counts and forgets them.
    /// Of an even number of counts the median is the greater of the middle two, as Hadoop's.
    pub(super) fn end(&mut self, text: &mut Vec<u8>) -> Result<()> {
        let mut counts: Vec<i128> = self.counts.drain().map(|(_, count)| count).collect();
        self.counts.shrink_to(1 << 10);
        counts.sort_unstable();
        text.clear();
        let _ = write!(text, "{}", counts.len());
        let ([least, ..], [.., greatest]) = (&counts[..], &counts[..]) else { return Ok(()) };
        let _ = write!(text, "\t{least}\t{}\t{greatest}\t", counts[counts.len() / 2]);
        let mean = counts.iter().sum::<i128>() as f64 / counts.len() as f64;
        push_f64(text, mean);
        text.push(b'\t');
        let counts: Vec<f64> = counts.iter().map(|&count| count as f64).collect();
        push_f64(text, deviation(&counts, mean)?);
        Ok(())
    }
}

/// Values one behind the other, to be put in byte order.
#[derive(Default)]
pub(super) struct Texts {
    bytes: Vec<u8>,
    spans: Vec<(usize, usize)>,
}

impl Texts {
    pub(super) fn push(&mut self, text: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(text);
        self.spans.push((start, self.bytes.len()));
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.spans.clear();
        // What a large group needed, the next one may not.
        self.bytes.shrink_to(1 << 20);
        self.spans.shrink_to(1 << 16);
    }

    pub(super) fn sort(&mut self) {
        self.sort_by(Ord::cmp);
    }

    pub(super) fn sort_by(&mut self, compare: impl Fn(&[u8], &[u8]) -> std::cmp::Ordering) {
        let bytes = &self.bytes;
        self.spans.sort_unstable_by(|a, b| compare(&bytes[a.0..a.1], &bytes[b.0..b.1]));
    }

    pub(super) fn len(&self) -> usize {
        self.spans.len()
    }

    pub(super) fn get(&self, i: usize) -> &[u8] {
        let (start, end) = self.spans[i];
        &self.bytes[start..end]
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.spans.iter().map(|&(start, end)| &self.bytes[start..end])
    }
}

/// The values in byte order, joined.
pub(super) struct Collect {
    separator: Arc<[u8]>,
    unique: bool,
    texts: Texts,
    joined: Vec<u8>,
}

impl Collect {
    pub(super) fn new(separator: Arc<[u8]>, unique: bool) -> Self {
        Self { separator, unique, texts: Texts::default(), joined: Vec::new() }
    }
}

impl Reducer for Collect {
    fn reduce(&mut self, key: &[u8], values: &mut dyn Values, out: &mut dyn Emit) -> Result<()> {
        self.texts.clear();
        while let Some(value) = values.next()? {
            self.texts.push(value);
        }
        self.texts.sort();
        self.joined.clear();
        self.joined.shrink_to(1 << 20);
        let mut before: Option<&[u8]> = None;
        for text in self.texts.iter() {
            if self.unique && before == Some(text) {
                continue;
            }
            if before.is_some() {
                self.joined.extend_from_slice(&self.separator);
            }
            self.joined.extend_from_slice(text);
            before = Some(text);
        }
        out.emit(key, &self.joined)
    }
}
