//! Every type, whoever wrote it, and damaged objects.

use std::sync::Arc;

use mapreduce_api::v1alpha1::{BinaryColumns, Compression, Storage};
use parquet::basic::Compression as PageCompression;
use parquet::data_type::{
    ByteArray, ByteArrayType, DoubleType, FixedLenByteArray, FixedLenByteArrayType, FloatType, Int32Type,
    Int64Type, Int96, Int96Type,
};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use proptest::prelude::*;

use super::ParquetReader;
use crate::error::Result;
use crate::record::format::ParquetOptions;
use crate::record::split::Codec;
use crate::record::split::Split;
use crate::storage::Stores;

fn table(compression: PageCompression) -> Vec<u8> {
    let schema = parse_message_type("message s { required int64 n; required binary t (STRING); }").unwrap();
    let properties = WriterProperties::builder().set_compression(compression).build();
    let mut file = SerializedFileWriter::new(Vec::new(), schema.into(), properties.into()).unwrap();
    let mut group = file.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<Int64Type>().write_batch(&[1, 2, 3], None, None).unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let texts: Vec<ByteArray> = ["a", "bb", "a"].into_iter().map(ByteArray::from).collect();
    column.typed::<ByteArrayType>().write_batch(&texts, None, None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    file.into_inner().unwrap()
}

/// Rows as JSON; a bad record's reason in place of its row.
fn rows(content: &[u8], key_column: Option<&str>, binary: BinaryColumns) -> Result<Vec<(String, String)>> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x");
    std::fs::write(&path, content).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let cancel = tokio_util::sync::CancellationToken::new();
    let stores = Stores::new(Storage::default(), dir.path(), runtime.handle().clone(), cancel);
    let size = content.len() as u64;
    let split = Split {
        url: format!("file://{}", path.display()),
        version: None,
        size,
        start: 0,
        end: size,
        codec: Codec::None,
    };
    let options = ParquetOptions { columns: Arc::new([]), key_column: key_column.map(Into::into), binary };
    let mut reader = ParquetReader::new(&split, &options, Compression::Auto, &stores)?;
    let mut found = Vec::new();
    while let Some((lines, rows)) = reader.next_chunk()? {
        let text = |(from, to): (usize, usize)| String::from_utf8_lossy(&lines.bytes[from..to]).into_owned();
        for row in rows {
            let key = row.key.map(text).unwrap_or_default();
            found.push((key, row.bad.as_deref().map_or_else(|| text(row.value), str::to_owned)));
        }
    }
    Ok(found)
}

fn read(content: &[u8]) -> Result<Vec<String>> {
    let found = rows(content, None, BinaryColumns::Base64)?;
    Ok(found.into_iter().map(|(_, row)| row).collect())
}

#[test]
fn a_damaged_byte_is_an_error_that_names_the_object_or_changes_a_value_but_ends_nothing() {
    for compression in [PageCompression::UNCOMPRESSED, PageCompression::SNAPPY] {
        let whole = table(compression);
        let expected = [r#"{"n":1,"t":"a"}"#, r#"{"n":2,"t":"bb"}"#, r#"{"n":3,"t":"a"}"#];
        assert_eq!(read(&whole).unwrap(), expected);
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x41;
            if let Err(error) = read(&damaged) {
                assert!(error.to_string().contains("file:///"), "byte {at}: {error}");
            }
        }
    }
}

