//! Parquet from anywhere: an error or rows, never a panic and never without end.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mapreduce_fuzz::{catch_panics, read};
use serde_json::json;

fuzz_target!(
    init: catch_panics(),
    |data: &[u8]| {
        let _ = read(data, &json!({"type": "Parquet"}), &[]);
    }
);
