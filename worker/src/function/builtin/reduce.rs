//! Built-in reduce and combine functions.

use mapreduce_api::v1alpha1::Function;

use super::args::Args;
use super::{builtin, unknown};
use crate::error::{Error, Result};
use crate::function::number::{ExactSum, Number};
use crate::function::{Emit, Reducer, Values};
use crate::shuffle::table::push_i64;

/// A checked reduce function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReduceFunction {
    /// Every pair.
    Identity,
    /// The sum of the values.
    Sum,
    /// The number of values.
    Count,
}

const NAMES: [&str; 3] = ["identity", "sum", "count"];

impl ReduceFunction {
    /// The function of a manifest.
    pub fn new(function: &Function) -> Result<Self> {
        let builtin = builtin(function)?;
        let args = Args::new(builtin);
        let made = match builtin.name.as_str() {
            "identity" => Self::Identity,
            "sum" => Self::Sum,
            "count" => Self::Count,
            name => return Err(unknown("reduce", name, &NAMES)),
        };
        args.end()?;
        Ok(made)
    }

    /// A combine function is applied any number of times, to its own results too.
    pub fn check_combiner(&self) -> Result<()> {
        match self {
            Self::Identity | Self::Sum => Ok(()),
            Self::Count => Err(Error::usage(
                "`count` can't be a combine function, which is applied to its own results too: \
                 emit 1 for each value and use `sum` for combine and reduce",
            )),
        }
    }

    /// One for a task.
    pub fn make(&self) -> Box<dyn Reducer> {
        match self {
            Self::Identity => Box::new(Identity),
            Self::Sum => Box::new(Sum { text: Vec::new(), combine: false }),
            Self::Count => Box::new(Count { text: Vec::new() }),
        }
    }

    /// One for a combiner: its results are values again.
    pub fn combiner(&self) -> Box<dyn Reducer> {
        match self {
            Self::Sum => Box::new(Sum { text: Vec::new(), combine: true }),
            other => other.make(),
        }
    }
}

struct Identity;

impl Reducer for Identity {
    fn reduce(&mut self, key: &[u8], values: &mut dyn Values, out: &mut dyn Emit) -> Result<()> {
        while let Some(value) = values.next()? {
            out.emit(key, value)?;
        }
        Ok(())
    }
}

struct Count {
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

/// The sum. As a combiner it leaves doubles in exact parts, so that the sum of sums is the sum.
struct Sum {
    text: Vec<u8>,
    combine: bool,
}

impl Reducer for Sum {
    fn reduce(&mut self, key: &[u8], values: &mut dyn Values, out: &mut dyn Emit) -> Result<()> {
        let mut small = 0i64;
        let mut sum: Option<ExactSum> = None;
        while let Some(value) = values.next()? {
            let number = Number::parse(value).ok_or_else(|| not_a_number(key, value))?;
            if let Number::Integer(n) = number
                && let Ok(n) = i64::try_from(n)
                && let Some(next) = small.checked_add(n)
            {
                small = next;
            } else {
                sum.get_or_insert_default().add(number);
            }
        }
        match sum {
            None => {
                self.text.clear();
                push_i64(&mut self.text, small);
                out.emit(key, &self.text)
            }
            Some(mut sum) => {
                sum.add(Number::Integer(small.into()));
                if self.combine {
                    return sum.each_text(&mut self.text, |text| out.emit(key, text));
                }
                sum.text(&mut self.text)
                    .map_err(|error| error.context(format!("the sum of key `{}`", key.escape_ascii())))?;
                out.emit(key, &self.text)
            }
        }
    }
}

/// The error for a value that had to be a number.
pub(crate) fn not_a_number(key: &[u8], value: &[u8]) -> Error {
    let shown = &value[..value.len().min(64)];
    Error::permanent(format!(
        "`{}`, a value of key `{}`, is no number",
        shown.escape_ascii(),
        key.escape_ascii()
    ))
}
