//! Functions over numbers that keep one of them.

use std::cmp::Ordering;

use crate::error::{Error, Result};
use crate::record::number::not_a_number;
use crate::record::number::push_i64;
use crate::record::number::{ExactSum, Number, push_f64};
use crate::record::{Emit, Reducer, Values};

/// The next value as a number; those that are none are passed over where bad values are.
pub(super) fn next_number(key: &[u8], values: &mut dyn Values) -> Result<Option<Number>> {
    loop {
        let Some(value) = values.next()? else { return Ok(None) };
        if let Some(number) = Number::parse(value) {
            return Ok(Some(number));
        }
        let error = not_a_number(key, value);
        values.bad(error)?;
    }
}

/// Says which key a result that is out of range is of.
pub(super) fn of_key<'a>(what: &'a str, key: &'a [u8]) -> impl FnOnce(Error) -> Error + 'a {
    move |error| error.context(format!("the {what} of key `{}`", key.escape_ascii()))
}

/// The sum. As a combiner it leaves doubles in exact parts, so that the sum of sums is the sum.
pub(super) struct Sum {
    text: Vec<u8>,
    combine: bool,
}

impl Sum {
    pub(super) fn new(combine: bool) -> Self {
        Self { text: Vec::new(), combine }
    }
}

impl Reducer for Sum {
    fn reduce(&mut self, key: &[u8], values: &mut dyn Values, out: &mut dyn Emit) -> Result<()> {
        let mut small: Option<i64> = None;
        let mut sum: Option<ExactSum> = None;
        while let Some(number) = next_number(key, values)? {
            if let Number::Integer(n) = number
                && let Ok(n) = i64::try_from(n)
                && let Some(next) = small.unwrap_or(0).checked_add(n)
            {
                small = Some(next);
            } else {
                sum.get_or_insert_default().add(number);
            }
        }
        match (sum, small) {
            (None, None) => Ok(()),
            (None, Some(small)) => {
                self.text.clear();
                push_i64(&mut self.text, small);
                out.emit(key, &self.text)
            }
            (Some(mut sum), small) => {
                sum.add(Number::Integer(small.unwrap_or(0).into()));
                if self.combine {
                    return sum.each_text(&mut self.text, |text| out.emit(key, text));
                }
                sum.text(&mut self.text).map_err(of_key("sum", key))?;
                out.emit(key, &self.text)
            }
        }
    }
}

/// The least or the greatest number, as its own text.
pub(super) struct Extreme {
    better: Ordering,
    best: Vec<u8>,
}

impl Extreme {
    pub(super) fn min() -> Self {
        Self { better: Ordering::Less, best: Vec::new() }
    }

    pub(super) fn max() -> Self {
        Self { better: Ordering::Greater, best: Vec::new() }
    }
}

impl Reducer for Extreme {
    fn reduce(&mut self, key: &[u8], values: &mut dyn Values, out: &mut dyn Emit) -> Result<()> {
        let mut best: Option<Number> = None;
        while let Some(value) = values.next()? {
            let Some(number) = Number::parse(value) else {
                let error = not_a_number(key, value);
                values.bad(error)?;
                continue;
            };
            let is_better = best.is_none_or(|best| match number.compare(best) {
                Ordering::Equal => *value < *self.best,
                other => other == self.better,
            });
            if is_better {
                best = Some(number);
                self.best.clear();
                self.best.extend_from_slice(value);
            }
        }
        if best.is_some() { out.emit(key, &self.best) } else { Ok(()) }
    }
}

/// The exact sum by the number of values: rounded twice, whatever the order.
#[derive(Default)]
pub(super) struct Mean {
    text: Vec<u8>,
}

impl Reducer for Mean {
    fn reduce(&mut self, key: &[u8], values: &mut dyn Values, out: &mut dyn Emit) -> Result<()> {
        let (mut sum, mut count) = (ExactSum::default(), 0u64);
        while let Some(number) = next_number(key, values)? {
            sum.add(number);
            count += 1;
        }
        if count == 0 {
            return Ok(());
        }
        self.text.clear();
        push_f64(&mut self.text, sum.to_f64().map_err(of_key("mean", key))? / count as f64);
        out.emit(key, &self.text)
    }
}
