//! `top`: the greatest numbers.
//!
//! ```text
//!  values ──> candidates ── more than memory: sorted ──> lists in scratch files ── merged, n of them ──> list
//!                 └── more than twice n: the better half stays
//! ```

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use crate::error::Result;
use crate::record::number::{Number, not_a_number};
use crate::record::{Emit, Reducer, Values};
use crate::scratch::{ScratchList, ScratchPlace};

/// Lists that are merged at once.
const LISTS: usize = 64;
/// Bytes of a list that are read at once.
const READ: usize = 16 << 10;
/// A candidate's memory beside its text.
const CANDIDATE: usize = size_of::<Ranked>() + 16;

/// The `n` greatest numbers, each as its own text, greatest first.
pub(super) struct Top {
    n: usize,
    place: ScratchPlace,
    candidates: Vec<Ranked>,
    /// Memory of the candidates.
    bytes: usize,
    /// What is not better than this is none of them.
    least: Option<Ranked>,
    /// Lists of candidates, the best first.
    lists: Vec<ScratchList>,
}

/// A number with its text. A better one is less.
struct Ranked {
    number: Number,
    text: Vec<u8>,
}

fn rank(a: (Number, &[u8]), b: (Number, &[u8])) -> Ordering {
    b.0.compare(a.0).then_with(|| a.1.cmp(b.1))
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        rank((self.number, &self.text), (other.number, &other.text))
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Ranked {}

impl Top {
    pub(super) fn new(n: usize, place: &ScratchPlace) -> Self {
        Self { n, place: place.clone(), candidates: Vec::new(), bytes: 0, least: None, lists: Vec::new() }
    }

    fn add(&mut self, number: Number, text: &[u8]) -> Result<()> {
        let is_none = |least: &Ranked| rank((number, text), (least.number, &least.text)) != Ordering::Less;
        if self.least.as_ref().is_some_and(is_none) {
            return Ok(());
        }
        self.candidates.push(Ranked { number, text: text.to_vec() });
        self.bytes += text.len() + CANDIDATE;
        if self.candidates.len() >= 2 * self.n.max(64) {
            self.keep_best();
        }
        if self.bytes > self.place.memory { self.make_room() } else { Ok(()) }
    }

    /// Leaves the n best.
    fn keep_best(&mut self) {
        let Some(last) = self.n.checked_sub(1).filter(|&last| last < self.candidates.len()) else { return };
        self.candidates.select_nth_unstable(last);
        self.candidates.truncate(self.n);
        self.bytes = self.candidates.iter().map(|candidate| candidate.text.len() + CANDIDATE).sum();
        if let Some(last) = self.candidates.last() {
            self.least = Some(Ranked { number: last.number, text: last.text.clone() });
        }
    }

    /// Takes memory for no more candidates than there is.
    #[cold]
    fn make_room(&mut self) -> Result<()> {
        self.keep_best();
        if self.bytes <= self.place.memory / 2 {
            return Ok(());
        }
        let mut list = ScratchList::new(&self.place_of_lists());
        self.candidates.sort_unstable();
        self.candidates.drain(..).try_for_each(|candidate| list.push(&candidate.text))?;
        self.bytes = 0;
        self.lists.push(list);
        if self.lists.len() < LISTS {
            return Ok(());
        }
        let (mut merged, mut least) = (ScratchList::new(&self.place_of_lists()), None);
        let n = self.n as u64;
        merge(&self.lists, self.n, |best| {
            merged.push(&best.text)?;
            if merged.len() == n {
                least = Some(Ranked { number: best.number, text: best.text.clone() });
            }
            Ok(())
        })?;
        if least.is_some() {
            self.least = least;
        }
        self.lists = vec![merged];
        Ok(())
    }

    fn place_of_lists(&self) -> ScratchPlace {
        ScratchPlace { memory: READ, ..self.place.clone() }
    }
}

/// Calls `take` with the n best of the lists, the best first.
fn merge(lists: &[ScratchList], n: usize, mut take: impl FnMut(&Ranked) -> Result<()>) -> Result<()> {
    let mut readers: Vec<_> = lists.iter().map(|list| list.reader(READ)).collect();
    // The best is on top.
    let mut heads = BinaryHeap::new();
    for (i, reader) in readers.iter_mut().enumerate() {
        if let Some((number, text)) = reader.next_text()?.and_then(parsed) {
            heads.push(std::cmp::Reverse((Ranked { number, text: text.to_vec() }, i)));
        }
    }
    for _ in 0..n {
        let Some(mut head) = heads.peek_mut() else { return Ok(()) };
        let std::cmp::Reverse((best, i)) = &mut *head;
        take(best)?;
        match readers[*i].next_text()?.and_then(parsed) {
            Some((number, text)) => {
                best.number = number;
                best.text.clear();
                best.text.extend_from_slice(text);
            }
            None => drop(PeekMut::pop(head)),
        }
    }
    Ok(())
}

fn parsed(text: &[u8]) -> Option<(Number, &[u8])> {
    Number::parse(text).map(|number| (number, text))
}

impl Reducer for Top {
    fn reduce(&mut self, key: &[u8], values: &mut dyn Values, out: &mut dyn Emit) -> Result<()> {
        (self.bytes, self.least) = (0, None);
        self.candidates.clear();
        self.lists.clear();
        while let Some(value) = values.next()? {
            match Number::parse(value) {
                Some(number) => self.add(number, value)?,
                None => {
                    let error = not_a_number(key, value);
                    values.bad(error)?;
                }
            }
        }
        self.candidates.sort_unstable();
        if self.lists.is_empty() {
            let best = self.candidates.iter().take(self.n);
            return best.into_iter().try_for_each(|ranked| out.emit(key, &ranked.text));
        }
        let mut list = ScratchList::new(&self.place_of_lists());
        self.candidates.drain(..).try_for_each(|candidate| list.push(&candidate.text))?;
        self.lists.push(list);
        merge(&self.lists, self.n, |best| out.emit(key, &best.text))
    }
}
