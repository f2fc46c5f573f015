//! `grep`: matched text → 1.

use regex::bytes::Regex;

use crate::error::Result;
use crate::record::chunk::{Chunk, Record};
use crate::record::key::Key;
use crate::record::{MapOutput, Mapper};

/// Each match of a pattern, or a group of it.
pub(super) struct Grep {
    pattern: Regex,
    group: usize,
    invert: bool,
    searchable: bool,
}

impl Grep {
    pub(super) fn new(pattern: Regex, group: usize, invert: bool) -> Self {
        Self { searchable: is_searchable(&pattern), pattern, group, invert }
    }
}

impl<O: MapOutput> Mapper<O> for Grep {
    fn map(&mut self, record: &Record<'_>, out: &mut O) -> Result<()> {
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

    fn map_chunk(&mut self, chunk: &Chunk<'_>, out: &mut O) -> Result<u64> {
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
