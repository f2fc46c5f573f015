//! Objects of frames, as other programs make them, cut and read.

use std::io::{Read as _, Write as _};

use mapreduce_api::v1alpha1::{Input, Storage};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::FrameFormat;
use crate::error::Result;
use crate::input::reader::Reader;
use crate::input::source::content_before;
use crate::record::format::Format;
use crate::record::split::Codec;
use crate::record::split::Split;
use crate::storage::Stores;

/// A block of bgzf, deflated or stored.
fn bgzf_block(content: &[u8], level: u32) -> Vec<u8> {
    let mut deflated = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::new(level));
    deflated.write_all(content).unwrap();
    let deflated = deflated.finish().unwrap();
    let mut crc = flate2::Crc::new();
    crc.update(content);
    let mut block = vec![0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255, 6, 0, b'B', b'C', 2, 0];
    block.extend(u16::try_from(deflated.len() + 25).unwrap().to_le_bytes());
    block.extend(deflated);
    block.extend(crc.sum().to_le_bytes());
    block.extend((content.len() as u32).to_le_bytes());
    block
}

fn bgzf(content: &[u8], block: usize, level: u32) -> Vec<u8> {
    let mut blocks: Vec<u8> = content.chunks(block).flat_map(|c| bgzf_block(c, level)).collect();
    blocks.extend(bgzf_block(b"", 6));
    blocks
}

fn zstd(content: &[u8], frame: usize, checksum: bool) -> Vec<u8> {
    let frame_of = |content: &[u8]| {
        let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
        encoder.include_checksum(checksum).unwrap();
        encoder.write_all(content).unwrap();
        // As pzstd, which says before each frame how long it is.
        let frame = encoder.finish().unwrap();
        [&[0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0][..], &(frame.len() as u32).to_le_bytes(), &frame].concat()
    };
    content.chunks(frame).flat_map(frame_of).collect()
}

/// Bytes that don't get smaller.
fn noise(bytes: usize, mut seed: u64) -> Vec<u8> {
    std::iter::repeat_with(|| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 40) as u8
    })
    .take(bytes)
    .collect()
}

/// Values and offsets of the records of an object in splits, with the bytes from which offsets are counted.
fn read(bytes: &[u8], format: &Value, codec: Codec, edges: &[u64]) -> Result<Vec<(u64, Vec<u8>)>> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x");
    std::fs::write(&path, bytes).unwrap();
    let input: Input = serde_json::from_value(json!({"urls": ["file:x"], "format": format})).unwrap();
    let format = Format::new(&input);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let stop = tokio_util::sync::CancellationToken::new();
    let stores = Stores::new(Storage::default(), dir.path(), runtime.handle().clone(), stop);
    let mut found = Vec::new();
    for edges in edges.windows(2) {
        let (url, size) = (format!("file://{}", path.display()), bytes.len() as u64);
        let is_part = edges[0] > 0 || edges[1] < size;
        let codec = if is_part { codec } else { Codec::None };
        let split = Split { url, version: None, size, start: edges[0], end: edges[1], codec };
        let base = content_before(&split, &stores)?;
        let mut reader = Reader::open(&split, &format, input.compression, &stores, Vec::new())?;
        while let Some(chunk) = reader.next_chunk()? {
            chunk.each(|record| {
                found.push((base + record.offset, record.value.to_vec()));
                Ok(())
            })?;
        }
    }
    Ok(found)
}

/// The edges that a plan would find at or after some places.
fn edges(bytes: &[u8], frames: FrameFormat, places: &[usize]) -> Vec<u64> {
    let found = places.iter().filter_map(|&place| {
        let place = place % bytes.len();
        Some((place + frames.find(&bytes[place..])?) as u64)
    });
    let mut edges: Vec<u64> = found.chain([0, bytes.len() as u64]).collect();
    edges.sort_unstable();
    edges.dedup();
    edges
}