#[test]
fn any_flipped_bit_of_a_page_with_a_checksum_is_an_error() {
    // Written by pyarrow with `write_page_checksum=True`: our own writer's pages have none.
    let whole = include_bytes!("fixtures/checksums.parquet");
    let pages = [0x1d..0x38, 0x51..0x69];
    assert_eq!(read(whole).unwrap()[1], r#"{"n":2,"t":"bb"}"#);
    for at in pages.into_iter().flatten() {
        for bit in 0..8 {
            let mut flipped = whole.to_vec();
            flipped[at] ^= 1 << bit;
            let said = read(&flipped).expect_err("the flipped bit was not seen").to_string();
            assert!(said.contains("file:///"), "{said}");
        }
    }
}

#[test]
fn a_structure_of_other_types_is_an_error_before_the_library_reads_it() {
    let whole = table(PageCompression::UNCOMPRESSED);
    let footer = whole.len() - 8;
    let length = u32::from_le_bytes(whole[footer..footer + 4].try_into().unwrap());
    for (at, place) in [(4, "page header"), (footer - length as usize, "footer")] {
        let mut damaged = whole.clone();
        assert_eq!(damaged[at], 0x15, "a number in field 1");
        damaged[at] = 0x19;
        let said = read(&damaged).unwrap_err().causes().concat();
        assert!(said.contains(&format!("field 1 of the {place} is of type 9")), "{said}");
    }
}

#[test]
fn every_type_is_read_as_pyarrow_reads_it_whoever_wrote_the_file() {
    // Made by make.py beside them.
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/input/parquet/fixtures");
    let mut files = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "jsonl") {
            let expected = std::fs::read_to_string(&path).unwrap();
            let found = read(&std::fs::read(path.with_extension("parquet")).unwrap()).unwrap();
            for (row, (found, expected)) in found.iter().zip(expected.lines()).enumerate() {
                assert_eq!(found, expected, "row {row} of {}", path.display());
            }
            assert_eq!(found.len(), expected.lines().count(), "{}", path.display());
            files += 1;
        }
    }
    assert!(files >= 9, "{files}");
}

/// Values of some rows for each column of values, as they are stored.
enum Stored {
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Int96(Vec<Int96>),
    Float(Vec<f32>),
    Double(Vec<f64>),
    Bytes(Vec<ByteArray>),
    Fixed(Vec<FixedLenByteArray>),
}

/// A file of required columns.
fn file(columns: &[(&str, Stored)]) -> Vec<u8> {
    let field = |(i, (kind, _)): (usize, &(&str, Stored))| {
        format!("required {};", kind.replace('@', &format!("c{i}")))
    };
    let fields = columns.iter().enumerate().map(field).collect::<Vec<_>>().concat();
    let schema = parse_message_type(&format!("message s {{ {fields} }}")).unwrap();
    let mut file = SerializedFileWriter::new(Vec::new(), schema.into(), Arc::default()).unwrap();
    let mut group = file.next_row_group().unwrap();
    for (_, stored) in columns {
        let mut column = group.next_column().unwrap().unwrap();
        match stored {
            Stored::Int32(values) => column.typed::<Int32Type>().write_batch(values, None, None),
            Stored::Int64(values) => column.typed::<Int64Type>().write_batch(values, None, None),
            Stored::Int96(values) => column.typed::<Int96Type>().write_batch(values, None, None),
            Stored::Float(values) => column.typed::<FloatType>().write_batch(values, None, None),
            Stored::Double(values) => column.typed::<DoubleType>().write_batch(values, None, None),
            Stored::Bytes(values) => column.typed::<ByteArrayType>().write_batch(values, None, None),
            Stored::Fixed(values) => column.typed::<FixedLenByteArrayType>().write_batch(values, None, None),
        }
        .unwrap();
        column.close().unwrap();
    }
    group.close().unwrap();
    file.into_inner().unwrap()
}

fn bytes(values: &[&[u8]]) -> Stored {
    Stored::Bytes(values.iter().map(|value| ByteArray::from(value.to_vec())).collect())
}

