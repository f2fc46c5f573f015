//! `skipBadRecords`: the job goes on without what is bad, and says what that was.
#![allow(
    clippy::needless_pass_by_value,
    reason = "a table is easier to read when it hands over what it makes"
)]

use mapreduce_worker::error::{Error, ErrorKind};
use mapreduce_worker::job::local::{self, RunProgress};
use mapreduce_worker::task::finish::Success;
use serde_json::{Value, json};

mod common;

use common::{Place, builtin};

/// A job that may leave out so many, with these fields; in one process, or the pods' way.
fn run(place: &Place, max: u64, fields: &Value, as_pods: bool) -> Result<Success, Error> {
    let mut fields = fields.clone();
    fields["skipBadRecords"] = json!({"max": max});
    if fields.get("retries").is_none() {
        fields["retries"] = json!(0);
    }
    if as_pods {
        fields["shuffle"] = json!({"url": "file:shuffle/"});
    }
    place.run(fields)
}

fn place(text: impl AsRef<[u8]>) -> Place {
    let place = Place::new();
    place.write("in/a", text);
    place
}

/// What was left out, by task and in order.
fn rows(place: &Place) -> Vec<Value> {
    let names = place.names("out/_skipped");
    let texts = names.iter().map(|name| place.read(&format!("out/_skipped/{name}")));
    let text: Vec<u8> = texts.flatten().collect();
    text.split(|&b| b == b'\n')
        .filter(|l| !l.is_empty())
        .map(|l| serde_json::from_slice(l).unwrap())
        .collect()
}

/// Runs a job both ways; what it writes, and the rows: those of the input with the offset, the record
/// and a word of the reason.
fn skips(text: impl AsRef<[u8]>, fields: Value, output: &str, expected: &[(Option<u64>, &str, &str)]) {
    for as_pods in [false, true] {
        let place = place(&text);
        let done = run(&place, expected.len() as u64, &fields, as_pods).unwrap();
        assert_eq!(place.output_text(), output, "as pods: {as_pods}");
        let rows = rows(&place);
        assert_eq!(done.counters.skipped_records, expected.len() as u64, "{rows:?}");
        assert_eq!(rows.len(), expected.len(), "{rows:?}");
        for (row, (offset, record, reason)) in rows.iter().zip(expected) {
            let url = row["url"].as_str().is_some_and(|url| url.ends_with("/in/a"));
            assert_eq!((url, row["offset"].as_u64()), (offset.is_some(), *offset), "{row}");
            assert_eq!(row["record"], *record, "{row}");
            assert!(row["reason"].as_str().unwrap().contains(reason), "{row}");
        }
        assert!(place.names("scratch").is_empty() && place.names("shuffle").is_empty());
    }
}

fn script(language: &str, source: &str) -> Value {
    json!({"function": {"script": {"language": language, "source": source}}})
}

#[test]
fn records_that_are_no_json() {
    let fields = json!({
        "input": {"format": {"type": "JsonLines", "jsonLines": {"keyPointer": "/id"}}},
        "output": {"format": {"type": "Lines"}},
    });
    let text = "{\"id\":1}\nnonsense\n{\"no\":2}\n{\"id\":3}\n";
    let rows = [(Some(9), "nonsense", "no JSON"), (Some(18), "{\"no\":2}", "the record has no `/id`")];
    skips(text, fields, "{\"id\":1}\n{\"id\":3}\n", &rows);
}

#[test]
fn rows_with_too_few_fields() {
    let fields = json!({
        "input": {"format": {"type": "Csv", "csv": {"header": true}}},
        "output": {"format": {"type": "Lines"}},
    });
    // Longer than a buffer.
    let wide = format!("\"{}\",,", "w".repeat(600_000));
    let rows = [
        (Some(8), "3", "the row has 1 fields"),
        (Some(10), "\"x\",y,\"\"\"z\"", "the row has 3 fields"),
        (Some(22), &*wide, "the row has 3 fields"),
    ];
    let written = "{\"a\":\"1\",\"b\":\"2\"}\n{\"a\":\"5\",\"b\":\"6\"}\n";
    let text = format!("a,b\n1,2\n3\n{}\n{wide}\r\n5,6\n", rows[1].1);
    skips(text, fields, written, &rows);
}

