//! Pairs in sort order: one after the other, or key by key.

use super::radix::prefix;
use crate::error::Result;
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
    pairs: P,
    key: Vec<u8>,
    prefix: u64,
    at: At,
    /// Keys seen.
    pub groups: u64,
    /// Pairs seen.
    pub records: u64,
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
        Self { pairs, key: Vec::new(), prefix: 0, at: At::Start, groups: 0, records: 0 }
    }

    /// Goes to the next key and copies it; false at the end. Values that nobody took are passed over.
    pub fn next_group(&mut self, key: &mut Vec<u8>) -> Result<bool> {
        loop {
            match self.at {
                At::Start => self.at = if self.pairs.advance()? { At::NextGroup } else { At::End },
                At::Value => {
                    self.records += 1;
                    self.at = At::Taken;
                }
                At::Taken => self.step()?,
                At::NextGroup => {
                    self.key.clear();
                    self.key.extend_from_slice(self.pairs.key());
                    self.prefix = self.pairs.prefix();
                    key.clone_from(&self.key);
                    self.groups += 1;
                    self.at = At::Value;
                    return Ok(true);
                }
                At::End => return Ok(false),
            }
        }
    }

    #[inline]
    fn step(&mut self) -> Result<()> {
        self.at = if !self.pairs.advance()? {
            At::End
        } else if self.pairs.prefix() == self.prefix && self.pairs.key() == self.key {
            At::Value
        } else {
            At::NextGroup
        };
        Ok(())
    }
}

impl<P: PairStream> Values for Groups<P> {
    fn next(&mut self) -> Result<Option<&[u8]>> {
        if self.at == At::Taken {
            self.step()?;
        }
        if self.at != At::Value {
            return Ok(None);
        }
        self.at = At::Taken;
        self.records += 1;
        Ok(Some(self.pairs.value()))
    }
}
