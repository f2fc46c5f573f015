//! `aggregate`: Hadoop's value aggregators, each key naming its own: `LongValueSum:id`.
//!
//! As a combiner each leaves values that it takes again: sums, extremes, distinct values once and
//! counts as `value TAB count`, the last two within a bound of memory, beyond which values go by.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::io::Write as _;

use super::numeric::{Sum, next_number, of_key};
use super::values::{Distinct, EndValue, ValueCounts};
use crate::error::{Error, Result, excerpt};
use crate::record::number::bad_value;
use crate::record::number::{ExactSum, Number, push_f64};
use crate::record::{Emit, Reducer, Values};
use crate::scratch::ScratchPlace;

#[derive(Clone, Copy)]
enum Aggregator {
    LongSum,
    DoubleSum,
    LongMax,
    LongMin,
    StringMax,
    StringMin,
    Unique,
    Histogram,
}

const KINDS: [(&str, Aggregator); 8] = [
    ("LongValueSum", Aggregator::LongSum),
    ("DoubleValueSum", Aggregator::DoubleSum),
    ("LongValueMax", Aggregator::LongMax),
    ("LongValueMin", Aggregator::LongMin),
    ("StringValueMax", Aggregator::StringMax),
    ("StringValueMin", Aggregator::StringMin),
    ("UniqValueCount", Aggregator::Unique),
    ("ValueHistogram", Aggregator::Histogram),
];

/// Splits a key at its first colon.
fn kind_and_id(key: &[u8]) -> Option<(Aggregator, &[u8])> {
    let colon = memchr::memchr(b':', key)?;
    let (_, kind) = KINDS.iter().find(|(name, _)| name.as_bytes().eq_ignore_ascii_case(&key[..colon]))?;
    Some((*kind, &key[colon + 1..]))
}

/// Most bytes of distinct values that a combiner keeps.
const COMBINER_BYTES: usize = 4 << 20;

/// Aggregates as the key says.
pub(super) struct Aggregate {
    combine: bool,
    sum: Sum,
    largest: EndValue,
    smallest: EndValue,
    distinct: Distinct,
    counts: ValueCounts,
    text: Vec<u8>,
}

impl Aggregate {
    pub(super) fn new(combine: bool, place: &ScratchPlace) -> Self {
        Self {
            combine,
            sum: Sum::new(true),
            largest: EndValue::last(place),
            smallest: EndValue::first(place),
            distinct: Distinct::new(place),
            counts: ValueCounts::default(),
            text: Vec::new(),
        }
    }

    fn long_sum(&mut self, key: &[u8], values: &mut dyn Values, out: &mut Renamed<'_>) -> Result<()> {
        let mut sum = ExactSum::default();
        let mut any = false;
        while let Some(n) = next_integer(key, values)? {
            sum.add(Number::Integer(n));
            any = true;
        }
        if !any {
            return Ok(());
        }
        if self.combine {
            return sum.each_text(&mut self.text, |text| out.emit(key, text));
        }
        sum.text(&mut self.text).map_err(of_key("sum", key))?;
        out.emit(key, &self.text)
    }

    fn double_sum(&mut self, key: &[u8], values: &mut dyn Values, out: &mut Renamed<'_>) -> Result<()> {
        if self.combine {
            return self.sum.reduce(key, values, out);
        }
        let mut sum = ExactSum::default();
        let mut any = false;
        while let Some(number) = next_number(key, values)? {
            sum.add(number);
            any = true;
        }
        if !any {
            return Ok(());
        }
        self.text.clear();
        push_f64(&mut self.text, sum.to_f64().map_err(of_key("sum", key))?);
        out.emit(key, &self.text)
    }

    fn long_extreme(
        &mut self,
        better: Ordering,
        key: &[u8],
        values: &mut dyn Values,
        out: &mut Renamed<'_>,
    ) -> Result<()> {
        let mut best: Option<i128> = None;
        while let Some(n) = next_integer(key, values)? {
            if best.is_none_or(|best| n.cmp(&best) == better) {
                best = Some(n);
            }
        }
        let Some(best) = best else { return Ok(()) };
        self.text.clear();
        let _ = write!(self.text, "{best}");
        out.emit(key, &self.text)
    }

    fn unique(&mut self, key: &[u8], values: &mut dyn Values, out: &mut Renamed<'_>) -> Result<()> {
        if !self.combine {
            return self.distinct.reduce(key, values, out);
        }
        let mut seen = Bounded::default();
        while let Some(value) = values.next()? {
            match seen.count(value) {
                Some(count) if *count > 0 => {}
                Some(count) => {
                    *count = 1;
                    out.emit(key, value)?;
                }
                None => out.emit(key, value)?,
            }
        }
        Ok(())
    }

