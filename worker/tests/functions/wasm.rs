//! WebAssembly components, those that go wrong, and those that try to get out.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use mapreduce_worker::error::{Error, ErrorKind};
use mapreduce_worker::job::local::{self, RunProgress};
use serde_json::{Value, json};

use super::scripts::place;
use crate::common::{Place, builtin};

/// The function of a component of `tests/guests`, which are built when the first is asked for.
pub(crate) fn component(name: &str) -> Value {
    static BUILT: OnceLock<String> = OnceLock::new();
    let folder = BUILT.get_or_init(|| {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("guests");
        let manifest = "tests/guests/Cargo.toml";
        let build = ["build", "--locked", "--release", "--examples", "--target", "wasm32-wasip2"];
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(build).args(["--manifest-path", manifest, "--target-dir"]).arg(&target);
        let built = cargo.env_remove("RUSTFLAGS").output().unwrap();
        let said = String::from_utf8_lossy(&built.stderr);
        assert!(built.status.success(), "{said}\nThese tests need `rustup target add wasm32-wasip2`.");
        format!("file://{}/wasm32-wasip2/release/examples", target.display())
    });
    json!({"wasm": {"url": format!("{folder}/{name}.wasm")}})
}

/// A map-only job.
fn map_job(name: &str) -> Value {
    json!({"map": {"function": component(name)}, "retries": 0, "taskTimeoutSeconds": 60})
}

fn mapped(text: &str, name: &str) -> String {
    let place = place(text);
    place.run(map_job(name)).unwrap();
    place.output_text()
}

fn failure(text: &str, name: &str) -> Error {
    failure_of(&place(text), map_job(name))
}

fn failure_of(place: &Place, fields: Value) -> Error {
    let error = place.run(fields).unwrap_err();
    assert!(place.names("out").is_empty() && place.names("scratch").is_empty(), "something is left");
    error
}

/// A job that reduces `key value` lines.
fn reduce_job(name: &str) -> Value {
    json!({
        "input": {"format": {"type": "KeyValue", "keyValue": {"separator": " "}}},
        "reduce": {"function": component(name), "tasks": 1},
        "retries": 0,
        "taskTimeoutSeconds": 60,
    })
}

fn reduced(text: &str, name: &str) -> String {
    let place = place(text);
    place.run(reduce_job(name)).unwrap();
    place.output_text()
}

#[test]
fn keys_and_values_are_bytes_and_the_key_is_the_offset() {
    let place = place(b"gr\xffn\n\nx\r\ny");
    place.run(map_job("no_reduce")).unwrap();
    assert_eq!(place.output(), b"0\tgr\xffn\n5\t\n6\tx\n9\ty\n");
}

#[test]
fn many_calls_many_small_groups_and_many_pairs_of_one_record() {
    let text: String = (0..30_000).map(|i| format!("{i:05} x\n")).collect();
    assert_eq!(mapped(&text, "keeps_state"), "records\t30000\n");
    let out = reduced(&text, "no_map");
    assert!(out.lines().count() == 30_000 && out.lines().is_sorted());
    let out = mapped("x\n", "emits_much");
    let expected: String = (0..1_000_000).map(|i| format!("{i}\tx\n")).collect();
    assert!(out == expected, "a million pairs of a record");
}

#[test]
fn values_that_are_not_asked_for_are_passed_over() {
    let text: String = (0..50_000).map(|i| format!("{} v{i}\n", ["a", "b", "c"][i % 3])).collect();
    assert_eq!(reduced(&text, "first"), "a\tv0\nb\tv1\nc\tv2\n");
    assert_eq!(reduced("a 1\na 2\n", "asks_for_values"), "reduce\t0\nteardown\t0\n");
    assert_eq!(mapped("x\n", "asks_for_values"), "map\t0\nteardown\t0\n");
}

