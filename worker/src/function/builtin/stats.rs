//! `stats`: all at once.

use std::io::Write as _;

use super::numeric::{next_number, of_key};
use crate::error::{Error, Result};
use crate::record::number::{ExactSum, Number, push_f64};
use crate::record::{Emit, Reducer, Values};

/// Count, sum, least, greatest, mean, the population's standard deviation and median, as JSON.
///
/// The numbers are kept as doubles: a median needs them all.
#[derive(Default)]
pub(super) struct Stats {
    numbers: Vec<f64>,
    text: Vec<u8>,
}

impl Reducer for Stats {
    fn reduce(&mut self, key: &[u8], values: &mut dyn Values, out: &mut dyn Emit) -> Result<()> {
        self.numbers.clear();
        self.numbers.shrink_to(1 << 16);
        let mut sum = ExactSum::default();
        while let Some(number) = next_number(key, values)? {
            sum.add(number);
            self.numbers.push(number.to_f64());
        }
        if self.numbers.is_empty() {
            return Ok(());
        }
        let sum = sum.to_f64().map_err(of_key("sum", key))?;
        let mean = sum / self.numbers.len() as f64;
        let deviation = deviation(&self.numbers, mean).map_err(of_key("standard deviation", key))?;
        let least = self.numbers.iter().copied().fold(f64::INFINITY, f64::min);
        let greatest = self.numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let median = median(&mut self.numbers);

        self.text.clear();
        // Writing to a vector can't fail.
        let _ = write!(self.text, "{{\"count\":{}", self.numbers.len());
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

/// The population's standard deviation. What rounding has left in the mean is taken out again, so
/// that equal numbers deviate by nothing.
pub(super) fn deviation(numbers: &[f64], mean: f64) -> Result<f64> {
    let (mut squares, mut rest) = (ExactSum::default(), ExactSum::default());
    for number in numbers {
        let difference = number - mean;
        let square = difference * difference;
        if !square.is_finite() {
            return Err(Error::permanent("the square of a deviation is more than a double can be"));
        }
        squares.add(Number::Double(square));
        rest.add(Number::Double(difference));
    }
    let count = numbers.len() as f64;
    let rest = rest.to_f64()?;
    let variance = (squares.to_f64()? - rest * rest / count) / count;
    Ok(variance.max(0.0).sqrt())
}

/// The middle one, or the mean of the middle two. There is at least one number.
fn median(numbers: &mut [f64]) -> f64 {
    let middle = numbers.len() / 2;
    let odd = numbers.len() % 2 == 1;
    let (below, &mut upper, _) = numbers.select_nth_unstable_by(middle, f64::total_cmp);
    if odd {
        return upper;
    }
    let lower = below.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let both = lower + upper;
    if both.is_finite() { both / 2.0 } else { lower / 2.0 + upper / 2.0 }
}