fn lines(delimiter: &str) -> Value {
    json!({"type": "Lines", "lines": {"delimiter": delimiter}})
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn records_across_frames_are_read_once_wherever_the_cuts_fall(
        seed in any::<u64>(),
        frame in prop_oneof![1_000usize..60_000, 20_000usize..20_100],
        places in proptest::collection::vec(any::<usize>(), 1..8),
        delimiter in prop_oneof![Just("\n"), Just("ab"), Just("\r\nx")],
        most in prop_oneof![Just(12u8), Just(200)],
        is_bgzf in any::<bool>(),
    ) {
        // Lines of about every length, delimiters at about every place of a frame's edge.
        let signs = b"ab\r\nx";
        let content: Vec<u8> = noise(400_000, seed)
            .into_iter()
            .map(|byte| if byte < most { signs[usize::from(byte) % signs.len()] } else { byte })
            .collect();
        let (frames, codec, bytes) = if is_bgzf {
            (FrameFormat::Bgzf, Codec::Gzip, bgzf(&content, frame, 1))
        } else {
            (FrameFormat::Zstd, Codec::Zstd, zstd(&content, frame, true))
        };
        let whole = read(&bytes, &lines(delimiter), codec, &[0, bytes.len() as u64]).unwrap();
        let edges = edges(&bytes, frames, &places);
        let parts = read(&bytes, &lines(delimiter), codec, &edges).unwrap();
        prop_assert!(parts == whole, "{} records of {} in {} splits", parts.len(), whole.len(), edges.len() - 1);
    }
}

#[test]
fn most_places_have_a_frame_behind_them_and_it_is_one() {
    let content = noise(1_000_000, 7);
    for (frames, bytes) in
        [(FrameFormat::Bgzf, bgzf(&content, 30_000, 6)), (FrameFormat::Zstd, zstd(&content, 30_000, false))]
    {
        let mut starts = vec![0];
        while let super::Frame::Whole(length) = frames.at(&bytes[starts[starts.len() - 1]..]) {
            starts.push(starts[starts.len() - 1] + length);
        }
        assert_eq!(*starts.last().unwrap(), bytes.len(), "{frames:?}");
        for place in (0..800_000).step_by(7919) {
            let first = starts[starts.partition_point(|start| *start < place)];
            assert_eq!(frames.find(&bytes[place..]), Some(first - place), "{frames:?} {place}");
        }
    }
}

#[test]
fn frames_that_are_data_are_not_taken_for_frames() {
    let archive = |frames| match frames {
        FrameFormat::Bgzf => bgzf(&noise(600_000, 1), 3_000, 6),
        FrameFormat::Zstd => zstd(&noise(600_000, 1), 3_000, false),
    };
    // What doesn't get smaller is stored as it is, whole archives in it.
    for frames in [FrameFormat::Bgzf, FrameFormat::Zstd] {
        let inner = archive(frames);
        let (outer, frame) = match frames {
            FrameFormat::Bgzf => (bgzf(&inner, 60_000, 0), 60_031),
            FrameFormat::Zstd => (zstd(&inner, 200_000, false), 200_030),
        };
        assert!(outer.windows(3_000).any(|bytes| bytes == &inner[..3_000]), "{frames:?} is not stored");
        let found = frames.find(&outer[100..]).map(|at| at + 100);
        assert!(found.is_some_and(|at| at.abs_diff(frame) < 100), "{frames:?}: {found:?}");
    }
}

#[test]
fn an_edge_that_is_none_is_an_error_and_never_a_wrong_result() {
    let content = b"a line\n".repeat(20_000);
    for (codec, bytes) in
        [(Codec::Gzip, bgzf(&content, 9_000, 1)), (Codec::Zstd, zstd(&content, 9_000, true))]
    {
        let size = bytes.len() as u64;
        for wrong in (1..size).step_by(41) {
            match read(&bytes, &lines("\n"), codec, &[0, wrong, size]) {
                Ok(found) => assert_eq!(found.len(), 20_000, "{codec:?} {wrong} begins a frame"),
                Err(error) => {
                    let said = format!("{error} {}", error.causes().join(" "));
                    assert!(
                        said.contains("/x is truncated or damaged") && said.contains("splitSize"),
                        "{said}"
                    );
                }
            }
        }
    }
}

#[test]
fn other_gzip_and_one_frame_of_zstd_have_no_frames() {
    let content = noise(400_000, 3);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&content).unwrap();
    assert_eq!(FrameFormat::Bgzf.find(&gzip.finish().unwrap()), None);
    assert_eq!(FrameFormat::Zstd.find(&zstd(&content, content.len(), true)), None);
    let blocks = bgzf(&content, 50_000, 1);
    assert!(FrameFormat::Bgzf.begin(&blocks) && !FrameFormat::Bgzf.begin(&blocks[..60_000]));
    let mut decoded = Vec::new();
    flate2::bufread::MultiGzDecoder::new(&blocks[..]).read_to_end(&mut decoded).unwrap();
    assert!(decoded == content, "the test's own blocks are gzip");
}
