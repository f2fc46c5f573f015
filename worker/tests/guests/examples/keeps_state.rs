//! Counts its records and emits their number when the task ends.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use mapreduce_guests::{Outcome, Pairs, Program};

static RECORDS: AtomicU64 = AtomicU64::new(0);

struct KeepsState;

mapreduce_guests::export!(KeepsState);

impl Program for KeepsState {
    fn map(_: &[u8], _: &[u8], _: &mut Pairs) -> Outcome {
        RECORDS.fetch_add(1, Relaxed);
        Ok(())
    }

    fn teardown(out: &mut Pairs) -> Outcome {
        out.push(b"records", RECORDS.load(Relaxed).to_string().as_bytes());
        Ok(())
    }
}
