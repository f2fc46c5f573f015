//! Built-in reduce and combine functions, by name.
//!
//! What a function keeps of a group while its values stream by:
//!
//! ```text
//!  identity, sum, count, min, max, mean, first, last   one value or number
//!  distinct, histogram, aggregate                      the value before, or a few: they come in byte order
//!  top                                                 n values
//!  stats                                               8 bytes a value, for the median
//!  collect, join                                       every value: they come in byte order
//! ```
//!
//! What is more than a task's share of memory is kept in scratch files.

use std::sync::Arc;

use mapreduce_api::v1alpha1::Function;

use super::aggregate::Aggregate;
use super::args::BuiltinArgs;
use super::join::{Join, JoinKind};
use super::numeric::{Extreme, Mean, Sum};
use super::stats::Stats;
use super::top::Top;
use super::unique::Unique;
use super::values::{Collect, CountReducer, Distinct, EndValue, Histogram, IdentityReducer};
use super::{builtin, unknown};
use crate::error::{Error, Result};
use crate::record::Reducer;
use crate::scratch::ScratchPlace;

/// A checked reduce function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BuiltinReduce {
    /// Every pair.
    Identity,
    /// The sum of the values.
    Sum,
    /// The number of values.
    Count,
    /// The least number.
    Min,
    /// The greatest number.
    Max,
    /// The mean.
    Mean,
    /// The number of distinct values.
    Distinct,
    /// Count, sum, least, greatest, mean, standard deviation, median.
    Stats,
    /// How often the distinct values come.
    Histogram,
    /// The smallest value in byte order.
    First,
    /// The largest value in byte order.
    Last,
    /// The greatest numbers.
    Top {
        /// How many.
        n: usize,
    },
    /// The values joined in byte order.
    Collect {
        /// What stands between them.
        separator: Arc<[u8]>,
        /// Whether a value is taken once.
        unique: bool,
    },
    /// Pairs of values of two sides.
    Join {
        /// Whether a pair may miss a side.
        kind: JoinKind,
        /// The sides' tags.
        sides: [Arc<[u8]>; 2],
    },
    /// What the key asks for.
    Aggregate,
}

const NAMES: [&str; 15] = [
    "identity",
    "sum",
    "count",
    "min",
    "max",
    "mean",
    "distinct",
    "stats",
    "histogram",
    "first",
    "last",
    "top",
    "collect",
    "join",
    "aggregate",
];

const MAX_TOP: u64 = 1_000_000;

impl BuiltinReduce {
    /// The function of a manifest.
    pub fn new(function: &Function) -> Result<Self> {
        let builtin = builtin(function)?;
        let mut args = BuiltinArgs::new(builtin);
        let made = match builtin.name.as_str() {
            "identity" => Self::Identity,
            "sum" => Self::Sum,
            "count" => Self::Count,
            "min" => Self::Min,
            "max" => Self::Max,
            "mean" => Self::Mean,
            "distinct" => Self::Distinct,
            "stats" => Self::Stats,
            "histogram" => Self::Histogram,
            "first" => Self::First,
            "last" => Self::Last,
            "top" => {
                let n = args.number("n", 10)?;
                if n == 0 || n > MAX_TOP {
                    return Err(Error::usage(format!(
                        "argument `n` of builtin `top` is from 1 to {MAX_TOP}, not {n}"
                    )));
                }
                args.choice("by", &[("numeric", ())])?;
                Self::Top { n: n as usize }
            }
            "collect" => Self::Collect {
                separator: args.text("separator")?.unwrap_or(",").as_bytes().into(),
                unique: args.flag("unique")?,
            },
            "join" => {
                let kinds = [
                    ("inner", JoinKind::INNER),
                    ("left", JoinKind::LEFT),
                    ("right", JoinKind::RIGHT),
                    ("outer", JoinKind::OUTER),
                ];
                let kind = args.choice("type", &kinds)?;
                Self::Join { kind, sides: args.sides("sides")?.map(|tag| tag.as_bytes().into()) }
            }
            "aggregate" => Self::Aggregate,
            name => return Err(unknown("reduce", name, &NAMES)),
        };
        args.end()?;
        Ok(made)
    }

    /// Whether it takes the values of a key in byte order.
    pub fn wants_sorted_values(&self) -> bool {
        matches!(
            self,
            Self::Distinct | Self::Histogram | Self::Collect { .. } | Self::Join { .. } | Self::Aggregate
        )
    }

    /// One for a task, which keeps at `place` what it keeps.
    pub fn make(&self, place: &ScratchPlace) -> Box<dyn Reducer> {
        match self {
            Self::Identity => Box::new(IdentityReducer),
            Self::Sum => Box::new(Sum::new(false)),
            Self::Count => Box::new(CountReducer::default()),
            Self::Min => Box::new(Extreme::min()),
            Self::Max => Box::new(Extreme::max()),
            Self::Mean => Box::new(Mean::default()),
            Self::Distinct => Box::new(Distinct::new(place)),
            Self::Stats => Box::new(Stats::new(place)),
            Self::Histogram => Box::new(Histogram::new(place)),
            Self::First => Box::new(EndValue::first(place)),
            Self::Last => Box::new(EndValue::last(place)),
            Self::Top { n } => Box::new(Top::new(*n, place)),
            Self::Collect { separator, unique } => {
                Box::new(Collect::new(Arc::clone(separator), *unique, place))
            }
            Self::Join { kind, sides } => Box::new(Join::new(*kind, sides.clone(), place)),
            Self::Aggregate => Box::new(Aggregate::new(false, place)),
        }
    }

    /// One for a combiner: its results are values again.
    pub fn combiner(&self, place: &ScratchPlace) -> Box<dyn Reducer> {
        match self {
            Self::Sum => Box::new(Sum::new(true)),
            Self::Aggregate => Box::new(Aggregate::new(true, place)),
            Self::Collect { .. } => Box::new(Unique::default()),
            other => other.make(place),
        }
    }
}
