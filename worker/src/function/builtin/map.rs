//! Built-in map functions.

use mapreduce_api::v1alpha1::Function;
use regex::bytes::Regex;

use super::args::Args;
use super::words::{PatternWords, Words};
use super::{builtin, unknown};
use crate::error::{Error, Result};
use crate::function::Mapper;
use crate::input::format::{Chunk, Key, Record};
use crate::shuffle::collector::Collector;

/// A checked map function.
#[derive(Clone, Debug)]
pub enum MapFunction {
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
}

const NAMES: [&str; 3] = ["identity", "words", "grep"];

impl MapFunction {
    /// The function of a manifest.
    pub fn new(function: &Function) -> Result<Self> {
        let builtin = builtin(function)?;
        let mut args = Args::new(builtin);
        let made = match builtin.name.as_str() {
            "identity" => Self::Identity,
            "words" => Self::Words { pattern: args.regex("pattern")?, lowercase: args.flag("lowercase")? },
            "grep" => {
                args.needed_text("pattern")?;
                let Some(pattern) = Args::new(builtin).regex("pattern")? else {
                    return Err(unknown("map", &builtin.name, &NAMES));
                };
                let group = usize::try_from(args.number("group", 0)?).unwrap_or(usize::MAX);
                if group >= pattern.captures_len() {
                    let groups = pattern.captures_len() - 1;
                    return Err(Error::usage(format!(
                        "group {group} of builtin `grep`: the pattern has {groups}"
                    )));
                }
                Self::Grep { pattern, group, invert: args.flag("invert")? }
            }
            name => return Err(unknown("map", name, &NAMES)),
        };
        args.end()?;
        Ok(made)
    }

    /// One for a task.
    pub fn make(&self) -> Box<dyn Mapper> {
        match self.clone() {
            Self::Identity => Box::new(Identity { key: Vec::new() }),
            Self::Words { pattern: None, lowercase: false } => Box::new(Words),
            Self::Words { pattern, lowercase } => Box::new(PatternWords::new(pattern, lowercase)),
            Self::Grep { pattern, group, invert } => {
                Box::new(Grep { searchable: is_searchable(&pattern), pattern, group, invert })
            }
        }
    }
}

struct Identity {
    key: Vec<u8>,
}

impl Mapper for Identity {
    fn map(&mut self, record: &Record<'_>, out: &mut Collector) -> Result<()> {
        out.emit(record.key.to_bytes(&mut self.key), record.value)
    }
}

struct Grep {
    pattern: Regex,
    group: usize,
    invert: bool,
    searchable: bool,
}

impl Mapper for Grep {
    fn map(&mut self, record: &Record<'_>, out: &mut Collector) -> Result<()> {
        if self.invert {
            return if self.pattern.is_match(record.value) { Ok(()) } else { out.emit_one(record.value) };
        }
        if self.group == 0 {
            return self.pattern.find_iter(record.value).try_for_each(|found| out.emit_one(found.as_bytes()));
        }
        for captures in self.pattern.captures_iter(record.value) {
            if let Some(group) = captures.get(self.group) {
                out.emit_one(group.as_bytes())?;
            }
        }
        Ok(())
    }

    fn map_chunk(&mut self, chunk: &Chunk<'_>, out: &mut Collector) -> Result<u64> {
        if self.invert || !self.searchable || !chunk.is_plain() {
            return chunk.each(|record| self.map(&record, out));
        }
        // Most records don't match: a search over the chunk finds those that may. A match may go on
        // past its line's end; whether the line itself has one, `map` finds out.
        let bytes = chunk.lines.bytes;
        let mut at = 0;
        while let Some(found) = self.pattern.find_at(bytes, at) {
            let start = memchr::memrchr(b'\n', &bytes[at..found.start()]).map_or(at, |end| at + end + 1);
            let end =
                memchr::memchr(b'\n', &bytes[found.start()..]).map_or(bytes.len(), |n| found.start() + n);
            let line = &bytes[start..end];
            let value = if end < bytes.len() { line.strip_suffix(b"\r").unwrap_or(line) } else { line };
            let offset = chunk.lines.offset + start as u64;
            self.map(&Record { key: Key::Number(offset), value, offset }, out)?;
            at = end + 1;
            if at > bytes.len() {
                break;
            }
        }
        Ok(chunk.count_lines())
    }
}

/// Whether a match in a record is always a match in a chunk of records too: the pattern has no
/// anchors or word boundaries, which see the edge of the text, and never matches nothing.
fn is_searchable(pattern: &Regex) -> bool {
    regex_syntax::ParserBuilder::new().utf8(false).build().parse(pattern.as_str()).is_ok_and(|hir| {
        let properties = hir.properties();
        properties.look_set().is_empty() && properties.minimum_len().is_some_and(|least| least > 0)
    })
}