    /// The values come in byte order. Of the counts of one there may be others between that begin with it and a byte
    /// before TAB, or with a TAB: it is kept until they have gone by.
    fn histogram(&mut self, key: &[u8], values: &mut dyn Values, out: &mut Renamed<'_>) -> Result<()> {
        if self.combine {
            return self.combined_histogram(key, values, out);
        }
        let mut kept: Vec<(Vec<u8>, i128)> = Vec::new();
        while let Some(value) = values.next()? {
            let Some((counted, times)) = value_and_count(value) else {
                let error = no_count(key, value);
                values.bad(error)?;
                continue;
            };
            let may_come = |known: &[u8]| {
                value.strip_prefix(known).is_some_and(|rest| rest.first().is_none_or(|&byte| byte <= b'\t'))
            };
            while let Some((_, count)) = kept.pop_if(|(known, _)| !may_come(known)) {
                self.counts.add(count);
            }
            match kept.iter_mut().rev().find(|(known, _)| known == counted) {
                Some((_, count)) => *count += i128::from(times),
                None => kept.push((counted.to_vec(), times.into())),
            }
        }
        kept.into_iter().for_each(|(_, count)| self.counts.add(count));
        self.counts.end(&mut self.text)?;
        out.emit(key, &self.text)
    }

    fn combined_histogram(
        &mut self,
        key: &[u8],
        values: &mut dyn Values,
        out: &mut Renamed<'_>,
    ) -> Result<()> {
        let mut seen = Bounded::default();
        while let Some(value) = values.next()? {
            let Some((counted, times)) = value_and_count(value) else {
                let error = no_count(key, value);
                values.bad(error)?;
                continue;
            };
            if let Some(count) = seen.count(counted)
                && let Some(sum) = count.checked_add(times)
            {
                *count = sum;
            } else {
                out.emit(key, value)?;
            }
        }
        for (value, count) in seen.counts {
            self.text.clear();
            self.text.extend_from_slice(&value);
            let _ = write!(self.text, "\t{count}");
            out.emit(key, &self.text)?;
        }
        Ok(())
    }
}

fn no_count(key: &[u8], value: &[u8]) -> Error {
    bad_value(key, value, "is not `value TAB count` with a whole number as the count")
}

/// Values with their counts, as many as a combiner may keep.
#[derive(Default)]
struct Bounded {
    counts: BTreeMap<Box<[u8]>, i64>,
    bytes: usize,
}

impl Bounded {
    /// The count of a value; none when it is new and there is no room.
    fn count(&mut self, value: &[u8]) -> Option<&mut i64> {
        if !self.counts.contains_key(value) {
            if self.bytes > COMBINER_BYTES {
                return None;
            }
            self.bytes += value.len() + 64;
            self.counts.insert(value.into(), 0);
        }
        self.counts.get_mut(value)
    }
}

/// `value TAB count`, or a value that comes once.
fn value_and_count(value: &[u8]) -> Option<(&[u8], i64)> {
    let Some(tab) = memchr::memrchr(b'\t', value) else { return Some((value, 1)) };
    match Number::parse(&value[tab + 1..])? {
        Number::Integer(n) => Some((&value[..tab], i64::try_from(n).ok()?)),
        Number::Double(_) => None,
    }
}

fn next_integer(key: &[u8], values: &mut dyn Values) -> Result<Option<i128>> {
    loop {
        let Some(value) = values.next()? else { return Ok(None) };
        if let Some(Number::Integer(n)) = Number::parse(value) {
            return Ok(Some(n));
        }
        let error = bad_value(key, value, "is not a whole number");
        values.bad(error)?;
    }
}

/// Emits under the id, but in a combiner under the key.
struct Renamed<'a> {
    key: &'a [u8],
    out: &'a mut dyn Emit,
}

impl Emit for Renamed<'_> {
    fn emit(&mut self, _key: &[u8], value: &[u8]) -> Result<()> {
        self.out.emit(self.key, value)
    }
}

impl Reducer for Aggregate {
    fn reduce(&mut self, key: &[u8], values: &mut dyn Values, out: &mut dyn Emit) -> Result<()> {
        let Some((kind, id)) = kind_and_id(key) else {
            while values.next()?.is_some() {
                values.bad(unnamed(key))?;
            }
            return Ok(());
        };
        let out = &mut Renamed { key: if self.combine { key } else { id }, out };
        match kind {
            Aggregator::LongSum => self.long_sum(key, values, out),
            Aggregator::DoubleSum => self.double_sum(key, values, out),
            Aggregator::LongMax => self.long_extreme(Ordering::Greater, key, values, out),
            Aggregator::LongMin => self.long_extreme(Ordering::Less, key, values, out),
            Aggregator::StringMax => self.largest.reduce(key, values, out),
            Aggregator::StringMin => self.smallest.reduce(key, values, out),
            Aggregator::Unique => self.unique(key, values, out),
            Aggregator::Histogram => self.histogram(key, values, out),
        }
    }
}

fn unnamed(key: &[u8]) -> Error {
    let names = KINDS.map(|(name, _)| name).join(", ");
    Error::permanent(format!("key `{}` of `aggregate` is not `TYPE:id`: there are {names}", excerpt(key)))
}