#[test]
fn types_that_pyarrow_does_not_write_are_read_by_their_old_names_too() {
    let content = file(&[
        ("binary @ (ENUM)", bytes(&[b"A"])),
        ("binary @ (BSON)", bytes(&[b"\x05\0\0\0\0"])),
        ("binary @ (JSON)", bytes(&[b"{\"a\":1}"])),
        ("binary @ (UTF8)", bytes(&["é".as_bytes()])),
        ("binary @ (DECIMAL(40,3))", bytes(&[&[0xff, 0x85]])),
        (
            "fixed_len_byte_array(12) @ (INTERVAL)",
            Stored::Fixed(vec![vec![1, 0, 0, 0, 2, 0, 0, 0, 0xbc, 0xb, 0, 0].into()]),
        ),
        ("int64 @ (TIMESTAMP_MILLIS)", Stored::Int64(vec![1_600_000_000_123])),
        ("int64 @ (TIMESTAMP_MICROS)", Stored::Int64(vec![-1])),
        ("int64 @ (TIME_MICROS)", Stored::Int64(vec![1])),
        ("int32 @ (TIME_MILLIS)", Stored::Int32(vec![86_399_999])),
        ("int32 @ (UINT_32)", Stored::Int32(vec![-1])),
        ("int64 @ (UINT_64)", Stored::Int64(vec![-1])),
        ("int32 @ (INT_8)", Stored::Int32(vec![-8])),
    ]);
    let expected = r#"{"c0":"A","c1":"BQAAAAA=","c2":"{\"a\":1}","c3":"é","c4":-0.123,"c5":"P1M2DT3.004S","#
        .to_owned()
        + r#""c6":"2020-09-13T12:26:40.123Z","c7":"1969-12-31T23:59:59.999999Z","c8":"00:00:00.000001","#
        + r#""c9":"23:59:59.999","c10":4294967295,"c11":18446744073709551615,"c12":-8}"#;
    assert_eq!(read(&content).unwrap(), [expected]);
}

