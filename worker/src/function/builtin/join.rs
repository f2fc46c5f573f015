//! `join`: the values of a key from two sides, in pairs.

use std::cmp::Ordering;
use std::sync::Arc;

use super::values::Texts;
use crate::error::Result;
use crate::record::number::bad_value;
use crate::record::{Emit, Reducer, Values};

/// Which keys are in the result beside those that both sides have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JoinKind {
    left_alone: bool,
    right_alone: bool,
}

impl JoinKind {
    pub(super) const INNER: Self = Self { left_alone: false, right_alone: false };
    pub(super) const LEFT: Self = Self { left_alone: true, right_alone: false };
    pub(super) const RIGHT: Self = Self { left_alone: false, right_alone: true };
    pub(super) const OUTER: Self = Self { left_alone: true, right_alone: true };
}

/// Emits `left TAB right` for each pair, in byte order of this text.
pub(super) struct Join {
    kind: JoinKind,
    tags: [Vec<u8>; 2],
    left: Texts,
    right: Texts,
    text: Vec<u8>,
}

impl Join {
    pub(super) fn new(kind: JoinKind, sides: [Arc<[u8]>; 2]) -> Self {
        let tags = sides.map(|side| [&side, &b"\t"[..]].concat());
        Self { kind, tags, left: Texts::default(), right: Texts::default(), text: Vec::new() }
    }

    fn emit(&mut self, key: &[u8], left: usize, right: usize, out: &mut dyn Emit) -> Result<()> {
        self.text.clear();
        self.text.extend_from_slice(self.left.get(left));
        self.text.push(b'\t');
        self.text.extend_from_slice(self.right.get(right));
        out.emit(key, &self.text)
    }

    /// Lefts `from..to`: for the texts of their pairs to come one left after the other, none of them
    /// may be the same as, or with a TAB the beginning of, another.
    fn run(&self, from: usize) -> usize {
        let first = self.left.get(from);
        let goes_on = |left: &[u8]| {
            left.strip_prefix(first).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"\t"))
        };
        (from + 1..self.left.len()).find(|&i| !goes_on(self.left.get(i))).unwrap_or(self.left.len())
    }

    fn emit_run(&mut self, key: &[u8], from: usize, to: usize, out: &mut dyn Emit) -> Result<()> {
        if self.left.get(from) == self.left.get(to - 1) {
            for right in 0..self.right.len() {
                for left in from..to {
                    self.emit(key, left, right, out)?;
                }
            }
            return Ok(());
        }
        let mut pairs: Vec<(usize, usize)> =
            (from..to).flat_map(|left| (0..self.right.len()).map(move |right| (left, right))).collect();
        let text = |&(left, right): &(usize, usize)| {
            self.left.get(left).iter().chain(b"\t").chain(self.right.get(right))
        };
        pairs.sort_unstable_by(|a, b| text(a).cmp(text(b)));
        pairs.into_iter().try_for_each(|(left, right)| self.emit(key, left, right, out))
    }
}

/// The order of texts with a TAB behind each.
fn with_tab(a: &[u8], b: &[u8]) -> Ordering {
    let both = a.len().min(b.len());
    a[..both].cmp(&b[..both]).then_with(|| a[both..].iter().chain(b"\t").cmp(b[both..].iter().chain(b"\t")))
}

impl Reducer for Join {
    fn reduce(&mut self, key: &[u8], values: &mut dyn Values, out: &mut dyn Emit) -> Result<()> {
        self.left.clear();
        self.right.clear();
        while let Some(value) = values.next()? {
            if let Some(rest) = value.strip_prefix(&self.tags[0][..]) {
                self.left.push(rest);
            } else if let Some(rest) = value.strip_prefix(&self.tags[1][..]) {
                self.right.push(rest);
            } else {
                let [l, r] = self.tags.each_ref().map(|tag| tag.escape_ascii().to_string());
                let error = bad_value(key, value, &format!("begins with neither `{l}` nor `{r}`"));
                values.bad(error)?;
            }
        }
        match (self.left.len(), self.right.len()) {
            (0, 0) => return Ok(()),
            (0, _) if self.kind.right_alone => self.left.push(b""),
            (_, 0) if self.kind.left_alone => self.right.push(b""),
            _ => {}
        }
        if self.right.len() == 0 {
            return Ok(());
        }
        self.left.sort_by(with_tab);
        self.right.sort();
        let mut from = 0;
        while from < self.left.len() {
            let to = self.run(from);
            self.emit_run(key, from, to, out)?;
            from = to;
        }
        Ok(())
    }
}