#[test]
fn counters_are_the_jobs() {
    let done = place("a b 2\na b 40\na c -1\n").run(map_job("counts")).unwrap();
    assert_eq!(serde_json::to_value(done.counters.user).unwrap(), json!({"a": {"b": 42, "c": -1}}));
}

#[test]
fn a_hash_map_can_be_made() {
    assert_eq!(mapped("x\n", "hashes"), "{\"key\": \"value\"}\t\n");
}

#[test]
fn a_failure_names_the_record_of_many_and_says_why() {
    for (name, message) in [("fails", "can not take bad"), ("traps", "can not take bad")] {
        let error = failure("good\nfine\nbad\ngood\nbad\n", name);
        assert_eq!(error.kind(), ErrorKind::Retry, "{error}");
        assert!(error.to_string().starts_with("the map component failed: "), "{error}");
        assert!(error.to_string().contains(message), "{error}");
        let record = error.report().record.unwrap();
        assert!(record.url.ends_with("/in/a") && record.offset == 10, "{name}: {record:?}");
    }
    let error = failure("bad\n", "traps");
    assert!(
        error.to_string().contains("unreachable") && error.causes().join("\n").contains("    at "),
        "{error:?}"
    );
    for name in ["fails", "traps"] {
        let error = failure_of(&place("good 1\nbad 2\n"), reduce_job(name));
        assert!(error.to_string().contains("can not reduce bad"), "{error}");
    }
    let error = failure("x\n", "fails_at_end");
    assert!(error.to_string().contains("can not end"), "{error}");
}

#[test]
fn bad_records_are_left_out_with_what_was_emitted_of_them() {
    for (name, text) in [("fails", "a\nbad\nhalf bad\nb\n"), ("traps", "a\nbad\nbad\nb\n")] {
        let place = place(text);
        let mut fields = map_job(name);
        fields["skipBadRecords"] = json!({"max": 2});
        let done = place.run(fields.clone()).unwrap();
        assert_eq!(
            (place.output_text().as_str(), done.counters.skipped_records),
            ("a\t1\nb\t1\n", 2),
            "{name}"
        );
        fields["skipBadRecords"] = json!({"max": 1});
        // The run has the same id: its old result would be its own.
        std::fs::remove_dir_all(place.path("out")).unwrap();
        assert!(place.run(fields).is_err(), "{name}: two are more than one");
    }
}

#[test]
fn what_are_no_pairs_is_not_tried_again() {
    assert_eq!(mapped("fine\nnone\n", "bad_ends"), "key\tvalue\n");
    for (record, message) in [
        ("beyond", "a pair that is from 0 to 3 to 9 of 8 bytes"),
        ("far beyond", "a pair that is from 0 to 3 to 4294967295 of 8 bytes"),
        ("descending", "a pair that is from 0 to 8 to 3 of 8 bytes"),
        ("odd", "1 byte strings: a pair is two, a key and its value"),
        ("left over", "8 bytes, of which 7 are of pairs"),
    ] {
        let error = failure(record, "bad_ends");
        assert_eq!(error.kind(), ErrorKind::Permanent, "{record}: {error}");
        let message = format!("the map component called `emit` with {message}");
        assert_eq!(error.to_string(), message, "{record}");
    }
}

