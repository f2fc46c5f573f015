//! Map functions.

use std::process::Command;
use std::sync::Arc;

use mapreduce_api::v1alpha1::Input;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Pairs, functions};
use crate::error::Result;
use crate::function::TaskContext;
use crate::record::block::BlockCodec;
use crate::record::chunk::Chunk;
use crate::record::format::Format;
use crate::record::lines::{Lines, SLACK};
use crate::record::spill_store::SpillStore;
use crate::shuffle::collector::{Collector, MapSideCombine};
use crate::shuffle::merge::Merge;
use crate::shuffle::partition::KeyPartitioner;
use crate::shuffle::run::Spill;
use crate::shuffle::spec::ShuffleSpec;
use crate::shuffle::stream::PairStream as _;

/// What a map function emits for the lines of a text, in byte order; with `sum`, added up.
fn map_lines(builtin: &Value, sum: bool, text: &[u8]) -> Result<Pairs> {
    let dir = tempfile::tempdir().unwrap();
    let spill_store = SpillStore::new(1 << 20, dir.path().to_owned(), BlockCodec::None);
    let mut fields = vec![("map", builtin.clone()), ("reduce", json!("sum"))];
    if sum {
        fields.push(("combine", json!("sum")));
    }
    let made = functions(&fields)?;
    let input: Input = serde_json::from_value(json!({"urls": ["file:x"]})).unwrap();
    let format = Format::new(&input);
    let url = Arc::from("file:///x");
    let padded = [text, &[0; SLACK]].concat();
    let lines = Lines { bytes: &padded[..text.len()], padded: &padded, offset: 0 };
    let chunk = Chunk::new(lines, &format, &url);

    let partitioner = KeyPartitioner::hash(1);
    let context = TaskContext::of_no_job();
    let mut out = Collector::for_shuffle(
        partitioner,
        &ShuffleSpec::default(),
        made.combine.as_ref().map(|combine| MapSideCombine {
            combiner: combine.combiner(&context),
            combine_stats: Some(Arc::default()),
        }),
        1 << 20,
        &spill_store,
        Arc::from("map"),
    );
    let mut mapper = made.map.make(&context);
    let records = mapper.map_chunk(&chunk, &mut out)?;
    assert_eq!(records, chunk.count_lines());
    mapper.finish(&mut out)?;
    let (spills, counters) = out.into_spills()?;
    let mut merge = Merge::new(Spill::runs(&spills, 0).unwrap(), false);
    let mut pairs = Vec::new();
    while merge.advance()? {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        pairs.push((text(merge.key()), text(merge.value())));
    }
    assert!(sum || counters.map_output_records == pairs.len() as u64);
    pairs.sort();
    Ok(pairs)
}

fn map(builtin: &Value, text: &str) -> Pairs {
    map_lines(builtin, false, text.as_bytes()).unwrap()
}