#[test]
fn lines_that_are_too_long() {
    let long = "x".repeat(300_000);
    let fields = json!({
        "input": {"format": {"type": "Lines", "lines": {"maxRecordBytes": "1Ki"}}},
        "output": {"format": {"type": "Lines"}},
    });
    let text = format!("a\n{}\nb\n{long}\nc", &long[..2000]);
    let place = place(text);
    let done = run(&place, 2, &fields, false).unwrap();
    assert_eq!(place.output_text(), "a\nb\nc\n");
    let rows = rows(&place);
    assert_eq!((done.counters.skipped_records, done.counters.map_input_records), (2, 3));
    assert_eq!((&rows[0]["offset"], &rows[1]["offset"]), (&json!(2), &json!(2005)));
    assert_eq!(rows[0]["record"].as_str().unwrap().len(), 2000);
    assert!(rows[1]["reason"].as_str().unwrap().contains("1024"), "{}", rows[1]["reason"]);
}

#[test]
fn records_that_a_built_in_function_refuses() {
    let args =
        json!({"pattern": "^(\\w+)=(\\d+)$", "key": "${1}", "value": "${2}", "onMismatch": "BadRecord"});
    let fields = json!({
        "map": {"function": {"builtin": {"name": "extract", "args": args}}},
        "combine": builtin("sum"),
        "reduce": {"function": {"builtin": {"name": "sum"}}, "tasks": 1},
    });
    skips("a=1\nb\na=2\n", fields, "a\t3\n", &[(Some(4), "b", "")]);
}

#[test]
fn values_that_are_no_numbers_with_a_combiner_and_without() {
    let input = json!({"format": {"type": "KeyValue", "keyValue": {"separator": " "}}});
    for function in ["sum", "min", "max"] {
        for combine in [false, true] {
            let mut fields = json!({
                "input": input,
                "reduce": {"function": {"builtin": {"name": function}}, "tasks": 1},
            });
            if combine {
                fields["combine"] = builtin(function);
            }
            skips(
                "k 1\nk one\nl 2\nm x\n",
                fields,
                "k\t1\nl\t2\n",
                &[(None, "one", "`k`"), (None, "x", "`m`")],
            );
        }
    }
}

#[test]
fn records_at_which_a_script_fails_and_nothing_of_them_is_kept() {
    let javascript = "function map(key, value, emit) {
        emit(value, 1);
        if (value === 'bad') throw new RangeError('can not take it');
        if (value === 'void') emit('x', undefined);
    }";
    let python = "def map(key, value):\n    yield value, 1\n    if value == 'bad':\n        \
                  raise IndexError('can not take it')\n    if value == 'void':\n        yield 'x', b''\n";
    for (map, void) in
        [(script("javascript", javascript), "not undefined"), (script("python", python), "not b''")]
    {
        let rows = [(Some(5), "bad", "can not take it"), (Some(14), "void", void)];
        skips("good\nbad\ngood\nvoid\n", json!({"map": map}), "good\t1\ngood\t1\n", &rows);
    }
}

#[test]
fn a_record_of_key_and_value_is_told_whole() {
    let input = json!({"format": {"type": "KeyValue", "keyValue": {"separator": " : "}}});
    for map in [
        script("javascript", "function map(k, v, emit) { emit(k, v.length || nothing); }"),
        script("python", "def map(k, v):\n    yield k, len(v) or nothing\n"),
    ] {
        let fields = json!({"input": input, "map": map});
        skips("a : xx\nb : \n", fields, "a\t2\n", &[(Some(7), "b : ", "nothing")]);
    }
}

#[test]
fn what_is_no_utf8_is_told_in_base64() {
    for map in [
        script("javascript", "function map(k, v, emit) { emit(v, 1); }"),
        script("python", "def map(k, v):\n    yield v, 1\n"),
    ] {
        let place = place(b"fine\nb\xffad\nfine\n");
        run(&place, 1, &json!({"map": map}), false).unwrap();
        assert_eq!(place.output_text(), "fine\t1\nfine\t1\n");
        let row = rows(&place).remove(0);
        assert_eq!((&row["recordBase64"], &row["offset"]), (&json!("Yv9hZA=="), &json!(5)));
        assert!(
            row.get("record").is_none() && row["reason"].as_str().unwrap().contains("not valid UTF-8"),
            "{row}"
        );
    }
}

#[test]
fn values_that_a_reduce_function_can_not_be_given() {
    for (reduce, written) in [
        (script("javascript", "function reduce(k, v, emit) { emit(k, [...v].length); }"), "k\t1\n"),
        (script("python", "def reduce(k, v):\n    yield k, len(list(v))\n"), "k\t1\n"),
    ] {
        let place = place(b"k a\nk \xff\n");
        let mut fields = json!({"input": {"format": {"type": "KeyValue", "keyValue": {"separator": " "}}}});
        fields["reduce"] = reduce;
        fields["reduce"]["tasks"] = json!(1);
        run(&place, 1, &fields, false).unwrap();
        assert_eq!(place.output_text(), written);
        assert_eq!(rows(&place)[0]["recordBase64"], "/w==");
    }
    let fields = json!({
        "input": {"format": {"type": "Lines", "lines": {"delimiter": "|"}}},
        "reduce": {"function": {"command": {"shell": "cut -f 2"}}, "tasks": 1},
    });
    skips("a|b\nc|d", fields, "a\t\nd\t\n", &[(None, "b\nc", "a newline")]);
}

