//! What targets have in common: an object read as a job reads it.

use std::sync::OnceLock;

use mapreduce_api::v1alpha1::Input;
use mapreduce_worker::error::Result;
use mapreduce_worker::input::reader::Reader;
use mapreduce_worker::record::format::Format;
use mapreduce_worker::record::split::Codec;
use mapreduce_worker::record::split::Split;
use mapreduce_worker::storage::Stores;
use serde_json::{Value, json};

struct Place {
    dir: tempfile::TempDir,
    stores: Stores,
    _runtime: tokio::runtime::Runtime,
}

fn place() -> &'static Place {
    static PLACE: OnceLock<Place> = OnceLock::new();
    PLACE.get_or_init(|| {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let storage = serde_json::from_value(json!({})).expect("no storage");
        let stop = tokio_util::sync::CancellationToken::new();
        let stores = Stores::new(storage, dir.path(), runtime.handle().clone(), stop);
        Place { dir, stores, _runtime: runtime }
    })
}

/// A record: its key, its value and its offset.
pub type Found = (Vec<u8>, Vec<u8>, u64);

/// The records of an object of this format that is cut at `cuts`, up to the first error.
pub fn read(content: &[u8], format: &Value, cuts: &[u64]) -> (Vec<Found>, Result<()>) {
    let Place { dir, stores, .. } = place();
    let path = dir.path().join("x");
    std::fs::write(&path, content).expect("a file");
    let input: Input =
        serde_json::from_value(json!({"urls": ["file:x"], "format": format, "compression": "None"}))
            .expect("an input");
    let format = Format::new(&input);
    let size = content.len() as u64;
    let mut edges: Vec<u64> = cuts.iter().copied().filter(|cut| *cut < size).chain([0, size]).collect();
    edges.sort_unstable();
    edges.dedup();
    let mut found = Vec::new();
    let result = edges.windows(2).try_for_each(|edges| {
        let url = format!("file://{}", path.display());
        let split = Split { url, version: None, size, start: edges[0], end: edges[1], codec: Codec::None };
        let mut reader = Reader::open(&split, &format, input.compression, stores, Vec::new())?;
        while let Some(chunk) = reader.next_chunk()? {
            chunk.each(|record| {
                let mut scratch = Vec::new();
                let key = record.key.to_bytes(&mut scratch).to_vec();
                found.push((key, record.value.to_vec(), record.offset));
                Ok(())
            })?;
        }
        Ok(())
    });
    (found, result)
}

/// Takes a panic that our own code catches for what it is: libFuzzer's hook ends the process at any.
pub fn catch_panics() {
    std::panic::set_hook(Box::new(|info| eprintln!("{info}")));
}