fn pairs(expected: &[(&str, &str)]) -> Pairs {
    expected.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn complaint(builtin: &Value, text: &[u8]) -> String {
    let error = map_lines(builtin, false, text).unwrap_err();
    error.causes().iter().fold(error.to_string(), |said, cause| format!("{said}: {cause}"))
}

fn fields(args: &Value) -> Value {
    json!({"name": "fields", "args": args})
}

#[test]
fn fields_are_those_that_cut_selects() {
    for (args, line, expected) in [
        (json!({}), "a\tb\tc", ("a", "b\tc")),
        (json!({}), "a\t", ("a", "")),
        (json!({}), "no separator", ("no separator", "no separator")),
        (json!({}), "", ("", "")),
        (json!({"key": "2", "value": "1,3-"}), "a\tb\tc\td", ("b", "a\tc\td")),
        (json!({"key": 2, "value": 1}), "a\tb", ("b", "a")),
        (json!({"key": "3,1", "value": "-2"}), "a\tb\tc\td", ("a\tc", "a\tb")),
        (json!({"key": "5", "value": "4-9"}), "a\tb", ("", "")),
        (json!({"key": "1-", "value": "2"}), "a\tb", ("a\tb", "b")),
        (json!({"key": "1", "value": "1-"}), "a", ("a", "a")),
        (json!({"separator": ", "}), "a, b, c", ("a", "b, c")),
        (json!({"separator": ",", "value": "2"}), ",,", ("", "")),
    ] {
        assert_eq!(map(&fields(&args), &format!("{line}\n")), pairs(&[expected]), "{args} of {line:?}");
    }
}

#[test]
fn fields_are_the_same_as_those_of_cut_itself() {
    let lines = "a:b:c:d\nno\n:x\nx:\n:::\na:b\n";
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lines");
    std::fs::write(&path, lines).unwrap();
    for list in ["1", "2", "2-", "-2", "1,3", "3,1", "2-3", "1-2,2-3", "4", "2,4-", "9"] {
        let Ok(cut) = Command::new("cut").args(["-d:", "-f", list]).arg(&path).output() else { return };
        let mut expected: Vec<String> =
            String::from_utf8(cut.stdout).unwrap().lines().map(str::to_owned).collect();
        expected.sort();
        let builtin = fields(&json!({"separator": ":", "key": list, "value": "1"}));
        let got: Vec<String> = map(&builtin, lines).into_iter().map(|(key, _)| key).collect();
        assert_eq!(got, expected, "{list}");
    }
}

#[test]
fn members_of_json_records_are_looked_up_by_column_or_pointer() {
    let rows = "{\"id\":\"7\",\"city\":\"K\\u00f6ln\",\"/x\":\"y\"}\n";
    let csv = |args: Value| json!({"name": "csv", "args": args});
    assert_eq!(map(&csv(json!({"key": "city", "value": "id"})), rows), pairs(&[("Köln", "7")]));
    assert_eq!(map(&csv(json!({"key": "/x"})), rows), pairs(&[("y", rows.trim_end())]));
    assert_eq!(map(&csv(json!({"value": "id"})), rows), pairs(&[("0", "7")]));
    let json = |args: Value| json!({"name": "json", "args": args});
    let text = "{\"user\": {\"id\": 12, \"tags\": [\"a\", null]}, \"n\": 1.50}\n";
    assert_eq!(map(&json(json!({"key": "/user/id", "value": "/n"})), text), pairs(&[("12", "1.50")]));
    assert_eq!(
        map(&json(json!({"key": "/user/tags/0", "value": "/user/tags"})), text),
        pairs(&[("a", "[\"a\", null]")])
    );
    assert_eq!(map(&json(json!({"key": "n", "value": "/user/tags/1"})), text), pairs(&[("1.50", "null")]));
}

#[test]
fn a_record_that_is_no_json_or_has_no_such_member_is_a_bad_record() {
    let builtin = json!({"name": "json", "args": {"key": "/a"}});
    for (text, message) in [
        (&b"{\"a\":1}\n{\"b\":1}\n"[..], "bad record in file:///x at byte 8: the record has no `/a`"),
        (b"{\"a\":1}\nx\n", "at byte 8: no JSON text: expected value at line 1 column 1"),
        (b"{\"a\":1,\"b\":\"\xff\"}\n", "no JSON text: invalid utf-8"),
    ] {
        let said = complaint(&builtin, text);
        assert!(said.contains(message), "{said}");
    }
    assert!(complaint(&builtin, b"x\n").contains("take records of input.format Csv, JsonLines"));
}

const LOG: &str = "\
1.2.3.4 - - [01/Oct/2026:00:00:02 +0000] \"GET /a/b?id=1 HTTP/1.1\" 200 132 \"-\" \"curl\"\n\
not a log line\n\
5.6.7.8 - - [01/Oct/2026:00:00:03 +0000] \"POST /c HTTP/1.1\" 404 - \"-\" \"M\u{f6}zilla\"\n";

#[test]
fn groups_of_a_pattern_are_put_into_templates() {
    let pattern =
        r#"^(\S+) \S+ \S+ \[[^\]]*\] "(?<method>\S+) (?<path>[^ ?"]*)[^"]*" (\d+) (?:(?<bytes>\d+)|-)"#;
    let extract = |key: Value, value: Value| {
        map(&json!({"name": "extract", "args": {"pattern": pattern, "key": key, "value": value}}), LOG)
    };
    assert_eq!(extract(json!("${path}"), json!("${bytes}")), pairs(&[("/a/b", "132"), ("/c", "")]));
    assert_eq!(
        extract(json!("${1} ${method}"), json!("$$${4}$x")),
        pairs(&[("1.2.3.4 GET", "$200$x"), ("5.6.7.8 POST", "$404$x")])
    );
    let all = json!({"name": "extract", "args": {"pattern": "ab(c+)", "key": "${0}", "value": "1"}});
    assert_eq!(map(&all, "xabccabc\n"), pairs(&[("abcc", "1")]));
    let defaults = json!({"name": "extract", "args": {"pattern": "(\\w+)=(?<bytes>\\d+)"}});
    assert_eq!(map(&defaults, "x a=1 b=2\n"), pairs(&[("a", "1")]), "the first match, anywhere");
}

#[test]
fn a_record_without_a_match_is_skipped_or_bad() {
    let strict =
        json!({"name": "extract", "args": {"pattern": "^(\\d)", "value": "1", "onMismatch": "BadRecord"}});
    let said = complaint(&strict, LOG.as_bytes());
    assert_eq!(
        said,
        "bad record in file:///x at byte 85: the pattern of `extract` doesn't match: the record: `not a log line`"
    );
    let lenient =
        json!({"name": "extract", "args": {"pattern": "^(\\d)", "value": "1", "onMismatch": "Skip"}});
    assert_eq!(map(&lenient, LOG), pairs(&[("1", "1"), ("5", "1")]));
}

#[test]
fn count_is_one_for_each_record_under_one_key() {
    assert_eq!(map(&json!("count"), "a\n\nb"), pairs(&[("count", "1"); 3]));
    assert_eq!(map_lines(&json!("count"), true, b"a\n\nb").unwrap(), pairs(&[("count", "3")]));
}

proptest! {
    #[test]
    fn extract_emits_what_the_regex_alone_finds(lines in proptest::collection::vec("[ab0-9 \"é-]{0,12}", 0..6)) {
        let pattern = "([ab]+) \"?(\\d+|-)(b)?";
        let regex = regex::Regex::new(pattern).unwrap();
        let text: String = lines.iter().flat_map(|line| [line, "\n"]).collect();
        let mut expected: Pairs = lines.iter().filter_map(|line| regex.captures(line)).map(|groups| {
            let group = |i| groups.get(i).map_or("", |group| group.as_str());
            (format!("{}{}", group(2), group(3)), group(1).to_owned())
        }).collect();
        expected.sort();
        let builtin = json!({"name": "extract", "args": {"pattern": pattern, "key": "${2}${3}", "value": "${1}"}});
        prop_assert_eq!(map(&builtin, &text), expected);
    }
}
