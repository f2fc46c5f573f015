//! Rows, whatever the sizes of reads.

use std::io::Read;
use std::sync::Arc;

use proptest::prelude::*;

use super::CsvReader;
use crate::error::Result;
use crate::input::source::{ObjectReader, SplitEnd};
use crate::record::chunk::Chunk;
use crate::record::format::Format;

struct Slow(std::io::Cursor<Vec<u8>>, usize);

impl Read for Slow {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let step = buf.len().min(self.1);
        self.0.read(&mut buf[..step])
    }
}

type Found = Vec<(String, String, u64)>;

/// Key, value and offset of each row.
fn rows(text: &[u8], options: &serde_json::Value, step: usize) -> Result<Found> {
    let input: mapreduce_api::v1alpha1::Input = serde_json::from_value(
        serde_json::json!({"urls": ["file:x"], "format": {"type": "Csv", "csv": options}}),
    )
    .unwrap();
    let format = Format::new(&input);
    let crate::record::format::RecordKind::Csv { header, delimiter, key_column } = format.record.clone()
    else {
        panic!("not Csv")
    };
    let content = Box::new(Slow(std::io::Cursor::new(text.to_vec()), step));
    let source = ObjectReader { content, offset: 0, start: 0, end: SplitEnd::new(None) };
    let url = Arc::from("file:///x.csv");
    let mut reader = CsvReader::new(
        source,
        header,
        delimiter,
        key_column,
        format.max_record,
        Arc::clone(&url),
        Vec::new(),
    )?;
    let mut found = Vec::new();
    while let Some((lines, rows)) = reader.next_chunk()? {
        let chunk = Chunk { rows, ..Chunk::new(lines, &format, &url) };
        chunk.each(|record| {
            let mut scratch = Vec::new();
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            found.push((text(record.key.to_bytes(&mut scratch)), text(record.value), record.offset));
            Ok(())
        })?;
    }
    Ok(found)
}

fn found(expected: &[(&str, &str, u64)]) -> Found {
    expected.iter().map(|(key, value, offset)| ((*key).to_owned(), (*value).to_owned(), *offset)).collect()
}

#[test]
fn a_row_is_one_json_object_of_strings_in_the_order_of_the_columns() {
    let text = b"\xef\xbb\xbfid,na\"me,x\r\n1,\"a \"\"b\"\"\r\nc\",\n\n2,\xc3\xa9,\"\"";
    let expected = found(&[
        ("1", r#"{"id":"1","na\"me":"a \"b\"\r\nc","x":""}"#, 15),
        ("2", r#"{"id":"2","na\"me":"é","x":""}"#, 32),
    ]);
    for step in [1, 2, 3, 1000] {
        assert_eq!(rows(text, &serde_json::json!({}), step).unwrap(), expected, "{step}");
    }
    let keys: Vec<_> = rows(text, &serde_json::json!({"keyColumn": "na\"me"}), 9)
        .unwrap()
        .into_iter()
        .map(|row| row.0)
        .collect();
    assert_eq!(keys, ["a \"b\"\r\nc", "é"]);
}

#[test]
fn without_a_header_the_columns_are_numbered() {
    let options = serde_json::json!({"header": false, "delimiter": ";", "keyColumn": "2"});
    let expected = found(&[("b,", r#"{"1":"a","2":"b,"}"#, 0), ("d", r#"{"1":"c","2":"d","3":"e"}"#, 5)]);
    assert_eq!(rows(b"a;b,\nc;d;e\n", &options, 4).unwrap(), expected);
    assert_eq!(rows(b"a\n", &serde_json::json!({"header": false}), 4).unwrap()[0].0, "1");
    for empty in [&b""[..], b"\n\n", b"\xef\xbb\xbf"] {
        assert_eq!(rows(empty, &serde_json::json!({}), 4).unwrap(), []);
        assert_eq!(rows(empty, &serde_json::json!({"header": false}), 4).unwrap(), []);
    }
    assert_eq!(rows(b"a,b\n", &serde_json::json!({}), 4).unwrap(), [], "a header alone");
}

#[test]
fn a_row_that_does_not_fit_the_columns_is_a_bad_record_at_its_offset() {
    for (text, options, message) in [
        (
            &b"a,b\n1,2\n3\n"[..],
            serde_json::json!({}),
            "bad record in file:///x.csv at byte 8: the row has 1 fields, the header has 2",
        ),
        (b"a,b\n1,\xff\n", serde_json::json!({}), "at byte 4: field 2 is not valid UTF-8"),
        (b"a,b\n1,\"2\n", serde_json::json!({}), "at byte 4: a quote is not closed"),
        (b"a,b,a\n", serde_json::json!({}), "file:///x.csv: column `a` is there twice"),
        (b"\xff\n", serde_json::json!({}), "the header is not valid UTF-8"),
        (b"\xff\xfea\0\n\0", serde_json::json!({"header": false}), "file:///x.csv: it is UTF-16: convert it"),
        (b"a,b\n", serde_json::json!({"keyColumn": "c"}), "there is no column `c`: there are a, b"),
        (
            b"1,2\n3\n",
            serde_json::json!({"header": false, "keyColumn": "2"}),
            "at byte 4: the row has no column `2`",
        ),
    ] {
        for step in [1, 100] {
            let said = rows(text, &options, step).unwrap_err().to_string();
            assert!(said.contains(message), "{said}");
        }
    }
    let long = [b"a\n\"", &vec![b'x'; 2 << 20][..], b"\"\n"].concat();
    let said = rows(&long, &serde_json::json!({"maxRecordBytes": "1Mi"}), 100_000).unwrap_err().to_string();
    assert!(said.contains("at byte 2: longer than 1048576 bytes"), "{said}");
}

proptest! {
    #[test]
    fn what_is_written_with_quotes_is_read_again(
        table in proptest::collection::vec(proptest::collection::vec("[a,\"\n\ré ]{0,4}", 3), 0..8),
        step in 1usize..9,
    ) {
        let mut text = b"x,y,z\n".to_vec();
        for row in &table {
            let fields: Vec<_> = row.iter().map(|field| format!("\"{}\"", field.replace('"', "\"\""))).collect();
            text.extend(fields.join(",").into_bytes());
            text.push(b'\n');
        }
        let read = rows(&text, &serde_json::json!({"keyColumn": "y"}), step).unwrap();
        prop_assert_eq!(read.len(), table.len());
        for ((key, value, _), row) in read.iter().zip(&table) {
            let json: serde_json::Value = serde_json::from_str(value).unwrap();
            prop_assert_eq!(key, &row[1]);
            prop_assert_eq!(json, serde_json::json!({"x": row[0], "y": row[1], "z": row[2]}));
        }
    }
}
