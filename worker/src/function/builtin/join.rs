//! `join`: the values of a key from two sides, in pairs.
//!
//! The values come in byte order, and so do those of a side. They are kept as they come, in scratch files where they
//! are many: rights are read once for each left.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use super::values::emit_kept;
use crate::error::{Result, excerpt};
use crate::memory::{self, LARGE_RECORD, LargeRecord, large_record};
use crate::record::number::bad_value;
use crate::record::{Emit, Reducer, Values};
use crate::scratch::{READ, ScratchBytes, ScratchList, ScratchPlace};

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
    left: ScratchList,
    right: ScratchList,
    text: Vec<u8>,
    /// A pair of large values.
    large: ScratchBytes,
}

/// Copies of a large left at once: the one whose pairs are emitted, two that are looked at after it, and the pair that is
/// read next.
const COPIES: u64 = 5;

impl Join {
    pub(super) fn new(kind: JoinKind, sides: [Arc<[u8]>; 2], place: &ScratchPlace) -> Self {
        let tags = sides.map(|side| [&side, &b"\t"[..]].concat());
        let (left, right) = (ScratchList::new(place), ScratchList::new(place));
        Self { kind, tags, left, right, text: Vec::new(), large: ScratchBytes::new(place) }
    }

    fn take_sides(&mut self, key: &[u8], values: &mut dyn Values) -> Result<()> {
        self.left.clear();
        self.right.clear();
        while let Some(value) = values.next()? {
            if let Some(rest) = value.strip_prefix(&self.tags[0][..]) {
                self.left.push(rest)?;
            } else if let Some(rest) = value.strip_prefix(&self.tags[1][..]) {
                self.right.push(rest)?;
            } else {
                let [l, r] = self.tags.each_ref().map(|tag| tag.escape_ascii().to_string());
                let error = bad_value(key, value, &format!("begins with neither `{l}` nor `{r}`"));
                values.bad(error)?;
            }
        }
        Ok(())
    }
}

impl Join {
    /// Waits until the lefts may be in memory, where they are large.
    fn room_for_lefts(&self, key: &[u8]) -> Result<Option<LargeRecord>> {
        let longest = self.left.longest();
        if longest <= LARGE_RECORD {
            return Ok(None);
        }
        let is = format!("to be joined with those of the key `{}`", excerpt(key));
        memory::check_copies("a value of the left side", &is, longest as u64, COPIES)?;
        Ok(Some(large_record()))
    }
}

impl Reducer for Join {
    fn reduce(&mut self, key: &[u8], values: &mut dyn Values, out: &mut dyn Emit) -> Result<()> {
        self.take_sides(key, values)?;
        match (self.left.is_empty(), self.right.is_empty()) {
            (true, true) => return Ok(()),
            (true, false) if self.kind.right_alone => self.left.push(b"")?,
            (false, true) if self.kind.left_alone => self.right.push(b"")?,
            _ => {}
        }
        if self.right.is_empty() {
            return Ok(());
        }
        let _large = self.room_for_lefts(key)?;
        let Self { right, text, large, .. } = self;
        let mut pairs = JoinedPairs { key, right, text, large, run: Vec::new(), out };
        let mut held: Vec<Left> = Vec::new();
        let (mut lefts, mut left) = (self.left.reader(READ), Vec::new());
        while lefts.append_text(&mut left)? {
            while let Some(last) = held.pop_if(|last| !may_come_after(&last.text, &left)) {
                pairs.add(last)?;
            }
            match held.last_mut() {
                Some(last) if last.text == left => last.times += 1,
                _ => held.push(Left { text: std::mem::take(&mut left), times: 1 }),
            }
            left.clear();
        }
        while let Some(last) = held.pop() {
            pairs.add(last)?;
        }
        pairs.end()
    }
}

/// A left and how often it comes.
struct Left {
    text: Vec<u8>,
    times: u64,
}

/// Whether one of the lefts from `next` on, in byte order, may come before `left` when a TAB follows each of them.
fn may_come_after(left: &[u8], next: &[u8]) -> bool {
    next.strip_prefix(left).is_some_and(|rest| rest.first().is_none_or(|&byte| byte < b'\t'))
}

/// Pairs each left with all rights.
struct JoinedPairs<'a> {
    key: &'a [u8],
    right: &'a ScratchList,
    text: &'a mut Vec<u8>,
    large: &'a mut ScratchBytes,
    /// Lefts whose pairs come among each other's: with a TAB, the first is the beginning of all.
    run: Vec<Left>,
    out: &'a mut dyn Emit,
}

impl JoinedPairs<'_> {
    /// Takes the next left, in the order of the texts with a TAB after each.
    fn add(&mut self, left: Left) -> Result<()> {
        let goes_on = |first: &Left| {
            left.text.strip_prefix(&first.text[..]).is_some_and(|rest| rest.starts_with(b"\t"))
        };
        if !self.run.first().is_some_and(goes_on) {
            self.end()?;
        }
        self.run.push(left);
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        let run = std::mem::take(&mut self.run);
        let [left] = &run[..] else { return self.merge(&run) };
        if left.text.len() + self.right.longest() > LARGE_RECORD {
            return self.pair_pieces(left);
        }
        let mut rights = self.right.reader(READ);
        while let Some(right) = rights.next_text()? {
            put(self.text, &left.text, right);
            (0..left.times).try_for_each(|_| self.out.emit(self.key, self.text))?;
        }
        Ok(())
    }

    /// The pairs of a left, of which none is in memory.
    fn pair_pieces(&mut self, left: &Left) -> Result<()> {
        let mut rights = self.right.reader(READ);
        let begin = |pair: &mut ScratchBytes| {
            pair.clear();
            pair.append(&left.text)?;
            pair.append(b"\t")
        };
        begin(self.large)?;
        while rights.each_piece(&mut |piece| self.large.append(piece))? {
            (0..left.times).try_for_each(|_| emit_kept(self.key, self.large, self.out))?;
            begin(self.large)?;
        }
        Ok(())
    }

    /// The pairs of each left are in order: what is merged are as many lists as there are lefts.
    fn merge(&mut self, run: &[Left]) -> Result<()> {
        let at_once = (READ * 16 / run.len().max(1)).clamp(64, READ);
        let mut readers: Vec<_> = run.iter().map(|_| self.right.reader(at_once)).collect();
        let mut heads = BinaryHeap::new();
        for (i, reader) in readers.iter_mut().enumerate() {
            if let Some(right) = reader.next_text()? {
                let mut text = Vec::new();
                put(&mut text, &run[i].text, right);
                heads.push(Reverse((text, i)));
            }
        }
        while let Some(mut head) = heads.peek_mut() {
            let Reverse((text, i)) = &mut *head;
            (0..run[*i].times).try_for_each(|_| self.out.emit(self.key, text))?;
            match readers[*i].next_text()? {
                Some(right) => put(text, &run[*i].text, right),
                None => drop(std::collections::binary_heap::PeekMut::pop(head)),
            }
        }
        Ok(())
    }
}

fn put(text: &mut Vec<u8>, left: &[u8], right: &[u8]) {
    text.clear();
    text.extend_from_slice(left);
    text.push(b'\t');
    text.extend_from_slice(right);
}
