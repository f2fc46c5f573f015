//! `fields`: fields of a line, as `cut` selects them.

use memchr::memmem::Finder;

use crate::error::{Error, Result};
use crate::record::chunk::Record;
use crate::record::{MapOutput, Mapper};

/// Fields by number, as `cut -f` takes them: `2`, `1,3-5`, `-2`, `4-`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FieldList {
    /// First and last field of each range, from 1 on, ascending and apart.
    ranges: Vec<(usize, usize)>,
}

/// The last field of an open range.
const REST: usize = usize::MAX;

impl FieldList {
    pub(super) fn parse(arg: &str, text: &str) -> Result<Self> {
        let mut ranges = Vec::new();
        for item in text.split(',').map(str::trim) {
            let range = match item.split_once('-') {
                None => number(item).map(|n| (n, n)),
                Some(("", "")) => None,
                Some(("", last)) => number(last).map(|last| (1, last)),
                Some((first, "")) => number(first).map(|first| (first, REST)),
                Some((first, last)) => number(first).zip(number(last)),
            };
            let Some(range) = range.filter(|(first, last)| first <= last) else {
                return Err(Error::usage(format!(
                    "argument `{arg}` of builtin `fields` is a list of fields as `1`, `2,4-6` or `2-`, \
                     numbered from 1, not `{text}`"
                )));
            };
            ranges.push(range);
        }
        ranges.sort_unstable();
        let mut apart: Vec<(usize, usize)> = Vec::new();
        for (first, last) in ranges {
            match apart.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
                _ => apart.push((first, last)),
            }
        }
        Ok(Self { ranges: apart })
    }

    /// How many starts of fields have to be known, where the end of one is the next one's start.
    fn starts(&self) -> usize {
        self.ranges.last().map_or(1, |&(first, last)| if last == REST { first } else { last + 1 })
    }

    /// The fields of a line, whose fields begin at `starts`, with the separators between them.
    fn select<'a>(
        &self,
        line: &'a [u8],
        starts: &[usize],
        separator: &[u8],
        joined: &'a mut Vec<u8>,
    ) -> &'a [u8] {
        let range_text = |&(first, last): &(usize, usize)| {
            // Behind the last field there is one more start.
            let from = *starts.get(first - 1)?;
            let to = if last == REST { None } else { starts.get(last) };
            line.get(from..to.map_or(line.len(), |to| to - separator.len()))
        };
        if let [range] = &self.ranges[..] {
            return range_text(range).unwrap_or_default();
        }
        joined.clear();
        for (i, text) in self.ranges.iter().filter_map(range_text).enumerate() {
            if i > 0 {
                joined.extend_from_slice(separator);
            }
            joined.extend_from_slice(text);
        }
        joined
    }
}

fn number(text: &str) -> Option<usize> {
    let is_number = !text.is_empty() && text.len() <= 9 && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|&n| is_number && n > 0)
}

/// Some fields → others.
#[derive(Clone, Debug)]
pub struct Fields {
    separator: Finder<'static>,
    key: FieldList,
    value: FieldList,
    needed: usize,
    starts: Vec<usize>,
    key_text: Vec<u8>,
    value_text: Vec<u8>,
}

impl Fields {
    pub(super) fn new(separator: &[u8], key: FieldList, value: FieldList) -> Self {
        Self {
            separator: Finder::new(separator).into_owned(),
            needed: key.starts().max(value.starts()),
            key,
            value,
            starts: Vec::new(),
            key_text: Vec::new(),
            value_text: Vec::new(),
        }
    }

    /// Finds where fields start, as far as needed. A line that ends before has one more start,
    /// where the next field's would be.
    fn find_starts(&mut self, line: &[u8]) {
        let separator = self.separator.needle();
        self.starts.clear();
        self.starts.push(0);
        if self.needed == 1 {
            return;
        }
        let starts = &mut self.starts;
        let mut push = |at: usize| {
            starts.push(at + separator.len());
            starts.len() == self.needed
        };
        let all = match *separator {
            [byte] => memchr::memchr_iter(byte, line).any(&mut push),
            _ => self.separator.find_iter(line).any(&mut push),
        };
        if !all {
            push(line.len());
        }
    }
}

impl<O: MapOutput> Mapper<O> for Fields {
    fn map(&mut self, record: &Record<'_>, out: &mut O) -> Result<()> {
        let line = record.value;
        self.find_starts(line);
        let separator = self.separator.needle();
        if let [_, after] = self.starts[..]
            && after > line.len()
        {
            // No separator.
            return out.emit(line, line);
        }
        let key = self.key.select(line, &self.starts, separator, &mut self.key_text);
        let value = self.value.select(line, &self.starts, separator, &mut self.value_text);
        out.emit(key, value)
    }
}