#[test]
fn a_value_that_is_no_text_or_no_time_is_a_bad_record_and_the_rest_of_the_file_is_read() {
    let content = file(&[
        ("int32 @", Stored::Int32(vec![1, 2, 3])),
        ("binary @ (STRING)", bytes(&[b"a", b"b\xff", b"c"])),
        ("int32 @ (TIME(MILLIS,false))", Stored::Int32(vec![0, 0, -1])),
    ]);
    let found = read(&content).unwrap();
    assert_eq!(found[0], r#"{"c0":1,"c1":"a","c2":"00:00:00"}"#);
    assert!(found[1].starts_with("column `c1`: its text is not valid UTF-8: invalid utf-8"), "{}", found[1]);
    assert_eq!(found[2], "column `c2`: -1 is not a time of day");
}

#[test]
fn a_key_is_the_text_of_a_string_and_the_json_of_others() {
    let content = file(&[
        ("binary @ (STRING)", bytes(&[b"a\"b"])),
        ("int32 @ (DATE)", Stored::Int32(vec![0])),
        ("int32 @ (DECIMAL(5,2))", Stored::Int32(vec![150])),
        ("binary @", bytes(&[b"\xff"])),
    ]);
    for (column, key) in [("c0", "a\"b"), ("c1", "1970-01-01"), ("c2", "1.50"), ("c3", "/w==")] {
        let found = rows(&content, Some(column), BinaryColumns::Base64).unwrap();
        assert_eq!(
            found[0],
            (key.to_owned(), r#"{"c0":"a\"b","c1":"1970-01-01","c2":1.50,"c3":"/w=="}"#.to_owned())
        );
    }
}

#[test]
fn binary_columns_are_an_error_where_the_manifest_says_so() {
    let content = file(&[("int32 @", Stored::Int32(vec![1])), ("binary @", bytes(&[b"a"]))]);
    let error = rows(&content, None, BinaryColumns::Error).unwrap_err();
    assert!(error.to_string().ends_with("x: the column `c1` holds bytes that are not text"), "{error}");
    let content = file(&[("binary @ (STRING)", bytes(&[b"a"]))]);
    assert!(rows(&content, None, BinaryColumns::Error).is_ok());
}

#[test]
fn groups_deeper_than_any_real_ones_and_counts_that_are_impossible_are_errors() {
    let deep = |depth: usize| {
        let (open, close) = ("required group g { ".repeat(depth), " }".repeat(depth));
        let schema =
            parse_message_type(&format!("message s {{ {open} required int32 n; {close} }}")).unwrap();
        let file = SerializedFileWriter::new(Vec::new(), schema.into(), Arc::default()).unwrap();
        file.into_inner().unwrap()
    };
    assert!(read(&deep(99)).unwrap().is_empty());
    let error = read(&deep(200)).unwrap_err();
    assert!(error.causes().concat().contains("more than 100 groups one in the other"), "{error:?}");
}

#[test]
fn what_is_encrypted_is_said_to_be_and_not_called_damaged() {
    let encrypted = [
        include_bytes!("fixtures/encrypted.bin").as_slice(),
        include_bytes!("fixtures/encrypted_columns.bin"),
    ];
    for content in encrypted {
        let error = read(content).unwrap_err().to_string();
        assert!(error.ends_with("x can't be read: it is encrypted, or a column of it"), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn every_row_of_every_type_is_a_json_text_or_a_bad_record(
        ints in proptest::collection::vec(prop_oneof![any::<i64>(), -100i64..100, Just(i64::MIN), Just(i64::MAX)], 5),
        floats in proptest::collection::vec(any::<f64>(), 5),
        raw in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 5),
        texts in proptest::collection::vec(".{0,9}", 5),
        scale in 0u32..9,
    ) {
        let int32 = || Stored::Int32(ints.iter().map(|n| *n as i32).collect());
        let int64 = || Stored::Int64(ints.clone());
        let binary = || Stored::Bytes(raw.iter().cloned().map(ByteArray::from).collect());
        let text = || Stored::Bytes(texts.iter().map(|text| ByteArray::from(&**text)).collect());
        let fixed = |length: usize| {
            Stored::Fixed(raw.iter().map(|raw| raw.iter().copied().cycle().chain([7; 99]).take(length).collect::<Vec<u8>>().into()).collect())
        };
        let decimal = |kind: &str, precision: u32| format!("{kind} @ (DECIMAL({precision},{scale}))");
        let int96 = Stored::Int96(ints.iter().map(|n| Int96::from(vec![*n as u32, (*n >> 32) as u32, *n as u32])).collect());
        let mut columns: Vec<(String, Stored)> = vec![
            ("int32 @".into(), int32()), ("int64 @".into(), int64()), ("int96 @".into(), int96),
            ("float @".into(), Stored::Float(floats.iter().map(|f| *f as f32).collect())),
            ("double @".into(), Stored::Double(floats.clone())),
            ("binary @".into(), binary()), ("binary @ (BSON)".into(), binary()),
            ("binary @ (STRING)".into(), text()), ("binary @ (ENUM)".into(), text()), ("binary @ (JSON)".into(), text()),
            (decimal("int32", 9), int32()), (decimal("int64", 18), int64()), (decimal("binary", 90), binary()),
            (decimal("fixed_len_byte_array(16)", 38), fixed(16)), (decimal("fixed_len_byte_array(5)", 11), fixed(5)),
            (decimal("fixed_len_byte_array(32)", 76), fixed(32)),
            ("fixed_len_byte_array(16) @ (UUID)".into(), fixed(16)), ("fixed_len_byte_array(2) @ (FLOAT16)".into(), fixed(2)),
            ("fixed_len_byte_array(12) @ (INTERVAL)".into(), fixed(12)), ("fixed_len_byte_array(3) @".into(), fixed(3)),
            ("int32 @ (DATE)".into(), int32()),
            ("int64 @ (TIMESTAMP(MILLIS,true))".into(), int64()), ("int64 @ (TIMESTAMP(MICROS,false))".into(), int64()),
            ("int64 @ (TIMESTAMP(NANOS,true))".into(), int64()),
            ("int32 @ (INTEGER(8,true))".into(), int32()), ("int32 @ (INTEGER(32,false))".into(), int32()),
            ("int64 @ (INTEGER(64,false))".into(), int64()),
        ];
        let columns: Vec<(&str, Stored)> =
            columns.iter_mut().map(|(kind, stored)| (&**kind, std::mem::replace(stored, bytes(&[])))).collect();
        let found = read(&file(&columns)).unwrap();
        prop_assert_eq!(found.len(), 5);
        for row in found {
            prop_assert!(crate::record::json::check(&row).is_ok(), "{}", row);
        }
        let times = file(&[("int64 @ (TIME(NANOS,true))", int64()), ("int32 @ (TIME(MILLIS,false))", int32())]);
        for row in read(&times).unwrap() {
            prop_assert!(crate::record::json::check(&row).is_ok() || row.ends_with("is not a time of day"), "{}", row);
        }
    }
}
