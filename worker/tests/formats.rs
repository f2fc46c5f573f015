//! Every format of the contract, from objects to parts and back again.
#![allow(
    clippy::needless_pass_by_value,
    reason = "a table is easier to read when it hands over what it makes"
)]

mod common;
#[path = "formats/compressed.rs"]
mod compressed;
#[path = "formats/divisions.rs"]
mod divisions;

use bytes::Bytes;
use common::{Place, builtin};
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use serde_json::{Value, json};

/// What a map-only job leaves of a file: its part's name and content.
fn convert(name: &str, content: &[u8], input: &Value, output: &Value) -> (String, Vec<u8>) {
    let place = Place::new();
    place.write(&format!("in/{name}"), content);
    place.run(json!({"input": input, "reduce": {"tasks": 0}, "output": output})).unwrap();
    let names = place.names("out");
    assert_eq!(names.len(), 2, "a part and _SUCCESS: {names:?}");
    let part = names.into_iter().find(|name| name.starts_with("part-")).unwrap();
    let content = place.read(&format!("out/{part}"));
    (part, content)
}

fn format(kind: &str) -> Value {
    json!({"format": {"type": kind}})
}

#[test]
fn parts_have_the_extensions_of_format_and_compression() {
    for (kind, extension) in [
        ("KeyValue", ""),
        ("Lines", ".txt"),
        ("FixedLength", ".bin"),
        ("Csv", ".csv"),
        ("JsonLines", ".jsonl"),
    ] {
        for (compression, suffix) in
            [("None", ""), ("Gzip", ".gz"), ("Bzip2", ".bz2"), ("Zstd", ".zst"), ("Lz4", ".lz4")]
        {
            let output = json!({"format": {"type": kind}, "compression": compression});
            let (part, content) = convert("a", b"k\tv\n", &format("KeyValue"), &output);
            assert_eq!(part, format!("part-00000{extension}{suffix}"));
            // What is written is read again, the compression told by the first bytes.
            let read = if kind == "Parquet" { kind } else { "Lines" };
            let (_, again) = convert(&part, &content, &format(read), &format("Lines"));
            let expected: &[u8] = match kind {
                "KeyValue" => b"k\tv\n",
                "Lines" => b"v\n",
                "FixedLength" => b"kv\n",
                "Csv" => b"key,value\nk,v\n",
                _ => b"{\"key\":\"k\",\"value\":\"v\"}\n",
            };
            assert_eq!(again, expected, "{kind} {compression}");
        }
    }
}

#[test]
fn rows_and_json_lines_go_through_a_job_by_column_and_pointer() {
    let place = Place::new();
    place.write("in/a.csv", "city,n\n\"Köln, DE\",1\nUlm,2\n");
    place.write("in/b.csv", "n,city\n5,Ulm\n");
    let done = place
        .run(json!({
            "input": {"format": {"type": "Csv"}},
            "map": {"function": {"builtin": {"name": "csv", "args": {"key": "city", "value": "n"}}}},
            "reduce": {"function": {"builtin": {"name": "sum"}}, "tasks": 1},
            "output": {"format": {"type": "JsonLines"}},
        }))
        .unwrap();
    assert_eq!(place.output_text(), "{\"key\":\"Köln, DE\",\"value\":1}\n{\"key\":\"Ulm\",\"value\":7}\n");
    assert_eq!(done.counters.map_input_records, 3, "a header is not a record");

    let place = Place::new();
    place.write("in/a", "{\"u\":{\"id\":7},\"t\":[1]}\n\n{\"u\":{\"id\":8},\"t\":\"x\"}\n");
    place
        .run(json!({
            "input": {"format": {"type": "JsonLines", "jsonLines": {"keyPointer": "/u/id"}}, "splitSize": 5},
            "map": {"function": {"builtin": {"name": "json", "args": {"value": "/t"}}}},
            "reduce": {"function": {"builtin": {"name": "identity"}}, "tasks": 1},
            "output": {"format": {"type": "Csv"}},
        }))
        .unwrap();
    assert_eq!(place.output_text(), "key,value\n7,[1]\n8,x\n");
}

#[test]
fn records_of_fixed_length_are_sorted_and_written_as_they_were() {
    let mut records: Vec<[u8; 6]> = (0..5000u32)
        .map(|i| [(i * 7919 % 251) as u8, (i % 256) as u8, (i >> 8) as u8, b'\n', 0, 255])
        .collect();
    for split in [7, 100, 1 << 20] {
        let place = Place::new();
        place.write("in/a", records.concat());
        let fixed = json!({"type": "FixedLength", "fixedLength": {"recordBytes": 6, "keyBytes": 3}});
        let done = place
            .run(json!({
                "input": {"format": fixed, "splitSize": split},
                "reduce": {"function": {"builtin": {"name": "identity"}}, "tasks": 1},
                "output": {"format": {"type": "FixedLength"}},
            }))
            .unwrap();
        assert_eq!(done.counters.map_input_records, 5000);
        assert_eq!(done.counters.input_bytes, 30_000, "a split begins where a record does");
        records.sort_unstable();
        assert!(place.output() == records.concat(), "{split}");
    }
    let place = Place::new();
    place.write("in/a", vec![0; 105]);
    let error = place.run(json!({"input": format("FixedLength"), "reduce": {"tasks": 0}})).unwrap_err();
    let said = format!("{error} {}", error.causes().join(" "));
    assert!(said.contains("5 bytes are left over at the end of file://"), "{said}");
    assert!(place.names("out").is_empty());
}

