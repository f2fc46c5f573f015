//! Damaged objects.

use mapreduce_api::v1alpha1::{Compression, Storage};
use parquet::basic::Compression as PageCompression;
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use super::ParquetReader;
use crate::error::Result;
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

/// Rows as JSON.
fn read(content: &[u8]) -> Result<Vec<String>> {
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
    let mut reader = ParquetReader::new(&split, &[], Some("n"), Compression::Auto, &stores)?;
    let mut found = Vec::new();
    while let Some((lines, rows)) = reader.next_chunk()? {
        for row in rows {
            found.push(String::from_utf8_lossy(&lines.bytes[row.value.0..row.value.1]).into_owned());
        }
    }
    Ok(found)
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
    let whole = include_bytes!("checksums.parquet");
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
