use std::sync::Arc;

use mapreduce_api::v1alpha1::ShuffleCompression;

use super::{LocalPairs, PairsObject, PairsPlace, PairsReader};
use crate::error::Result;
use crate::record::Emit as _;
use crate::record::block::BlockCodec;
use crate::record::chunk::Chunk;
use crate::record::format::Format;
use crate::record::key::Key;
use crate::record::spill_store::SpillStore;
use crate::record::split::Codec;
use crate::record::split::Split;
use crate::scratch::{ScratchBytes, ScratchPlace};
use crate::storage::{FileStore, Location};

type Pair = (Vec<u8>, Vec<u8>);

fn folder(dir: &tempfile::TempDir) -> PairsPlace {
    let key = format!("{}/", dir.path().display());
    PairsPlace::Folder(Location { store: Arc::new(FileStore), base: "file://".to_owned(), key })
}

fn write(place: &PairsPlace, name: &str, pairs: &[Pair]) -> PairsObject {
    let mut writer = place.create(name.to_owned(), ShuffleCompression::Lz4).unwrap();
    pairs.iter().for_each(|(key, value)| writer.emit(key, value).unwrap());
    writer.finish().unwrap()
}

fn read(place: &PairsPlace, object: &PairsObject, start: u64, end: u64) -> Result<Vec<Pair>> {
    let url = place.url(&object.name);
    let split = Split { url: url.clone(), version: None, size: object.bytes, start, end, codec: Codec::None };
    let (mut reader, format) = (PairsReader::new(place, &split, Vec::new())?, Format::pairs(place.clone()));
    let mut found = Vec::new();
    while let Some(lines) = reader.next_chunk()? {
        Chunk::new(lines, &format, &url.as_str().into()).each(|record| {
            let Key::Bytes(key) = record.key else { panic!("{:?}", record.key) };
            found.push((key.to_vec(), record.value.to_vec()));
            Ok(())
        })?;
    }
    Ok(found)
}

/// Pairs of several blocks, of bytes that lines could not hold.
fn pairs() -> Vec<Pair> {
    let one = |i: u32| (format!("{i}\t\n").into_bytes(), [b"\xff\0\r\n", &i.to_le_bytes()[..]].concat());
    (0..80_000).map(one).chain([(Vec::new(), Vec::new()), (b"large".to_vec(), vec![7; 1 << 20])]).collect()
}

#[test]
fn pairs_come_out_as_they_went_in_however_they_are_cut() {
    let dir = tempfile::tempdir().unwrap();
    let in_memory = LocalPairs::new(&SpillStore::new(1 << 20, dir.path().to_owned(), BlockCodec::None));
    for place in [folder(&dir), PairsPlace::Local(in_memory)] {
        let pairs = pairs();
        let object = write(&place, "pairs/00000-a", &pairs);
        assert_eq!(object.records, pairs.len() as u64);
        assert!(object.cuts.len() > 3, "{:?}", object.cuts);
        assert!(read(&place, &object, 0, object.bytes).unwrap() == pairs);
        let ends = object.cuts.iter().copied().skip(1).chain([object.bytes]);
        let cut =
            object.cuts.iter().zip(ends).flat_map(|(&start, end)| read(&place, &object, start, end).unwrap());
        assert!(cut.eq(pairs));
        place.delete_below("pairs/").unwrap();
        assert!(read(&place, &object, 0, object.bytes).is_err());
    }
}

#[test]
fn a_value_in_a_scratch_file_comes_out_as_one_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let value: Vec<u8> = (0..700_000u32).flat_map(u32::to_le_bytes).collect();
    let mut scratch = ScratchBytes::new(&ScratchPlace::new(dir.path().to_owned(), 1 << 20));
    scratch.append(&value).unwrap();
    assert!(scratch.in_memory().is_none());
    let in_memory = LocalPairs::new(&SpillStore::new(1 << 20, dir.path().to_owned(), BlockCodec::None));
    for place in [folder(&dir), PairsPlace::Local(in_memory)] {
        let mut writer = place.create("large".to_owned(), ShuffleCompression::Zstd).unwrap();
        writer.emit(b"a", b"small").unwrap();
        writer.emit_large(b"b", &scratch).unwrap();
        writer.emit(b"c", &value).unwrap();
        let object = writer.finish().unwrap();
        let pairs = read(&place, &object, 0, object.bytes).unwrap();
        let expected = [(&b"a"[..], &b"small"[..]), (b"b", &value), (b"c", &value)];
        assert!(pairs.iter().map(|(key, value)| (&key[..], &value[..])).eq(expected));
        assert_eq!((object.records, object.cuts.len()), (3, 3));
    }
}

#[test]
fn no_pairs_are_an_object_without_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let object = write(&folder(&dir), "none", &[]);
    assert_eq!((object.bytes, object.records, object.cuts.len()), (0, 0, 0));
}

#[test]
fn a_flipped_bit_is_found_and_so_is_an_object_cut_short() {
    let dir = tempfile::tempdir().unwrap();
    let place = folder(&dir);
    let object = write(&place, "x", &pairs()[..2000]);
    let path = dir.path().join("x");
    let whole = std::fs::read(&path).unwrap();
    let damaged = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        let error = read(&place, &object, 0, object.bytes).unwrap_err();
        assert!(error.is_retryable(), "{error}");
        format!("{error} {:?}", error.causes())
    };
    for at in (0..whole.len()).step_by(whole.len() / 50) {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        let text = damaged(&flipped);
        assert!(text.contains("/x") && text.contains("intermediate data"), "byte {at}: {text}");
    }
    std::fs::write(&path, &whole).unwrap();
    assert_eq!(read(&place, &object, 0, object.bytes).unwrap().len(), 2000);
}