#[test]
fn lines_that_a_command_can_not_be_given() {
    let fields = json!({
        "input": {"format": {"type": "Lines", "lines": {"delimiter": "|"}}},
        "map": {"function": {"command": {"shell": "cat"}}},
    });
    skips("a|b\nc|d", fields, "a\t\nd\t\n", &[(Some(2), "b\nc", "a newline")]);
}

#[test]
fn pairs_that_can_not_be_written() {
    let fields = json!({"input": {"format": {"type": "Lines", "lines": {"delimiter": "|"}}}});
    skips("a|b\nc|d", fields.clone(), "0\ta\n6\td\n", &[(Some(2), "b\nc", "newline")]);
    let mut reduced = fields;
    reduced["reduce"] = json!({"function": {"builtin": {"name": "identity"}}, "tasks": 1});
    skips("a|b\nc|d", reduced, "0\ta\n6\td\n", &[(None, "b\nc", "newline")]);
    let map = script("javascript", "function map(k, v, emit) { emit(v, '1\\n2'); emit(v, 3); }");
    skips("a\n", json!({"map": map}), "a\t3\n", &[(None, "1\n2", "newline")]);
}

#[test]
fn a_range_is_cut_by_a_sample_of_what_is_good() {
    let fields = json!({
        "input": {"format": {"type": "JsonLines", "jsonLines": {"keyPointer": "/id"}}},
        "output": {"format": {"type": "Lines"}},
        "reduce": {"function": {"builtin": {"name": "identity"}}, "tasks": 2, "partitioner": {"type": "Range"}},
    });
    skips("{\"id\":2}\n!\n{\"id\":1}\n", fields, "{\"id\":1}\n{\"id\":2}\n", &[(Some(9), "!", "no JSON")]);
}

#[test]
fn one_more_than_the_budget_fails_the_job_and_says_which() {
    let fields = json!({"map": script("javascript", "function map(k, v, emit) { v.x(); }")});
    for as_pods in [false, true] {
        let place = place("a\nb\nc\n");
        let error = run(&place, 2, &fields, as_pods).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Permanent);
        assert_eq!(error.to_string(), "3 bad records or more, and spec.skipBadRecords.max is 2");
        let named: Vec<_> = error.causes().iter().map(|cause| cause.contains("/in/a at byte ")).collect();
        assert_eq!(named, [true; 3], "{:?}", error.causes());
        assert_eq!(error.report().record.unwrap().offset, 4);
        assert!(place.names("out").is_empty() && place.names("shuffle").is_empty(), "something is left");
    }
}

#[test]
fn the_budget_is_the_jobs_and_not_a_tasks() {
    for reduce in [Value::Null, json!({"function": {"builtin": {"name": "identity"}}, "tasks": 2})] {
        for as_pods in [false, true] {
            let place = Place::new();
            // More than one task.
            (0..4).for_each(|i| place.write(&format!("in/{i}"), format!("bad\n{}", "good\n".repeat(30_000))));
            let mut fields = json!({
                "map": script("javascript", "function map(k, v, emit) { if (v === 'bad') v.x(); }"),
                "input": {"splitSize": "64Ki"},
                "taskTimeoutSeconds": 60,
            });
            if !reduce.is_null() {
                fields["reduce"] = reduce.clone();
            }
            let error = run(&place, 3, &fields, as_pods).unwrap_err();
            assert_eq!(error.to_string(), "4 bad records or more, and spec.skipBadRecords.max is 3");
            assert!(place.names("out").is_empty(), "{:?}", place.names("out"));
            let done = run(&place, 4, &fields, as_pods).unwrap();
            assert_eq!(done.counters.skipped_records, 4);
            assert!(place.names("out/_skipped").len() > 1, "there was one task only");
            assert_eq!(rows(&place).len(), 4);
        }
    }
}