#[test]
fn what_is_no_component_of_a_function_is_refused_and_not_tried_again() {
    let place = place("x\n");
    let module = b"\0asm\x01\0\0\0".to_vec();
    let cut = b"\0asm\x0d\0\x01\0\x01\xff".to_vec();
    for (bytes, message) in [
        (module, "is a WebAssembly module and no component"),
        (b"(component)".to_vec(), "is not a WebAssembly component"),
        (Vec::new(), "is not a WebAssembly component"),
        (cut, "can't be compiled"),
        (b"\0asm\x0d\0\x01\0".to_vec(), "has no function `map`"),
    ] {
        place.write("map.wasm", bytes);
        let fields = json!({"map": {"function": {"wasm": {"url": "file:map.wasm"}}}, "retries": 0});
        let error = failure_of(&place, fields);
        assert_eq!(error.kind(), ErrorKind::Permanent, "{message}: {error}");
        assert!(error.to_string().starts_with("file:map.wasm "), "{error}");
        assert!(error.to_string().contains(message), "{message}: {error}");
    }
    let error = failure("x\n", "no_map");
    assert!(error.to_string().ends_with("no_map.wasm has no function `map`"), "{error}");
    let error = failure_of(&self::place("a 1\n"), reduce_job("no_reduce"));
    assert!(error.to_string().ends_with("no_reduce.wasm has no function `reduce`"), "{error}");
    let gone = json!({"map": {"function": {"wasm": {"url": "file:gone.wasm"}}}, "retries": 0});
    let error = failure_of(&place, gone);
    assert_eq!(error.to_string(), "there is no component file:gone.wasm");
    for wasm in [json!({}), json!({"url": "file:x", "configMapKeyRef": {"name": "x", "key": "y"}})] {
        let error = place.job(json!({"map": {"function": {"wasm": wasm}}})).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage, "{error}");
        assert!(error.to_string().contains("exactly one of: url, configMapKeyRef"), "{error}");
    }
}

#[test]
fn there_is_nothing_of_the_system() {
    for (name, called) in [
        ("reads_files", "wasi:"),
        ("reads_environment", "wasi:cli/environment"),
        ("connects", "wasi:"),
        ("reads_clock", "wasi:clocks/wall-clock"),
        ("prints", "wasi:cli/stdout"),
    ] {
        let error = failure("x\n", name);
        println!("{name}: {error}");
        assert_eq!(error.kind(), ErrorKind::Permanent, "{name}: {error}");
        assert!(error.to_string().contains(&format!("unknown import: `{called}")), "{name}: {error}");
        assert!(error.causes().join("\n").contains("no files, network or clock"), "{error}");
    }
    let out = mapped("x\n", "starts_processes");
    assert!(out.contains("Unsupported"), "{out}");
}

#[test]
fn an_endless_loop_is_stopped() {
    for mut fields in [map_job("loops"), reduce_job("loops")] {
        fields["taskTimeoutSeconds"] = json!(1);
        let error = failure_of(&place("x 1\n"), fields);
        assert!(
            error.to_string().ends_with(" component made no progress for 1 s and was stopped"),
            "{error}"
        );
        assert_eq!(error.kind(), ErrorKind::Retry);
    }
}

#[test]
fn memory_and_stack_have_limits() {
    let error = failure("x\n", "hog");
    assert_eq!(error.to_string(), "the map component failed: it needs more than 256 MiB of memory");
    let error = failure("x\n", "recurses");
    assert_eq!(error.to_string(), "the map component failed: it needs more than 1024 KiB of stack");
}

#[test]
fn a_job_that_is_cancelled_ends_its_components() {
    let place = place("x\n");
    let job = place.job(map_job("loops")).unwrap();
    let cancel = job.run().cancel.clone();
    let error = std::thread::scope(|scope| {
        let ran = scope.spawn(|| local::run(&job, &place.resources, &RunProgress::default()));
        // It need not have begun: neither way may it go on for ever.
        std::thread::sleep(std::time::Duration::from_millis(300));
        cancel.cancel();
        ran.join().unwrap().unwrap_err()
    });
    assert_eq!(error.kind(), ErrorKind::Cancelled);
}

#[test]
fn a_component_goes_with_functions_of_other_kinds() {
    let place = place("b a\nb\n");
    let fields = json!({
        "map": {"function": component("word_count")},
        "combine": builtin("sum"),
        "reduce": {"function": {"builtin": {"name": "sum"}}, "tasks": 1},
    });
    place.run(fields).unwrap();
    assert_eq!(place.output_text(), "a\t1\nb\t2\n");
}
