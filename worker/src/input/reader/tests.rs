//! Each format read from files, whole and in splits.

use mapreduce_api::v1alpha1::{Input, Storage};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::Reader;
use crate::error::Result;
use crate::record::format::Format;
use crate::record::split::Codec;
use crate::record::split::Split;
use crate::storage::Stores;

type Found = Vec<(Vec<u8>, Vec<u8>, u64)>;

/// Key, value and offset of the records of a file in splits.
fn read_splits(content: &[u8], format: &Value, cuts: &[u64]) -> Result<Found> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x");
    std::fs::write(&path, content).unwrap();
    let input: Input = serde_json::from_value(json!({"urls": ["file:x"], "format": format})).unwrap();
    let format = Format::new(&input);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let stores = Stores::new(
        Storage::default(),
        dir.path(),
        runtime.handle().clone(),
        tokio_util::sync::CancellationToken::new(),
    );
    let size = content.len() as u64;
    let mut edges: Vec<u64> = cuts.iter().map(|&cut| cut.min(size)).chain([0, size]).collect();
    edges.sort_unstable();
    edges.dedup();
    let mut found = Vec::new();
    let mut buffer = Vec::new();
    for edges in edges.windows(2) {
        let url = format!("file://{}", path.display());
        let split = Split { url, version: None, size, start: edges[0], end: edges[1], codec: Codec::None };
        let mut reader = Reader::open(&split, &format, input.compression, &stores, buffer)?;
        while let Some(chunk) = reader.next_chunk()? {
            let count = chunk.each(|record| {
                let mut scratch = Vec::new();
                let key = record.key.to_bytes(&mut scratch).to_vec();
                found.push((key, record.value.to_vec(), record.offset));
                Ok(())
            })?;
            assert!(count <= found.len() as u64);
        }
        buffer = reader.into_buffer();
    }
    Ok(found)
}

