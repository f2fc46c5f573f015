//! Built-in map functions, by name.

use mapreduce_api::v1alpha1::Function;
use regex::bytes::Regex;

use super::args::BuiltinArgs;
use super::extract::{Extract, Template};
use super::fields::{FieldList, Fields};
use super::grep::Grep;
use super::lookup::{Lookup, Path};
use super::words::{PatternWords, Words};
use super::{builtin, unknown};
use crate::error::{Error, Result};
use crate::record::chunk::{Chunk, Record};
use crate::record::{MapOutput, Mapper};

/// A checked map function.
#[derive(Clone, Debug)]
pub enum BuiltinMap {
    /// The record as it is.
    Identity,
    /// word → 1.
    Words {
        /// What a word is; a run of bytes other than white space when absent.
        pattern: Option<Regex>,
        /// Whether ASCII and Unicode letters are made small.
        lowercase: bool,
    },
    /// Matched text → 1.
    Grep {
        /// What is looked for.
        pattern: Regex,
        /// The group that is emitted.
        group: usize,
        /// Whether records without a match are emitted instead.
        invert: bool,
    },
    /// Some fields → others.
    Fields(Box<Fields>),
    /// A member of a JSON text → another.
    Lookup(Lookup),
    /// Groups of a pattern.
    Extract(Box<Extract>),
    /// `count` → 1.
    Count,
}

const NAMES: [&str; 8] = ["identity", "words", "grep", "fields", "csv", "json", "extract", "count"];

impl BuiltinMap {
    /// The function of a manifest.
    pub fn new(function: &Function) -> Result<Self> {
        let builtin = builtin(function)?;
        let mut args = BuiltinArgs::new(builtin);
        let made = match builtin.name.as_str() {
            "identity" => Self::Identity,
            "words" => Self::Words { pattern: args.regex("pattern")?, lowercase: args.flag("lowercase")? },
            "grep" => {
                let pattern = args.needed_regex("pattern")?;
                let group = usize::try_from(args.number("group", 0)?).unwrap_or(usize::MAX);
                if group >= pattern.captures_len() {
                    let groups = pattern.captures_len() - 1;
                    return Err(Error::usage(format!(
                        "group {group} of builtin `grep`: the pattern has {groups}"
                    )));
                }
                Self::Grep { pattern, group, invert: args.flag("invert")? }
            }
            "fields" => {
                let separator = args.text("separator")?.unwrap_or("\t");
                if separator.is_empty() {
                    return Err(Error::usage("argument `separator` of builtin `fields` is empty"));
                }
                let key = args.list("key")?.unwrap_or_else(|| "1".into());
                let value = args.list("value")?.unwrap_or_else(|| "2-".into());
                Self::Fields(Box::new(Fields::new(
                    separator.as_bytes(),
                    FieldList::parse("key", &key)?,
                    FieldList::parse("value", &value)?,
                )))
            }
            name @ ("csv" | "json") => {
                let path = if name == "csv" { Path::column } else { Path::pointer };
                let (key, value) = (args.text("key")?.map(path), args.text("value")?.map(path));
                if key.is_none() && value.is_none() {
                    return Err(Error::usage(format!(
                        "builtin `{name}` needs the argument `key`, `value` or both"
                    )));
                }
                Self::Lookup(Lookup::new(key, value))
            }
            "extract" => {
                let pattern = args.needed_regex("pattern")?;
                let key = Template::parse("key", args.text("key")?.unwrap_or("${1}"), &pattern)?;
                let value = Template::parse("value", args.text("value")?.unwrap_or("${bytes}"), &pattern)?;
                let strict = args.choice("onMismatch", &[("Skip", false), ("BadRecord", true)])?;
                Self::Extract(Box::new(Extract::new(pattern, key, value, strict)))
            }
            "count" => Self::Count,
            name => return Err(unknown("map", name, &NAMES)),
        };
        args.end()?;
        Ok(made)
    }

    /// Whether it looks at the keys of records.
    pub fn takes_keys(&self) -> bool {
        match self {
            Self::Identity => true,
            Self::Lookup(lookup) => lookup.takes_keys(),
            Self::Words { .. } | Self::Grep { .. } | Self::Fields(_) | Self::Extract(_) | Self::Count => {
                false
            }
        }
    }

    /// One for a task.
    pub fn make<O: MapOutput>(&self) -> Box<dyn Mapper<O>> {
        match self.clone() {
            Self::Identity => Box::new(IdentityMapper { key: Vec::new() }),
            Self::Words { pattern: None, lowercase: false } => Box::new(Words),
            Self::Words { pattern, lowercase } => Box::new(PatternWords::new(pattern, lowercase)),
            Self::Grep { pattern, group, invert } => Box::new(Grep::new(pattern, group, invert)),
            Self::Fields(fields) => fields,
            Self::Lookup(lookup) => Box::new(lookup),
            Self::Extract(extract) => extract,
            Self::Count => Box::new(CountMapper),
        }
    }
}

struct IdentityMapper {
    key: Vec<u8>,
}

impl<O: MapOutput> Mapper<O> for IdentityMapper {
    fn map(&mut self, record: &Record<'_>, out: &mut O) -> Result<()> {
        out.emit(record.key.to_bytes(&mut self.key), record.value)
    }
}

/// One for each record, under one key.
struct CountMapper;

impl<O: MapOutput> Mapper<O> for CountMapper {
    fn map(&mut self, _record: &Record<'_>, out: &mut O) -> Result<()> {
        out.emit_one(b"count")
    }

    fn map_chunk(&mut self, chunk: &Chunk<'_>, out: &mut O) -> Result<u64> {
        if chunk.is_plain() && out.adds_up() {
            let lines = chunk.count_lines();
            out.emit_one_times(b"count", lines)?;
            return Ok(lines);
        }
        chunk.each(|record| self.map(&record, out))
    }
}