#[test]
fn an_attempt_that_fails_has_left_out_nothing() {
    for as_pods in [false, true] {
        let place = place("bad\ngood\n");
        let marker = place.path("marker").display().to_string();
        // Fails where a file is missing, and makes it.
        let source = format!(
            "import os\ndef map(key, value):\n    if value == 'bad':\n        raise KeyError(value)\n    \
             if not os.path.exists('{marker}'):\n        open('{marker}', 'w').close()\n        os._exit(7)\n    \
             yield value, 1\n"
        );
        let fields = json!({"map": script("python", &source), "retries": 1});
        let done = run(&place, 1, &fields, as_pods).unwrap();
        assert_eq!((done.counters.skipped_records, done.counters.failed_tasks), (1, 1));
        assert_eq!(rows(&place).len(), 1);
        assert_eq!(place.names("out"), ["_SUCCESS", "_skipped", "part-00000"]);
    }
}

#[test]
fn a_script_that_hangs_or_can_not_be_loaded_is_no_bad_record() {
    let mut fields =
        json!({"map": script("javascript", "function map() { for (;;); }"), "taskTimeoutSeconds": 1});
    let error = run(&place("a\n"), 9, &fields, false).unwrap_err();
    assert!(error.to_string().contains("made no progress"), "{error}");
    for source in
        ["def map(key, value)\n", "import no_such_module\n", "def map(k, v):\n    raise SystemExit\n"]
    {
        fields["map"] = script("python", source);
        let error = run(&place("a\n"), 9, &fields, false).unwrap_err();
        assert!(error.to_string().starts_with("the map script failed: "), "{error}");
    }
}

#[test]
fn a_result_that_is_replaced_takes_its_skipped_records_with_it() {
    let place = place("bad\n");
    let mut fields = json!({
        "map": script("javascript", "function map(k, v, emit) { if (v === 'bad') v.x(); emit(v, 1); }"),

        "output": {"ifExists": "Replace"},
    });
    run(&place, 1, &fields, false).unwrap();
    assert_eq!(rows(&place).len(), 1);
    place.write("in/a", "good\n");
    fields["skipBadRecords"] = json!({"max": 1});
    let job = place.job_of_run(fields, "run-2").unwrap();
    local::run(&job, &place.resources, &RunProgress::default()).unwrap();
    assert_eq!((place.output_text().as_str(), rows(&place).len()), ("good\t1\n", 0));
}

#[test]
fn counters_of_ones_own_are_no_place_for_data() {
    let count = |names: usize| {
        let place = place("x\n");
        let source = format!(
            "function map(k, v, emit, counter) {{ for (let i = 0; i < {names}; i++) counter('g', i); }}"
        );
        place.run(json!({"map": script("javascript", &source), "retries": 3}))
    };
    assert_eq!(count(120).unwrap().counters.user["g"].len(), 120);
    let error = count(1_000_000).unwrap_err();
    assert_eq!(error.to_string(), "there are more than 120 counters of the functions' own");
}

#[test]
fn all_steps_of_a_job_share_the_budget() {
    let steps = json!([
        {"name": "numbers",
         "map": script("javascript", "function map(k, v, emit) { emit('n', v === 'bad' ? v.x() : v); }"),
         "reduce": {"function": {"builtin": {"name": "identity"}}, "tasks": 1}},
        {"name": "sums", "reduce": {"function": {"builtin": {"name": "sum"}}, "tasks": 1}},
    ]);
    for as_pods in [false, true] {
        let place = place("1\nbad\nx\n2\n");
        let fields = json!({"steps": steps});
        let error = run(&place, 1, &fields, as_pods).unwrap_err();
        assert_eq!(error.to_string(), "step sums: 2 bad records or more, and spec.skipBadRecords.max is 1");
        assert!(place.names("out").is_empty() && place.names("shuffle").is_empty(), "something is left");
        let done = run(&place, 2, &fields, as_pods).unwrap();
        assert_eq!((place.output_text().as_str(), done.counters.skipped_records), ("n\t3\n", 2));
        let records: Vec<_> = rows(&place).into_iter().map(|row| row["record"].clone()).collect();
        assert_eq!(records, ["bad", "x"], "each step's in an object of its own");
    }
}

#[test]
fn the_step_that_has_left_out_too_many_is_named() {
    let steps = json!([
        {"name": "numbers", "reduce": {"function": {"builtin": {"name": "sum"}}, "tasks": 2}},
        {"name": "same", "reduce": {"function": {"builtin": {"name": "identity"}}, "tasks": 1}},
    ]);
    for as_pods in [false, true] {
        let place = place("bad\n1\nx\n2\n");
        let error = run(&place, 1, &json!({"steps": steps}), as_pods).unwrap_err();
        assert_eq!(
            error.to_string(),
            "step numbers: 2 bad records or more, and spec.skipBadRecords.max is 1"
        );
    }
}
