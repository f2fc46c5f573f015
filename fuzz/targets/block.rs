//! Shuffle blocks and indexes whose checksums are right: an error or records, never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mapreduce_worker::fuzzing::parse_index;
use mapreduce_worker::record::block::{HEADER, BlockHeader, record_at};

fuzz_target!(|data: &[u8]| {
    let _ = parse_index(data, 1, 3);
    let Some((header, payload)) = data.split_first_chunk::<HEADER>() else { return };
    let Ok(header) = BlockHeader::parse(header) else { return };
    // Real ones are followed by as many bytes as they say; a GiB of them tells nothing more.
    if header.raw > 4 << 20 {
        return;
    }
    let payload = &payload[..payload.len().min(header.stored as usize)];
    let mut raw = Vec::new();
    let Ok(block) = header.decode(payload, &mut raw) else { return };
    let mut at = 0;
    while at < block.len() {
        let Ok(span) = record_at(block, at) else { return };
        assert!(at < span.key && span.key <= span.value && span.value <= span.end && span.end <= block.len());
        at = span.end;
    }
});
