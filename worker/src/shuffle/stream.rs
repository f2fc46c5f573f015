//! Pairs in sort order: one after the other, or key by key.

use super::radix::prefix;
use crate::error::Result;
use crate::memory::{LARGE_RECORD, LargeRecord, has_large_record, large_record};
use crate::record::Values;

/// Pairs in sort order, one after the other.
pub trait PairStream {
    /// Goes to the next pair; false at the end.
    fn advance(&mut self) -> Result<bool>;
    /// The current pair's key.
    fn key(&self) -> &[u8];
    /// The current pair's value.
    fn value(&self) -> &[u8];
    /// The key's first 8 bytes, as a number that sorts as they do.
    #[inline]
    fn prefix(&self) -> u64 {
        prefix(self.key())
    }
}

/// Sorted pairs, key by key.
#[derive(Debug)]
pub struct Groups<P> {
    /// The current group's key: the one copy of it.
    key: Vec<u8>,
    /// Held while the key is large and its pairs have waited for memory.
    large: Option<LargeRecord>,
    group: Group<P>,
    /// Keys seen.
    pub groups: u64,
}

/// The pairs of the current group, and what is behind them.
#[derive(Debug)]
struct Group<P> {
    pairs: P,
    prefix: u64,
    at: At,
    /// Pairs seen.
    records: u64,
}

/// The values of a group, one at a time.
#[derive(Debug)]
pub struct GroupValues<'a, P> {
    key: &'a [u8],
    group: &'a mut Group<P>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Before the first pair.
    Start,
    /// The current pair is the current group's and has not been handed out.
    Value,
    /// The current pair is the current group's and has been handed out.
    Taken,
    /// The current pair is the next group's.
    NextGroup,
    /// Behind the last pair.
    End,
}

impl<P: PairStream> Groups<P> {
    /// The groups of sorted pairs.
    pub fn new(pairs: P) -> Self {
        let group = Group { pairs, prefix: 0, at: At::Start, records: 0 };
        Self { key: Vec::new(), large: None, group, groups: 0 }
    }

    /// Pairs seen.
    pub fn records(&self) -> u64 {
        self.group.records
    }

    /// Goes to the next key; none at the end. Values that nobody took are passed over.
    pub fn next_group(&mut self) -> Result<Option<(&[u8], GroupValues<'_, P>)>> {
        loop {
            match self.group.at {
                At::Start => {
                    self.group.at = if self.group.pairs.advance()? { At::NextGroup } else { At::End };
                }
                At::Value => {
                    self.group.records += 1;
                    self.group.at = At::Taken;
                }
                At::Taken => self.group.step(&self.key)?,
                At::NextGroup => {
                    self.take_key();
                    self.groups += 1;
                    self.group.at = At::Value;
                    let Self { key, group, .. } = self;
                    return Ok(Some((key, GroupValues { key, group })));
                }
                At::End => return Ok(None),
            }
        }
    }

    #[inline]
    fn take_key(&mut self) {
        self.key.clear();
        let key = self.group.pairs.key();
        if self.key.capacity().max(key.len()) > LARGE_RECORD {
            self.make_room(key.len());
        }
        self.key.extend_from_slice(self.group.pairs.key());
        self.group.prefix = self.group.pairs.prefix();
    }

    /// Gives back what a large key has taken, and takes what this one does. The right to it is its pair's too, so that
    /// this waits for nobody.
    #[cold]
    fn make_room(&mut self, bytes: usize) {
        self.key = Vec::new();
        self.key.reserve_exact(bytes);
        self.large = (bytes > LARGE_RECORD && has_large_record()).then(large_record);
    }
}

impl<P: PairStream> Group<P> {
    #[inline]
    fn step(&mut self, key: &[u8]) -> Result<()> {
        self.at = if !self.pairs.advance()? {
            At::End
        } else if self.pairs.prefix() == self.prefix && self.pairs.key() == key {
            At::Value
        } else {
            At::NextGroup
        };
        Ok(())
    }
}

impl<P: PairStream> Values for GroupValues<'_, P> {
    fn next(&mut self) -> Result<Option<&[u8]>> {
        let group = &mut *self.group;
        if group.at == At::Taken {
            group.step(self.key)?;
        }
        if group.at != At::Value {
            return Ok(None);
        }
        group.at = At::Taken;
        group.records += 1;
        Ok(Some(group.pairs.value()))
    }
}