#[test]
fn a_whole_file_goes_by_its_url() {
    let place = Place::new();
    place.write("in/a", "x y\nx\n");
    place.write("in/b", "");
    place
        .run(json!({
            "input": format("WholeFile"),
            "reduce": {"function": {"builtin": {"name": "identity"}}, "tasks": 1},
            "output": {"format": {"type": "JsonLines"}},
        }))
        .unwrap();
    let url = format!("file://{}", place.path("in/a").display());
    assert_eq!(place.output_text(), format!("{{\"key\":\"{url}\",\"value\":\"x y\\nx\\n\"}}\n"));
}

#[test]
fn what_is_written_as_parquet_is_read_again_by_column_and_in_splits() {
    let lines: String =
        (0..5000).flat_map(|i| [format!("k{:03}\t{i} \"é\"", i % 1000), "\n".into()]).collect();
    let place = Place::new();
    place.write("in/a", &lines);
    let done = place
        .run(json!({
            "input": format("KeyValue"),
            "reduce": {"function": {"builtin": {"name": "identity"}}, "tasks": 2},
            "output": {"format": {"type": "Parquet"}},
        }))
        .unwrap();
    assert_eq!(done.counters.reduce_output_records, 5000);
    assert_eq!(place.names("out"), ["_SUCCESS", "part-00000.parquet", "part-00001.parquet"]);
    let parts: Vec<Vec<u8>> =
        ["part-00000", "part-00001"].iter().map(|part| place.read(&format!("out/{part}.parquet"))).collect();
    let mut expected: Vec<String> = lines.lines().map(str::to_owned).collect();
    expected.sort();
    for split in [100, 1 << 30] {
        let place = Place::new();
        for (i, part) in parts.iter().enumerate() {
            place.write(&format!("in/{i}"), part);
        }
        let parquet = json!({"type": "Parquet", "parquet": {"keyColumn": "key"}});
        place
            .run(json!({
                "input": {"format": parquet, "splitSize": split},
                "map": {"function": {"builtin": {"name": "csv", "args": {"key": "key", "value": "value"}}}},
                "reduce": {"tasks": 0},
            }))
            .unwrap();
        let mut found: Vec<String> = place.output_text().lines().map(str::to_owned).collect();
        found.sort();
        assert!(found == expected, "{split}");
    }
    for (options, pair) in [
        (json!({"columns": ["value"]}), "1\t{\"value\":\"0 \\\"é\\\"\"}"),
        (json!({"columns": ["value", "key"]}), "1\t{\"value\":\"0 \\\"é\\\"\",\"key\":\"k000\"}"),
        (json!({"columns": ["key"], "keyColumn": "value"}), "0 \"é\"\t{\"key\":\"k000\"}"),
    ] {
        let place = Place::new();
        place.write("in/0", if parts[0].len() > parts[1].len() { &parts[0] } else { &parts[1] });
        let input = json!({"format": {"type": "Parquet", "parquet": options}});
        place.run(json!({"input": input, "reduce": {"tasks": 0}})).unwrap();
        let text = place.output_text();
        if text.contains("k000") || text.contains("\"0 ") {
            assert!(text.lines().any(|line| line == pair), "{pair}: {}", text.lines().next().unwrap());
        }
    }
}

#[test]
fn what_is_written_as_parquet_may_be_nothing_or_several_row_groups() {
    let input = json!({"format": {"type": "Parquet", "parquet": {"columns": ["value"], "keyColumn": "key"}}});
    let place = Place::new();
    place.write("in/a", "");
    let mut identity = builtin("identity");
    identity["tasks"] = json!(1);
    place.run(json!({"reduce": identity, "output": format("Parquet")})).unwrap();
    assert_eq!(convert("a", &place.read("out/part-00000.parquet"), &input, &json!({})).1, b"");
    // 40 MiB of values that compress well: a group has 32 MiB.
    let value = "é".repeat(1 << 19);
    let lines: Vec<String> = (0..40).map(|i| format!("k{i}\t{value}\n")).collect();
    let (_, several) = convert("a", lines.concat().as_bytes(), &format("KeyValue"), &format("Parquet"));
    let written = SerializedFileReader::new(Bytes::from(several.clone())).unwrap();
    let rows: Vec<i64> = written.metadata().row_groups().iter().map(RowGroupMetaData::num_rows).collect();
    assert_eq!((rows.len(), rows.iter().sum()), (2, 40), "{rows:?}");
    let (_, read) = convert("a", &several, &input, &json!({}));
    let expected: Vec<String> = (0..40).map(|i| format!("k{i}\t{{\"value\":\"{value}\"}}\n")).collect();
    assert!(read == expected.concat().as_bytes());
}

