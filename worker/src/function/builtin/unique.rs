//! `collect` with `unique` as a combine function: each distinct value once, not joined yet.

use std::collections::HashSet;

use crate::error::Result;
use crate::record::{Emit, Reducer, Values};

/// Most bytes of distinct values that are remembered. More are passed on as they come: the reduce function
/// takes each once.
const MEMORY_BYTES: usize = 4 << 20;

/// Emits each distinct value once, as it comes.
#[derive(Default)]
pub(super) struct Unique {
    seen: HashSet<Box<[u8]>>,
}

impl Reducer for Unique {
    fn reduce(&mut self, key: &[u8], values: &mut dyn Values, out: &mut dyn Emit) -> Result<()> {
        self.seen.clear();
        let mut bytes = 0;
        while let Some(value) = values.next()? {
            if self.seen.contains(value) {
                continue;
            }
            if bytes + value.len() < MEMORY_BYTES {
                bytes += value.len() + 64;
                self.seen.insert(value.into());
            }
            out.emit(key, value)?;
        }
        // To clear a table takes time by its room, and the next group may be small.
        self.seen.shrink_to(1 << 10);
        Ok(())
    }
}
