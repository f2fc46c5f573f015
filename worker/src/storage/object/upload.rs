//! Writing an object in parts, of which nobody sees any before all are completed.

use std::collections::VecDeque;

use object_store::PutPayload;
use object_store::multipart::PartId;
use object_store::path::Path;

use super::{BucketStore, UnmetRequest};
use crate::error::{Error, Result};
use crate::memory;
use crate::storage::wait::Task;
use crate::storage::{Staged, StagedWriter, Store as _};

/// Bytes of the first parts of an upload. S3 takes at most 10,000 parts, the last may be smaller than 5 MiB.
pub const PART_BYTES: usize = 8 << 20;
/// The least bytes of a part that S3 takes, but for the last.
const MIN_PART_BYTES: u64 = 5 << 20;
/// Parts of one size: then they double, so that 10,000 of them are more than the 5 TiB that an object may have.
const PARTS_OF_A_SIZE: usize = 800;
/// Doublings at most.
const DOUBLINGS: usize = 8;
/// Parts of one upload under way at once, where there is memory for them.
const PARTS_AHEAD: usize = 3;
/// Uploads that there is memory for, or parts are smaller.
const UPLOADS: u64 = 4;

/// Bytes of an upload's part, by its number from 0, where the first has so many.
fn part_bytes(first: usize, of_a_size: usize, number: usize) -> usize {
    first << (number / of_a_size).min(DOUBLINGS)
}

/// A multipart upload that is begun with its first part.
pub(super) struct Upload {
    store: BucketStore,
    key: String,
    path: Path,
    id: Option<String>,
    buffer: Vec<u8>,
    first_part: usize,
    of_a_size: usize,
    under_way: VecDeque<Task<Result<PartId, UnmetRequest>>>,
    parts: Vec<String>,
    sent: usize,
}

impl Upload {
    pub(super) fn new(store: &BucketStore, key: &str) -> Result<Self> {
        let first_part = || memory::piece(UPLOADS, PART_BYTES as u64).max(MIN_PART_BYTES) as usize;
        Ok(Self {
            store: store.clone(),
            key: key.to_owned(),
            path: store.path(key)?,
            id: None,
            buffer: Vec::new(),
            first_part: store.sizes.map_or_else(first_part, |sizes| sizes.first_part),
            of_a_size: store.sizes.map_or(PARTS_OF_A_SIZE, |sizes| sizes.parts_of_a_size),
            under_way: VecDeque::new(),
            parts: Vec::new(),
            sent: 0,
        })
    }

    fn send(&mut self) -> Result<()> {
        let id = match &self.id {
            Some(id) => id.clone(),
            None => {
                let Self { store, path, key, .. } = self;
                store.requests.write();
                // Whoever went away before the answer would not know which upload to abort.
                let created = store.finish(|| store.uploads.create_multipart(path));
                let id = created.map_err(|e| store.error("write", key, &e))?;
                self.id.insert(id).clone()
            }
        };
        while self.under_way.len() >= PARTS_AHEAD {
            self.receive()?;
        }
        let reservation = memory::transfers().reserve(self.buffer.len());
        let waits = reservation.is_none();
        let payload = PutPayload::from(std::mem::take(&mut self.buffer));
        let (store, path, number) = (self.store.clone(), self.path.clone(), self.sent);
        self.sent += 1;
        self.store.requests.write();
        let part = async move {
            let _reservation = reservation;
            store.outlast(|| store.uploads.put_part(&path, &id, number, payload.clone())).await
        };
        self.under_way.push_back(self.store.waiter.begin(part));
        // Without memory for another part the next one is begun when this one is written.
        while waits && !self.under_way.is_empty() {
            self.receive()?;
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<()> {
        let Self { store, key, under_way, parts, .. } = self;
        if let Some(part) = under_way.pop_front() {
            let id = store.wait(async {
                match part.await {
                    Ok(Ok(part)) => Ok(part.content_id),
                    Ok(Err(e)) => Err(store.error("write", key, &e)),
                    Err(e) => Err(Error::retry(format!("can't write {}{key}", store.base)).because(e)),
                }
            })?;
            parts.push(id);
        }
        Ok(())
    }
}

impl StagedWriter for Upload {
    fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let part_bytes = part_bytes(self.first_part, self.of_a_size, self.sent);
            if self.buffer.capacity() == 0 {
                self.buffer.reserve_exact(part_bytes.min(bytes.len().max(64 << 10)));
            }
            let n = bytes.len().min(part_bytes - self.buffer.len());
            self.buffer.extend_from_slice(&bytes[..n]);
            bytes = &bytes[n..];
            if self.buffer.len() == part_bytes {
                self.send()?;
            }
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Staged> {
        // S3 wants a part at least, if an empty one.
        if !self.buffer.is_empty() || self.sent == 0 {
            self.send()?;
        }
        while !self.under_way.is_empty() {
            self.receive()?;
        }
        let id = self.id.take().unwrap_or_default();
        Ok(Staged::Upload { id, parts: std::mem::take(&mut self.parts) })
    }

    fn publish(mut self: Box<Self>) -> Result<()> {
        if self.sent == 0 {
            return self.store.put(&self.key, std::mem::take(&mut self.buffer));
        }
        let (store, key) = (self.store.clone(), self.key.clone());
        let staged = self.finish()?;
        store.complete(&key, &staged).map(drop)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.under_way.iter().for_each(Task::abort);
        if let Some(id) = self.id.take() {
            let _ = self.store.abort(&self.key, &Staged::Upload { id, parts: Vec::new() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{MIN_PART_BYTES, PART_BYTES, PARTS_OF_A_SIZE, part_bytes};

    #[test]
    fn ten_thousand_parts_are_the_largest_object_that_there_may_be() {
        for first in [MIN_PART_BYTES as usize, PART_BYTES] {
            let part_bytes = |number| part_bytes(first, PARTS_OF_A_SIZE, number);
            let all: u128 = (0..10_000).map(|number| part_bytes(number) as u128).sum();
            assert!(all >= 5 << 40, "{all}");
            assert_eq!([0, 799, 800].map(part_bytes), [first, first, 2 * first]);
            assert!((0..10_000).all(|number| part_bytes(number) <= 5 << 30), "a part has at most 5 GiB");
        }
    }
}