#[test]
fn bytes_that_are_no_text_are_a_bad_record_of_parquet_csv_and_json_output() {
    for kind in ["Parquet", "Csv", "JsonLines"] {
        let place = Place::new();
        place.write("in/a", b"good\t1\nbad\t\xff\n");
        let fields = |max: u32| {
            json!({
                "input": format("KeyValue"), "reduce": {"tasks": 0}, "output": format(kind),
                "skipBadRecords": {"max": max},
            })
        };
        let error = place.run(fields(0)).unwrap_err();
        assert!(error.to_string().contains("the pair `bad` → `\\xff` is not valid UTF-8"), "{kind}: {error}");
        let remedy = error.causes().concat();
        assert!(remedy.contains("as KeyValue") && !remedy.contains("JsonLines"), "{kind}: {remedy}");
        let done = place.run(fields(1)).unwrap();
        assert_eq!((done.counters.skipped_records, done.outputs[0].records), (1, 1), "{kind}");
    }
}

#[test]
fn output_of_a_fixed_length_is_keys_and_values_whatever_their_lengths() {
    let content = b"kk\tv\nk\t\n\tvv\xff\n";
    assert_eq!(convert("a", content, &format("KeyValue"), &format("FixedLength")).1, b"kkvkvv\xff");
    // It can be read again where all are of one length.
    let fixed = json!({"format": {"type": "FixedLength", "fixedLength": {"recordBytes": 3, "keyBytes": 1}}});
    let (_, written) = convert("a", b"a\t\n\0\nb\tcd", &fixed, &format("FixedLength"));
    assert_eq!(written, b"a\t\n\0\nb\tcd");
}

#[test]
fn parquet_that_is_damaged_or_has_no_such_column_is_an_error_that_names_the_object() {
    let (_, part) = convert("a", b"k\tv\n", &format("KeyValue"), &format("Parquet"));
    let run = |content: &[u8], options: Value| {
        let place = Place::new();
        place.write("in/a", content);
        let input = json!({"format": {"type": "Parquet", "parquet": options}});
        let error = place.run(json!({"input": input, "reduce": {"tasks": 0}})).unwrap_err();
        assert!(place.names("out").is_empty());
        format!("{error} {}", error.causes().join(" "))
    };
    for cut in [1, 8, 20, part.len() - 4] {
        let said = run(&part[..part.len() - cut], json!({}));
        assert!(said.contains("in/a is damaged Parquet data"), "{cut}: {said}");
    }
    let said = run(&part, json!({"columns": ["x"]}));
    assert!(said.contains("in/a: there is no column `x`: there are key, value"), "{said}");
}

#[test]
fn a_map_over_no_reduce_keeps_its_function() {
    let place = Place::new();
    place.write("in/a", "a,1\nb,2\n");
    let fields = json!({"name": "fields", "args": {"separator": ",", "key": "2", "value": "1"}});
    place.run(json!({"map": {"function": {"builtin": fields}}, "reduce": {"tasks": 0}})).unwrap();
    assert_eq!(place.output_text(), "1\ta\n2\tb\n");
    let place = Place::new();
    place.write("in/a", "x\n\ny");
    let mut reduce = builtin("sum");
    reduce["tasks"] = json!(1);
    place.run(json!({"map": builtin("count"), "combine": builtin("sum"), "reduce": reduce})).unwrap();
    assert_eq!(place.output_text(), "count\t3\n");
}

#[test]
fn a_record_that_is_too_long_names_the_setting_of_its_format_and_that_setting_helps() {
    let long = "x".repeat(5000);
    for (kind, options, content) in [
        ("Lines", "lines", format!("a\n{long}\n")),
        ("KeyValue", "keyValue", format!("a\t1\n{long}\t2\n")),
        ("Csv", "csv", format!("a,b\n1,{long}\n")),
        ("JsonLines", "jsonLines", format!("1\n\"{long}\"\n")),
        ("WholeFile", "wholeFile", long.clone()),
    ] {
        let run = |most: &str| {
            let place = Place::new();
            place.write("in/a", &content);
            let input = json!({"format": {"type": kind, options: {"maxRecordBytes": most}}});
            place.run(json!({"input": input, "reduce": {"tasks": 0}, "output": format("JsonLines")}))
        };
        let error = run("4Ki").unwrap_err().to_string();
        let setting = format!("longer than 4096 bytes: raise input.format.{options}.maxRecordBytes");
        assert!(error.contains(&setting), "{kind}: {error}");
        assert!(run("8Ki").unwrap().counters.map_output_records > 0, "{kind}");
    }
}
