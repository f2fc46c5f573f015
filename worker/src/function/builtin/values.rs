//! Functions over values as bytes.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Arc;

use super::stats::Deviation;
use crate::error::Result;
use crate::record::number::push_f64;
use crate::record::number::push_i64;
use crate::record::{Emit, Reducer, Values};
use crate::scratch::{ScratchBytes, ScratchPlace};

/// Every pair.
pub(super) struct IdentityReducer;

impl Reducer for IdentityReducer {
    fn reduce(&mut self, key: &[u8], values: &mut dyn Values, out: &mut dyn Emit) -> Result<()> {
        while let Some(value) = values.next()? {
            out.emit(key, value)?;
        }
        Ok(())
    }
}

/// The number of values.
#[derive(Default)]
pub(super) struct CountReducer {
    text: Vec<u8>,
}

impl Reducer for CountReducer {
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

/// Emits a value that may be in a file.
pub(super) fn emit_kept(key: &[u8], value: &ScratchBytes, out: &mut dyn Emit) -> Result<()> {
    match value.in_memory() {
        Some(value) => out.emit(key, value),
        None => out.emit_large(key, value),
    }
}

/// The smallest or the largest value in byte order.
pub(super) struct EndValue {
    /// How the best is to a better one.
    better: Ordering,
    best: ScratchBytes,
}

impl EndValue {
    pub(super) fn first(place: &ScratchPlace) -> Self {
        Self { better: Ordering::Greater, best: ScratchBytes::new(place) }
    }

    pub(super) fn last(place: &ScratchPlace) -> Self {
        Self { better: Ordering::Less, best: ScratchBytes::new(place) }
    }
}

impl Reducer for EndValue {
    fn reduce(&mut self, key: &[u8], values: &mut dyn Values, out: &mut dyn Emit) -> Result<()> {
        let mut any = false;
        while let Some(value) = values.next()? {
            if !any || self.best.compare(value)? == self.better {
                self.best.set(value)?;
                any = true;
            }
        }
        if any { emit_kept(key, &self.best, out) } else { Ok(()) }
    }
}

/// The number of distinct values, which come in byte order.
pub(super) struct Distinct {
    before: ScratchBytes,
    text: Vec<u8>,
}

impl Distinct {
    pub(super) fn new(place: &ScratchPlace) -> Self {
        Self { before: ScratchBytes::new(place), text: Vec::new() }
    }
}

impl Reducer for Distinct {
    fn reduce(&mut self, key: &[u8], values: &mut dyn Values, out: &mut dyn Emit) -> Result<()> {
        let mut count = 0;
        while let Some(value) = values.next()? {
            if count == 0 || self.before.compare(value)? != Ordering::Equal {
                self.before.set(value)?;
                count += 1;
            }
        }
        self.text.clear();
        push_i64(&mut self.text, count);
        out.emit(key, &self.text)
    }
}

/// Hadoop's line about how often the distinct values come, which come in byte order.
pub(super) struct Histogram {
    before: ScratchBytes,
    counts: ValueCounts,
    text: Vec<u8>,
}

impl Histogram {
    pub(super) fn new(place: &ScratchPlace) -> Self {
        Self { before: ScratchBytes::new(place), counts: ValueCounts::default(), text: Vec::new() }
    }
}

impl Reducer for Histogram {
    fn reduce(&mut self, key: &[u8], values: &mut dyn Values, out: &mut dyn Emit) -> Result<()> {
        let mut count = 0;
        while let Some(value) = values.next()? {
            if count > 0 && self.before.compare(value)? == Ordering::Equal {
                count += 1;
                continue;
            }
            if count > 0 {
                self.counts.add(count);
            }
            self.before.set(value)?;
            count = 1;
        }
        if count > 0 {
            self.counts.add(count);
        }
        self.counts.end(&mut self.text)?;
        out.emit(key, &self.text)
    }
}

/// How often distinct values come: how many of them come how often. That n of these numbers are different takes
/// n²/2 values.
#[derive(Default)]
pub(super) struct ValueCounts {
    counts: BTreeMap<i128, u64>,
}

impl ValueCounts {
    /// Takes another value that comes so often.
    pub(super) fn add(&mut self, times: i128) {
        *self.counts.entry(times).or_default() += 1;
    }

    /// Writes `unique TAB min TAB median TAB max TAB mean TAB stddev` of the counts and forgets them.
    /// Of an even number of counts the median is the greater of the middle two, as Hadoop's.
    pub(super) fn end(&mut self, text: &mut Vec<u8>) -> Result<()> {
        let counts = std::mem::take(&mut self.counts);
        let unique: u64 = counts.values().sum();
        text.clear();
        let _ = write!(text, "{unique}");
        let (Some((least, _)), Some((greatest, _))) = (counts.first_key_value(), counts.last_key_value())
        else {
            return Ok(());
        };
        let mut below = 0;
        let median = counts.iter().find(|&(_, values)| {
            below += values;
            below > unique / 2
        });
        let _ = write!(text, "\t{least}\t{}\t{greatest}\t", median.map_or(greatest, |(count, _)| count));
        let sum: i128 = counts.iter().map(|(count, &values)| count * i128::from(values)).sum();
        let mean = sum as f64 / unique as f64;
        push_f64(text, mean);
        text.push(b'\t');
        let mut deviation = Deviation::new(mean);
        for (&count, &values) in &counts {
            (0..values).try_for_each(|_| deviation.add(count as f64))?;
        }
        push_f64(text, deviation.end()?);
        Ok(())
    }
}

/// The values, which come in byte order, joined.
pub(super) struct Collect {
    separator: Arc<[u8]>,
    unique: bool,
    before: ScratchBytes,
    joined: ScratchBytes,
}

impl Collect {
    pub(super) fn new(separator: Arc<[u8]>, unique: bool, place: &ScratchPlace) -> Self {
        Self { separator, unique, before: ScratchBytes::new(place), joined: ScratchBytes::new(place) }
    }
}

impl Reducer for Collect {
    fn reduce(&mut self, key: &[u8], values: &mut dyn Values, out: &mut dyn Emit) -> Result<()> {
        self.joined.clear();
        let mut any = false;
        while let Some(value) = values.next()? {
            if self.unique {
                if any && self.before.compare(value)? == Ordering::Equal {
                    continue;
                }
                self.before.set(value)?;
            }
            if any {
                self.joined.append(&self.separator)?;
            }
            self.joined.append(value)?;
            any = true;
        }
        emit_kept(key, &self.joined, out)
    }
}
