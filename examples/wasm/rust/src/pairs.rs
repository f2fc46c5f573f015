//! What every function wants: records and values to read, pairs to emit, and panics that say why.
//!
//! The host hands over many byte strings at once: one list has their bytes, another one says where each ends.
//!
//! ```text
//!  bytes   k e y v a l u e k 2      "key" → "value", "k2" → ""
//!  ends          3         8   10 10
//! ```
//!
//! Take this file into a component of your own as it is.

use std::sync::Once;

use crate::mapreduce::function::host;

/// The records of a call to `map`: key and value of each.
pub fn records<'a>(bytes: &'a [u8], ends: &'a [u32]) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
    let mut start = 0;
    ends.as_chunks().0.iter().map(move |&[key_end, value_end]| {
        let record = &bytes[start..value_end as usize];
        let key_len = key_end as usize - start;
        start = value_end as usize;
        record.split_at(key_len)
    })
}

/// The values of a call to `reduce`, and those that the host has still got: a key may have more than the memory
/// holds.
pub struct Values {
    bytes: Vec<u8>,
    ends: Vec<u32>,
    /// How many of `ends` are read, and the end of the last one.
    read: usize,
    start: usize,
    /// Whether to ask for others.
    more: bool,
}

impl Values {
    /// What `reduce` has been called with.
    pub fn new(bytes: Vec<u8>, ends: Vec<u32>, more: bool) -> Self {
        Self { bytes, ends, read: 0, start: 0, more }
    }

    /// The next value; none at their end. Those that are not asked for are passed over.
    pub fn next_value(&mut self) -> Option<&[u8]> {
        if self.read == self.ends.len() && self.more {
            (self.bytes, self.ends) = host::next_values();
            (self.read, self.start) = (0, 0);
            self.more = !self.ends.is_empty();
        }
        let end = *self.ends.get(self.read)? as usize;
        let value = &self.bytes[self.start..end];
        self.read += 1;
        self.start = end;
        Some(value)
    }
}

/// Pairs on their way to the host, which gets them many at a time: when there are enough of them, and what is left
/// when this goes. Make one for each call to `map` or `reduce`: what one has emitted is to be there when it returns.
#[derive(Default)]
pub struct Pairs {
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

/// As many bytes are enough: a call costs little beside them, and they stay in the processor's cache.
const ENOUGH: usize = 64 << 10;

impl Pairs {
    /// Emits a pair.
    pub fn push(&mut self, key: &[u8], value: &[u8]) {
        self.bytes.extend_from_slice(key);
        self.ends.push(self.bytes.len() as u32);
        self.bytes.extend_from_slice(value);
        self.ends.push(self.bytes.len() as u32);
        if self.bytes.len() + 4 * self.ends.len() >= ENOUGH {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if !self.ends.is_empty() {
            host::emit(&self.bytes, &self.ends);
            self.bytes.clear();
            self.ends.clear();
        }
    }
}

impl Drop for Pairs {
    fn drop(&mut self) {
        self.flush();
    }
}

/// Sends the message of a panic to the task's log: there is no standard error. The host makes it part of the job's
/// error. Call it first in each function; it does its work once.
pub fn log_panics() {
    static SET: Once = Once::new();
    SET.call_once(|| {
        std::panic::set_hook(Box::new(|panic| host::log(&panic.to_string().replace('\n', " "))));
    });
}