fn read(content: &[u8], format: &Value) -> Result<Vec<(String, String)>> {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ok(read_splits(content, format, &[])?
        .into_iter()
        .map(|(key, value, _)| (text(key), text(value)))
        .collect())
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn fixed(record: usize, key: usize) -> Value {
    json!({"type": "FixedLength", "fixedLength": {"recordBytes": record, "keyBytes": key}})
}

#[test]
fn a_record_of_fixed_length_is_its_first_bytes_and_the_rest() {
    assert_eq!(read(b"k1v\nk2v\n", &fixed(4, 2)).unwrap(), pairs(&[("k1", "v\n"), ("k2", "v\n")]));
    assert_eq!(read(b"abc", &fixed(3, 0)).unwrap(), pairs(&[("", "abc")]));
    assert_eq!(read(b"abc", &fixed(3, 3)).unwrap(), pairs(&[("abc", "")]));
    let records = read(&[b'x'; 300], &json!({"type": "FixedLength"})).unwrap();
    assert_eq!(records.len(), 3, "100 and 10 bytes unless said otherwise");
    assert_eq!(records[0].0.len(), 10);
}

#[test]
fn bytes_left_over_at_the_end_are_an_error_with_their_number() {
    let error = read(&[b'x'; 207], &fixed(100, 10)).unwrap_err();
    assert!(error.to_string().starts_with("7 bytes are left over at the end of file:///"), "{error}");
    assert!(read_splits(&[b'x'; 207], &fixed(100, 10), &[100, 200]).is_err());
}

#[test]
fn a_json_line_is_a_record_with_a_member_or_its_offset_as_key() {
    let text = b"{\"u\": {\"id\": \"a\\n\"}}\r\n\n  \n{\"u\":{\"id\":[1, 2]}}";
    assert_eq!(
        read(text, &json!({"type": "JsonLines", "jsonLines": {"keyPointer": "/u/id"}})).unwrap(),
        pairs(&[("a\n", "{\"u\": {\"id\": \"a\\n\"}}"), ("[1, 2]", "{\"u\":{\"id\":[1, 2]}}")])
    );
    assert_eq!(
        read(b"1\n\"x\"\n", &json!({"type": "JsonLines"})).unwrap(),
        pairs(&[("0", "1"), ("2", "\"x\"")])
    );
    let marked = b"\xef\xbb\xbf{\"a\":1}\n2\n";
    assert_eq!(
        read(marked, &json!({"type": "JsonLines"})).unwrap(),
        pairs(&[("0", "{\"a\":1}"), ("11", "2")])
    );
    let deep = ["[".repeat(200_000), "]".repeat(200_000)].concat();
    let found = read(deep.as_bytes(), &json!({"type": "JsonLines"})).unwrap();
    assert_eq!(found[0].1.len(), deep.len(), "however deep, it takes no stack");
}

#[test]
fn a_line_that_is_no_json_is_a_bad_record_at_its_offset() {
    for (text, options, message) in [
        (&b"1\n{\"a\":}\n"[..], json!({}), "at byte 2: no JSON: expected value"),
        (b"1\n\"\xff\"\n", json!({}), "at byte 2: invalid utf-8"),
        (b"\xff\xfe1\0\n\0", json!({}), "at byte 0: it is UTF-16: convert it to UTF-8"),
        (b"1\n\xef\xbb\xbf2\n", json!({}), "at byte 2: no JSON"),
        (b"{\"a\":1} x\n", json!({}), "at byte 0: no JSON: trailing characters"),
        (b"{\"a\":1}\n{\"b\":1}\n", json!({"keyPointer": "/a"}), "at byte 8: the record has no `/a`"),
        (b"{\"a\":\"\\ud800\"}\n", json!({"keyPointer": "/a"}), "at byte 0: no JSON"),
    ] {
        let said = read(text, &json!({"type": "JsonLines", "jsonLines": options})).unwrap_err().to_string();
        assert!(said.contains("bad record in file:///") && said.contains(message), "{said}");
    }
}

#[test]
fn a_whole_file_is_one_record_under_its_url() {
    let records = read(b"a\nb\n", &json!({"type": "WholeFile"})).unwrap();
    assert_eq!(records.len(), 1);
    assert!(records[0].0.starts_with("file:///") && records[0].0.ends_with("/x"), "{}", records[0].0);
    assert_eq!(records[0].1, "a\nb\n");
    let error = read(&vec![b'x'; (64 << 20) + 1], &json!({"type": "WholeFile"})).unwrap_err().to_string();
    assert!(error.contains("at byte 0: longer than 67108864 bytes"), "{error}");
    let large = vec![b'x'; 3 << 20];
    assert_eq!(read(&large, &json!({"type": "WholeFile"})).unwrap()[0].1.len(), 3 << 20);
}

#[test]
fn compressed_objects_have_the_records_of_their_content() {
    let rows = zstd::encode_all(&b"a,b\n1,2\n"[..], 1).unwrap();
    assert_eq!(read(&rows, &json!({"type": "Csv"})).unwrap(), pairs(&[("1", "{\"a\":\"1\",\"b\":\"2\"}")]));
    let records = zstd::encode_all(&b"k1v1k2v2"[..], 1).unwrap();
    assert_eq!(read(&records, &fixed(4, 2)).unwrap(), pairs(&[("k1", "v1"), ("k2", "v2")]));
    let file = zstd::encode_all(&b"text"[..], 1).unwrap();
    assert_eq!(read(&file, &json!({"type": "WholeFile"})).unwrap()[0].1, "text");
}

#[test]
fn a_format_says_whether_and_where_it_can_be_cut() {
    let format = |format: Value| {
        let input: Input = serde_json::from_value(json!({"urls": ["file:x"], "format": format})).unwrap();
        Format::new(&input)
    };
    assert_eq!(format(fixed(12, 2)).align(), 12);
    for (kind, can_be_split) in [
        ("Lines", true),
        ("KeyValue", true),
        ("FixedLength", true),
        ("JsonLines", true),
        ("Csv", false),
        ("WholeFile", false),
    ] {
        assert_eq!(format(json!({"type": kind})).can_be_split(), can_be_split, "{kind}");
    }
    assert!(!format(json!({"type": "Lines", "lines": {"delimiter": "aa"}})).can_be_split());
}

proptest! {
    #[test]
    fn every_record_is_read_once_wherever_the_cuts_fall(
        record in 1usize..9,
        count in 0usize..30,
        cuts in proptest::collection::vec(0u64..200, 0..6),
        large in any::<bool>(),
    ) {
        let record = if large { record * 40_000 } else { record };
        let cuts: Vec<u64> = cuts.iter().map(|cut| if large { cut * 40_000 } else { *cut }).collect();
        let content: Vec<u8> = (0..record * count).map(|i| (i / record) as u8).collect();
        let found = read_splits(&content, &fixed(record, 1), &cuts).unwrap();
        prop_assert_eq!(found.len(), count);
        for (i, (key, value, offset)) in found.iter().enumerate() {
            prop_assert_eq!(*offset, (i * record) as u64);
            prop_assert!(*key == [i as u8] && value.iter().all(|byte| *byte == i as u8));
        }
    }

    #[test]
    fn json_lines_are_read_once_wherever_the_cuts_fall(
        members in proptest::collection::vec(0u32..2000, 0..20),
        cuts in proptest::collection::vec(0u64..200, 0..6),
    ) {
        let content: String = members.iter().flat_map(|n| [format!("{{\"n\":{n}}}"), "\n".into()]).collect();
        let format = json!({"type": "JsonLines", "jsonLines": {"keyPointer": "/n"}});
        let found = read_splits(content.as_bytes(), &format, &cuts).unwrap();
        let keys: Vec<String> = found.into_iter().map(|(key, ..)| String::from_utf8(key).unwrap()).collect();
        prop_assert_eq!(keys, members.iter().map(u32::to_string).collect::<Vec<_>>());
    }
}
