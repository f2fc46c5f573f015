//! `stats`: all at once.

use std::io::Write as _;

use super::numeric::{next_number, of_key};
use crate::error::{Error, Result};
use crate::record::number::{ExactSum, Number, push_f64};
use crate::record::{Emit, Reducer, Values};
use crate::scratch::{READ, ScratchBytes, ScratchPlace};

/// Count, sum, least, greatest, mean, the population's standard deviation and median, as JSON.
///
/// The numbers are kept as doubles, in a scratch file where they are many: the deviation needs the mean first, and a
/// median all of them.
pub(super) struct Stats {
    numbers: ScratchBytes,
    text: Vec<u8>,
}

impl Stats {
    pub(super) fn new(place: &ScratchPlace) -> Self {
        Self { numbers: ScratchBytes::new(place), text: Vec::new() }
    }
}

impl Reducer for Stats {
    fn reduce(&mut self, key: &[u8], values: &mut dyn Values, out: &mut dyn Emit) -> Result<()> {
        self.numbers.clear();
        let mut sum = ExactSum::default();
        let (mut least, mut greatest, mut count) = (f64::INFINITY, f64::NEG_INFINITY, 0u64);
        while let Some(number) = next_number(key, values)? {
            sum.add(number);
            let number = number.to_f64();
            least = least.min(number);
            greatest = greatest.max(number);
            count += 1;
            self.numbers.append(&number.to_le_bytes())?;
        }
        if count == 0 {
            return Ok(());
        }
        let sum = sum.to_f64().map_err(of_key("sum", key))?;
        let mean = sum / count as f64;
        let mut deviation = Deviation::new(mean);
        each(&self.numbers, |number| deviation.add(number).map_err(of_key("standard deviation", key)))?;
        let deviation = deviation.end().map_err(of_key("standard deviation", key))?;
        let median = median(&self.numbers, count)?;

        self.text.clear();
        // Writing to a vector can't fail.
        let _ = write!(self.text, "{{\"count\":{count}");
        for (name, number) in [
            ("sum", sum),
            ("min", least),
            ("max", greatest),
            ("mean", mean),
            ("stddev", deviation),
            ("median", median),
        ] {
            let _ = write!(self.text, ",\"{name}\":");
            push_f64(&mut self.text, number);
        }
        self.text.push(b'}');
        out.emit(key, &self.text)
    }
}

fn each(numbers: &ScratchBytes, mut take: impl FnMut(f64) -> Result<()>) -> Result<()> {
    let mut reader = numbers.reader(READ);
    while let Some(bytes) = reader.take_bytes(size_of::<f64>())?.and_then(|bytes| bytes.first_chunk()) {
        take(f64::from_le_bytes(*bytes))?;
    }
    Ok(())
}

/// The population's standard deviation, number by number. What rounding has left in the mean is taken out again, so
/// that equal numbers deviate by nothing.
pub(super) struct Deviation {
    mean: f64,
    count: u64,
    squares: ExactSum,
    rest: ExactSum,
}

impl Deviation {
    pub(super) fn new(mean: f64) -> Self {
        Self { mean, count: 0, squares: ExactSum::default(), rest: ExactSum::default() }
    }

    pub(super) fn add(&mut self, number: f64) -> Result<()> {
        let difference = number - self.mean;
        let square = difference * difference;
        if !square.is_finite() {
            return Err(Error::permanent("the square of a deviation is more than a double can be"));
        }
        self.squares.add(Number::Double(square));
        self.rest.add(Number::Double(difference));
        self.count += 1;
        Ok(())
    }

    pub(super) fn end(&self) -> Result<f64> {
        let count = self.count as f64;
        let rest = self.rest.to_f64()?;
        let variance = (self.squares.to_f64()? - rest * rest / count) / count;
        Ok(variance.max(0.0).sqrt())
    }
}

/// The middle one, or the mean of the middle two. There is at least one number.
fn median(numbers: &ScratchBytes, count: u64) -> Result<f64> {
    let (lower, upper) = match numbers.in_memory() {
        Some(_) => middle_in_memory(numbers, count)?,
        None => (ranked(numbers, (count - 1) / 2)?, ranked(numbers, count / 2)?),
    };
    if count % 2 == 1 {
        return Ok(upper);
    }
    let both = lower + upper;
    Ok(if both.is_finite() { both / 2.0 } else { lower / 2.0 + upper / 2.0 })
}

fn middle_in_memory(numbers: &ScratchBytes, count: u64) -> Result<(f64, f64)> {
    let mut all = Vec::with_capacity(count as usize);
    each(numbers, |number| {
        all.push(number);
        Ok(())
    })?;
    let (below, &mut upper, _) = all.select_nth_unstable_by(count as usize / 2, f64::total_cmp);
    Ok((below.iter().copied().fold(f64::NEG_INFINITY, f64::max), upper))
}

/// The number of which so many are less: 16 bits of it with each look at all of them, the highest first.
fn ranked(numbers: &ScratchBytes, mut rank: u64) -> Result<f64> {
    const DIGIT: u32 = 16;
    let mut found = 0u64;
    for shift in (0..u64::BITS).step_by(DIGIT as usize).rev() {
        let mut counts = vec![0u64; 1 << DIGIT];
        each(numbers, |number| {
            let bits = in_order(number);
            // What has been found so far are the bits above these.
            if bits.checked_shr(shift + DIGIT).unwrap_or(0) == found {
                counts[(bits >> shift) as usize & 0xffff] += 1;
            }
            Ok(())
        })?;
        let mut digit = 0;
        while digit + 1 < counts.len() && rank >= counts[digit] {
            rank -= counts[digit];
            digit += 1;
        }
        found = found << DIGIT | digit as u64;
    }
    Ok(out_of_order(found))
}

const SIGN: u64 = 1 << 63;

/// Bits that are in the order of the numbers.
fn in_order(number: f64) -> u64 {
    let bits = number.to_bits();
    if bits & SIGN == 0 { bits | SIGN } else { !bits }
}

fn out_of_order(bits: u64) -> f64 {
    f64::from_bits(if bits & SIGN == 0 { !bits } else { bits & !SIGN })
}
