//! Compressed objects: cut at their frames, bad records in them, and what expands without end.

use mapreduce_worker::job::local::{self, RunProgress};
use mapreduce_worker::plan::{self, Sampling};
use serde_json::json;

use super::common::{Place, builtin};

/// A gzip member of bgzf.
fn bgzf_block(content: &[u8]) -> Vec<u8> {
    let mut deflated = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut deflated, content).unwrap();
    let deflated = deflated.finish().unwrap();
    let mut crc = flate2::Crc::new();
    crc.update(content);
    let head = [0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255, 6, 0, b'B', b'C', 2, 0];
    let size = u16::try_from(deflated.len() + 25).unwrap().to_le_bytes();
    let ends = [crc.sum().to_le_bytes(), (content.len() as u32).to_le_bytes()].concat();
    [&head[..], &size, &deflated, &ends].concat()
}

#[test]
fn compressed_objects_are_cut_at_their_frames_and_counted_as_whole_ones_are() {
    let text: String =
        (0..100_000u32).flat_map(|n| [n.wrapping_mul(2_654_435_761).to_string(), " x\n".into()]).collect();
    let frames = text.as_bytes().chunks(50_000);
    let objects: [(&str, Vec<u8>); 2] = [
        ("x.gz", frames.clone().flat_map(bgzf_block).collect()),
        ("x.zst", frames.flat_map(|frame| zstd::encode_all(frame, 1).unwrap()).collect()),
    ];
    for (name, bytes) in objects {
        let run = |split: u64, map: &str| {
            let place = Place::new();
            place.write(&format!("in/{name}"), &bytes);
            let reduce = json!({"function": {"builtin": {"name": "count"}}, "tasks": 1});
            let fields = json!({"input": {"splitSize": split}, "map": builtin(map), "reduce": reduce});
            let job = place.job(fields).unwrap();
            let planned = plan::for_pods(job.step(), None, Sampling::Take).unwrap();
            let done = local::run(&job, &place.resources, &RunProgress::default()).unwrap();
            assert_eq!(done.counters.map_input_records, 100_000, "{name} {split}");
            assert_eq!(done.counters.input_bytes, bytes.len() as u64);
            let whys: Vec<String> = planned.unsplit.into_iter().map(|unsplit| unsplit.why).collect();
            (place.output(), planned.tasks.len(), whys)
        };
        let (whole, tasks, _) = run(1 << 30, "words");
        assert_eq!(tasks, 1);
        for split in [100_000, 333_333] {
            let (output, tasks, whys) = run(split, "words");
            assert!(output == whole && whys.is_empty(), "{name} {split}: {whys:?}");
            assert!(tasks > 1, "{name} {split}: {tasks} splits");
        }
        // Its keys are offsets: they show only from the object's beginning.
        let (_, tasks, whys) = run(100_000, "identity");
        assert_eq!(tasks, 1);
        assert!(whys[0].contains("the map function takes its offsets"), "{whys:?}");
    }
}

#[test]
fn a_bad_record_of_a_part_of_a_compressed_object_is_named_by_its_offset_in_the_content() {
    let mut text = b"{\"n\": 12345}\n".repeat(60_000);
    text[13 * 55_000 + 5] = b'!';
    let noise: Vec<u8> =
        (0..text.len() as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    // Noise is skipped; it keeps the frames from becoming very small.
    let skipped =
        |frame: &[u8]| [&[0x50, 0x2a, 0x4d, 0x18][..], &(frame.len() as u32).to_le_bytes(), frame].concat();
    let bytes: Vec<u8> = text
        .chunks(50_000)
        .zip(noise.chunks(50_000))
        .flat_map(|(frame, noise)| [zstd::encode_all(frame, 1).unwrap(), skipped(noise)].concat())
        .collect();
    let place = Place::new();
    place.write("in/x.zst", &bytes);
    let json = json!({"function": {"builtin": {"name": "json", "args": {"key": "/n"}}}});
    let error = place
        .run(json!({"input": {"format": {"type": "JsonLines"}, "splitSize": 100_000}, "map": json,
                    "reduce": {"function": {"builtin": {"name": "count"}}}}))
        .unwrap_err();
    assert_eq!(error.report().record.unwrap().offset, 13 * 55_000, "{error}");
    assert!(error.to_string().contains(&format!("at byte {}:", 13 * 55_000)), "{error}");
}

#[test]
fn what_expands_without_end_costs_no_memory() {
    let zeros = || std::io::Read::take(std::io::repeat(b'0'), 16 << 20);
    let mut gzip = flate2::read::GzEncoder::new(zeros(), flate2::Compression::fast());
    let mut bzip2 = bzip2::read::BzEncoder::new(zeros(), bzip2::Compression::fast());
    let mut bombs =
        vec![("x.zst", zstd::encode_all(zeros(), 1).unwrap()), ("x.gz", Vec::new()), ("x.bz2", Vec::new())];
    std::io::copy(&mut gzip, &mut bombs[1].1).unwrap();
    std::io::copy(&mut bzip2, &mut bombs[2].1).unwrap();
    for (name, bomb) in bombs {
        let place = Place::new();
        place.write(&format!("in/{name}"), bomb);
        let format = json!({"type": "Lines", "lines": {"maxRecordBytes": "1Mi"}});
        let error = place.run(json!({"input": {"format": format}, "reduce": {"tasks": 0}})).unwrap_err();
        assert!(error.to_string().contains("at byte 0: longer than 1048576 bytes"), "{name}: {error}");
    }
    // A frame whose decoder would need 4 GiB.
    let place = Place::new();
    place.write("in/x.zst", [0x28, 0xb5, 0x2f, 0xfd, 0, 22 << 3, 1, 0, 0]);
    let error = place.run(json!({"reduce": {"tasks": 0}})).unwrap_err();
    assert!(error.to_string().contains("x.zst is zstd data with a window of more than 2 GiB"), "{error}");
}
