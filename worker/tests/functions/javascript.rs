//! Scripts in JavaScript, scripts that go wrong, and scripts that try to get out.

use mapreduce_worker::error::{Error, ErrorKind};
use mapreduce_worker::job::local::{self, RunProgress};
use serde_json::{Value, json};

use super::scripts::{Language, place};
use crate::common::builtin;

const LANGUAGE: Language = Language("javascript");

fn script(source: &str) -> Value {
    LANGUAGE.script(source)
}

fn map_job(source: &str) -> Value {
    LANGUAGE.map_job(source)
}

fn mapped(text: impl AsRef<[u8]>, source: &str) -> String {
    LANGUAGE.mapped(text, source)
}

fn failure(text: impl AsRef<[u8]>, source: &str) -> Error {
    LANGUAGE.failure(text, source)
}

fn reduced(text: &str, source: &str) -> String {
    LANGUAGE.reduced(text, source)
}

/// What a script that gives an expression's value for each record writes.
fn valued(expression: &str) -> String {
    mapped("x\n", &format!("function map(key, value, emit) {{ emit({expression}, ''); }}"))
}

/// The failure of a map function with this body at one record.
fn failing(body: &str) -> Error {
    failure("x\n", &format!("function map(key, value, emit, counter) {{ {body} }}"))
}

#[test]
fn key_and_value_are_texts_and_the_key_is_the_offset() {
    let source = "function map(key, value, emit) { emit(typeof key + key, value.toUpperCase()); }";
    let expected = "string0\tGRÜN 🦀\nstring11\t\nstring12\tX\nstring15\tY\n";
    assert_eq!(mapped("grün 🦀\n\nx\r\ny", source), expected);
}

#[test]
fn what_is_emitted_is_a_text_or_json() {
    let source = "function map(key, value, emit) {
        emit('text', value);
        emit(1, 2.5);
        emit(true, null);
        emit(['a', 1], {ü: [1, 2], gone: undefined});
        emit(1e21, -0);
        emit(0.1 + 0.2, 10n ** 30n);
        emit(1 / 3, new Date(0));
    }";
    let expected = "text\tx\n1\t2.5\ntrue\tnull\n[\"a\",1]\t{\"ü\":[1,2]}\n1e+21\t0\n\
                    0.30000000000000004\t1000000000000000000000000000000\n\
                    0.3333333333333333\t\"1970-01-01T00:00:00.000Z\"\n";
    assert_eq!(mapped("x\n", source), expected);
}

#[test]
fn a_function_is_found_however_it_is_declared() {
    for source in [
        "function map(key, value, emit) { emit(value, 1); }",
        "const map = (key, value, emit) => emit(value, 1);",
        "let map; map = function (key, value, emit) { emit(value, 1); };",
        "'use strict'; var map = (k, v, emit) => { emit(v, 1); };",
        "globalThis.map = (k, v, emit) => emit(v, 1);",
    ] {
        assert_eq!(mapped("x\n", source), "x\t1\n", "{source}");
    }
}

#[test]
fn what_is_printed_is_no_data() {
    let source = "console.log('loaded', {a: 1}, undefined, new Error('shown'));
        function map(key, value, emit) { print(value); console.error(value); emit(value, ''); }";
    assert_eq!(mapped("a\nb\n", source), "a\t\nb\t\n");
}

#[test]
fn setup_and_teardown_are_called_once_around_all_records() {
    let source = "let seen = 0, state;
        function setup() { state = 'set up'; counter('calls', 'setup'); }
        function map(key, value, emit) { seen += 1; emit(value, state); }
        function teardown(emit) { counter('calls', 'teardown', 5); emit('seen', seen); }";
    let place = place("a\nb\n");
    let done = place.run(map_job(source)).unwrap();
    assert_eq!(place.output_text(), "a\tset up\nb\tset up\nseen\t2\n");
    assert_eq!(
        serde_json::to_value(done.counters.user).unwrap(),
        json!({"calls": {"setup": 1, "teardown": 5}})
    );
}

#[test]
fn values_are_an_iterator_that_need_not_be_read() {
    let text: String = (0..50_000).map(|i| format!("{} v{i}\n", ["a", "b", "c"][i % 3])).collect();
    let source = "let kept;
        function reduce(key, values, emit) {
            if (values[Symbol.iterator]() !== values) throw new Error('no iterator');
            if (kept && !kept.next().done) throw new Error('the values of a key that is over');
            kept = values;
            if (key === 'a') emit(key, values.next().value);
            if (key === 'c') emit(key, values.filter(value => value.startsWith('v')).reduce(n => n + 1, 0));
        }";
    assert_eq!(reduced(&text, source), "a\tv0\nc\t16666\n");
}

#[test]
fn many_small_groups_and_many_pairs_of_one_record() {
    let text: String = (0..30_000).map(|i| format!("{i:05} x\n")).collect();
    let out = reduced(
        &text,
        "function reduce(key, values, emit) { for (const value of values) emit(key, value); }",
    );
    assert_eq!(out.lines().count(), 30_000);
    assert!(out.lines().is_sorted());
    let out = mapped(
        "100000\n",
        "function map(key, value, emit) { for (let i = 0; i < Number(value); i++) emit(i, ''); }",
    );
    let expected: String = (0..100_000).map(|i| format!("{i}\t\n")).collect();
    assert!(out == expected, "100,000 pairs of a record");
}

#[test]
fn an_exception_is_the_authors_with_the_right_lines() {
    let source = "\nfunction parse(value) {\n  return JSON.parse(value).n.toFixed();\n}\n\n\
                  function map(key, value, emit) {\n  emit(parse(value), 1);\n}\n";
    let error = failure("{\"n\": 1}\n{\"m\": 1}\n", source);
    assert_eq!(error.kind(), ErrorKind::Retry);
    assert_eq!(
        error.to_string(),
        "the map script failed: TypeError: cannot read property 'toFixed' of undefined"
    );
    let stack = &error.causes()[1];
    for line in ["at parse (<map script>:3:", "at map (<map script>:7:"] {
        assert!(stack.contains(line), "{line}:\n{stack}");
    }
    assert!(!stack.contains("prelude") && !stack.contains("native"), "our own frames are in it:\n{stack}");
    let record = error.report().record.unwrap();
    assert!(record.url.ends_with("/in/a") && record.offset == 9, "{record:?}");
}

#[test]
fn a_script_that_can_not_be_loaded_is_refused_before_anything_is_touched() {
    for (source, message) in [
        ("function map(key, value {\n}", "SyntaxError"),
        ("\n\nlet a = 1; let a = 2;", "<map script>:3"),
        ("function reduce(key, values) {}", "the script has no function `map`"),
        ("const map = 7;", "the script has no function `map`"),
    ] {
        let error = place("x\n").job(map_job(source)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage, "{source}: {error}");
        assert!(error.to_string().starts_with("spec.map.function: script: "), "{error}");
        assert!(error.to_string().contains(message), "{source}: {error}");
    }
    let reduce = json!({"map": {}, "reduce": script("function map(key, value) {}")});
    let error = place("x\n").job(reduce).unwrap_err();
    assert!(error.to_string().contains("the script has no function `reduce`"), "{error}");
}

#[test]
fn a_pair_that_is_none_is_not_tried_again() {
    for (body, message) in [
        ("emit(undefined, 1)", "a key is a text, a number or another JSON value, not undefined"),
        ("emit('x')", "a value is a text, a number or another JSON value, not undefined"),
        ("emit('x', NaN)", "not NaN"),
        ("emit('x', () => 1)", "not a function"),
        ("emit('x', Symbol('s'))", "not a symbol"),
        ("emit('x', '\\ud800')", "half a character"),
        ("const loop = {}; loop.self = loop; emit('x', loop)", "circular reference"),
        ("return (async () => { emit(1, 1); })()", "a promise"),
        ("return (function* () { yield 1; })()", "a generator"),
        ("return (async function* () { yield 1; })()", "an asynchronous generator"),
        ("emit('x', 1, 'more')", "emit takes a key and a value, and no more"),
        ("emit(['k', 1])", "a value is a text, a number or another JSON value, not undefined"),
        ("emit('x', new Map([[1, 2]]))", "not a value of the type Map"),
        ("emit('x', new Set([1]))", "not a value of the type Set"),
        ("emit('x', [1].values())", "not a value of the type Array Iterator"),
        ("emit('x', new Uint8Array(2))", "not a value of the type Uint8Array"),
        ("emit('x', new Error('e'))", "not an error"),
        ("emit('x', (async () => 1)())", "not a promise"),
        ("emit({get a() { throw new Error('got'); }}, 1)", "Error: got"),
        ("emit({get [Symbol.toStringTag]() { throw new Error('tagged'); }}, 1)", "Error: tagged"),
    ] {
        let error = failing(body);
        assert_eq!(error.kind(), ErrorKind::Permanent, "{body}: {error}");
        assert!(error.to_string().contains(message), "{body}: {error}");
    }
}

#[test]
fn what_a_function_returns_is_refused_and_not_lost() {
    for (returned, what) in [
        ("[[value, 1]]", "an array"),
        ("[]", "an array"),
        ("{key: value}", "an object"),
        ("new Map()", "an object"),
        ("value", "a text"),
        ("''", "a text"),
        ("7", "a number"),
        ("0", "a number"),
        ("1n", "a number"),
        ("true", "a truth value"),
        ("() => 1", "an object"),
    ] {
        let error = failing(&format!("return {returned};"));
        assert_eq!(error.kind(), ErrorKind::Permanent, "{returned}");
        assert!(
            error.to_string().contains(&format!("the map script returned {what}, which nobody takes")),
            "{error}"
        );
        assert!(error.report().record.is_some(), "{error}");
        let place = place("k v\n");
        let mut fields = json!({"reduce": script(&format!("function reduce(key, values) {{ const value = key; return {returned}; }}"))});
        fields["reduce"]["tasks"] = json!(1);
        let error = place.run(fields).unwrap_err();
        assert!(error.to_string().contains(&format!("the reduce script returned {what}")), "{error}");
    }
    for nothing in
        ["return;", "return undefined;", "return null;", "return emit(value, 1);", "return void value;"]
    {
        let source = format!("function map(key, value, emit) {{ {nothing} }}");
        assert!(["", "x\t1\n"].contains(&mapped("x\n", &source).as_str()), "{nothing}");
    }
}

#[test]
fn what_is_left_to_a_promise_is_run_and_may_not_emit() {
    // Those that emit nothing are harmless, and done before the next record.
    let source = "let seen = 0;
        function map(key, value, emit) { emit(value, seen); Promise.resolve().then(() => null).then(() => { seen += 1; }); }";
    assert_eq!(mapped("a\nb\nc\n", source), "a\t0\nb\t1\nc\t2\n");
    for body in [
        "Promise.resolve().then(() => emit(value, 1));",
        "Promise.resolve().then(() => emit(value, 1)).catch(() => 0);",
        "(async () => { await null; emit(value, 1); })();",
        "queueMicrotask(() => { try { emit(value, 1); } catch {} });",
        "new Promise(done => done(1)).finally(() => { try { emit(value, 1); } catch {} });",
    ] {
        let error = failing(body);
        assert_eq!(error.kind(), ErrorKind::Permanent, "{body}: {error}");
        assert!(error.to_string().contains("the map script called emit when no record"), "{body}: {error}");
        let reduce = script(&format!("function reduce(value, values, emit) {{ {body} }}"));
        let error = place("k\n").run(json!({"reduce": reduce})).unwrap_err();
        assert!(
            error.to_string().contains("the reduce script called emit when no record"),
            "{body}: {error}"
        );
    }
    for (source, says) in [
        (
            "function map(k, v, emit) { emit(v, 1); } function teardown(emit) { Promise.resolve().then(() => emit(1, 1)); }",
            "called emit when",
        ),
        (
            "let kept; function map(k, v, emit) { kept = emit; } function setup() { try { emit(1, 1); } catch {} }",
            "not defined",
        ),
        (
            "function map(k, v, emit) { emit(v, 1); } async function setup() { await null; }",
            "setup of the map script returned a promise",
        ),
        ("function map(k, v, emit) { (async () => { throw new RangeError('far'); })(); }", "RangeError: far"),
        (
            "function map(k, v, emit) { Promise.resolve().then(() => { nothing(); }); }",
            "ReferenceError: nothing",
        ),
        ("Promise.reject(new Error('at once')); function map(k, v, emit) {}", "Error: at once"),
    ] {
        let place = place("x\n");
        match place.run(map_job(source)) {
            Ok(_) => assert_eq!(says, "not defined", "{source}"),
            Err(error) => assert!(error.to_string().contains(says), "{source}: {error}"),
        }
    }
    let caught = "function map(k, v, emit) { emit(v, 1); Promise.reject(1).catch(() => 0); (async () => { try { await Promise.reject(2); } catch {} })(); }";
    assert_eq!(mapped("x\n", caught), "x\t1\n");
}

#[test]
fn promises_without_an_end_are_stopped() {
    let mut fields = map_job("function map() { (function again() { Promise.resolve().then(again); })(); }");
    fields["taskTimeoutSeconds"] = json!(1);
    let error = place("x\n").run(fields).unwrap_err();
    assert_eq!(error.to_string(), "the map script made no progress for 1 s and was stopped");
    assert_eq!(error.causes().last().unwrap(), "if it needs longer: raise spec.taskTimeoutSeconds");
}

#[test]
fn a_kept_emit_gives_its_pairs_to_the_call_that_it_is_called_in() {
    let source = "let kept; function map(key, value, emit) { kept ??= emit; kept(value, 1); }";
    assert_eq!(mapped("a\nb\n", source), "a\t1\nb\t1\n");
}

#[test]
fn no_function_is_called_before_a_job_runs() {
    let source = "function setup() { for (;;); } function map() {}";
    let started = std::time::Instant::now();
    place("x\n").job(map_job(source)).unwrap();
    assert!(started.elapsed().as_secs() < 4, "setup was called to check the script");
}

#[test]
fn other_failures_may_pass() {
    for (body, message) in [
        ("nothing()", "ReferenceError: nothing is not defined"),
        ("throw new RangeError('far')", "RangeError: far"),
        ("throw 'a text'", "it threw a text"),
        ("throw {code: 7}", "it threw {\"code\":7}"),
        ("throw null", "it threw null"),
        ("counter('a', 'b', 0.5)", "a counter counts whole numbers"),
    ] {
        let error = failing(body);
        assert_eq!(error.kind(), ErrorKind::Retry, "{body}: {error}");
        assert!(error.to_string().contains(message), "{body}: {error}");
    }
    let error = failure("x\n", "function setup() { throw new Error('no setup'); } function map() {}");
    assert!(error.to_string().contains("no setup"), "{error}");
    let error = failure("x\n", "function map() {} function teardown() { throw new Error('no end'); }");
    assert!(error.to_string().contains("no end"), "{error}");
}

#[test]
fn a_script_at_a_url_works_as_one_in_the_manifest() {
    let place = place("x\n");
    place.write(
        "map.js",
        "function map(key, value, emit) {\n  if (!value) throw new Error('empty');\n  emit(value, 1);\n}\n",
    );
    let fields = json!({
        "map": {"function": {"script": {"language": "javascript", "sourceFrom": {"url": "file:map.js"}}}},
        "retries": 0,
        "output": {"ifExists": "Replace"},
    });
    place.run(fields.clone()).unwrap();
    assert_eq!(place.output_text(), "x\t1\n");
    place.write("in/a", "\n");
    // The run has the same id: its old result would be its own.
    std::fs::remove_dir_all(place.path("out")).unwrap();
    let error = place.run(fields.clone()).unwrap_err();
    assert!(error.causes()[1].contains("file:map.js:2"), "{:?}", error.causes());
    place.write("map.js", "function map(");
    let error = place.run(fields).unwrap_err();
    assert!(error.kind() == ErrorKind::Permanent && error.to_string().contains("SyntaxError"), "{error}");
}

#[test]
fn what_is_no_utf8_is_a_bad_record() {
    let error = failure(b"fine\nb\xffad\nfine\n", "function map(key, value, emit) { emit(value, 1); }");
    let record = error.report().record.unwrap();
    assert_eq!((error.kind(), record.offset), (ErrorKind::Permanent, 5));
    assert!(error.to_string().contains("its value is not valid UTF-8: `b\\xffad`"), "{error}");
    let place = place(b"b\xffad\n");
    let ignore = script("function reduce(key, values) {}");
    let error = place.run(json!({"map": builtin("words"), "reduce": ignore})).unwrap_err();
    assert!(
        error.kind() == ErrorKind::Permanent && error.to_string().contains("a key is not valid UTF-8"),
        "{error}"
    );
}

#[test]
fn there_is_the_language_and_nothing_beside_it() {
    let names = "['require', 'std', 'os', 'fetch', 'process', 'Deno', 'XMLHttpRequest', 'WebSocket', 'Worker', \
                 'setTimeout', 'loadScript', 'scriptArgs'].filter(name => name in globalThis).join()";
    assert_eq!(valued(names), "\t\n");
    for (body, message) in [
        ("require('fs')", "require is not defined"),
        ("std.open('/etc/passwd', 'r')", "std is not defined"),
        ("os.exec(['sh'])", "os is not defined"),
        ("return import('fs')", "a promise"),
        ("return import('/etc/passwd')", "a promise"),
        ("return fetch('http://127.0.0.1')", "fetch is not defined"),
        ("(0, eval)('import * as os from \"os\"')", "SyntaxError"),
        ("new Function('return process')()", "process is not defined"),
        ("emit.constructor('return std')()", "std is not defined"),
    ] {
        let error = failing(body);
        assert!(error.to_string().contains(message), "{body}: {error}");
    }
}

#[test]
fn an_endless_loop_is_stopped_whatever_it_catches() {
    for body in [
        "for (;;);",
        "for (;;) { try { for (;;); } catch {} }",
        "for (;;) { try { for (;;); } finally { continue; } }",
        "/(a+)+$/.test('a'.repeat(40) + 'b')",
        "[1, 2].sort(() => { for (;;); })",
        "({toString() { for (;;); }}) + ''",
        "emit({toJSON() { for (;;); }}, 1)",
    ] {
        let place = place("x\n");
        let mut fields = map_job(&format!("function map(key, value, emit) {{ {body} }}"));
        fields["taskTimeoutSeconds"] = json!(1);
        let error = place.run(fields).unwrap_err();
        assert_eq!(error.to_string(), "the map script made no progress for 1 s and was stopped", "{body}");
    }
}

#[test]
fn a_script_that_emits_makes_progress() {
    let mut fields = map_job(
        "function map(key, value, emit) {
            for (const end = Date.now() + 2500; Date.now() < end;) emit(1, 1);
        }",
    );
    fields["taskTimeoutSeconds"] = json!(1);
    place("x\n").run(fields).unwrap();
}

#[test]
fn memory_and_stack_have_limits() {
    for body in [
        "const kept = []; for (;;) kept.push('x'.repeat(1 << 20) + kept.length);",
        "const kept = []; for (;;) kept.push({});",
        "new ArrayBuffer(1 << 30)",
        "let s = 'x'; for (;;) { s += s; s.charCodeAt(0); }",
    ] {
        let error = failing(body).to_string();
        println!("{body}: {error}");
        assert!(error.contains("more than 256 MiB of memory"), "{body}: {error}");
    }
    for body in [
        "(function deeper() { deeper(); })()",
        "let deep = []; for (let i = 0; i < 1e6; i++) deep = [deep]; emit(deep, 1);",
        "JSON.parse('['.repeat(1e6))",
        "new RegExp('('.repeat(1e6))",
        "new Function('('.repeat(1e6))",
    ] {
        let error = failing(body).to_string();
        println!("{body}: {error}");
        assert!(
            ["stack", "SyntaxError", "memory"].iter().any(|says| error.contains(says)),
            "{body}: {error}"
        );
    }
}

#[test]
fn a_script_that_breaks_what_is_built_in_breaks_itself_alone() {
    let breaks = "Object.prototype.toJSON = () => 'no'; Array.prototype[Symbol.iterator] = null;
        JSON.stringify = null; globalThis.counter = null; globalThis.print = null;
        Object.freeze(globalThis);
        function map(key, value, emit) { emit('kept', 1); }";
    assert_eq!(mapped("x\n", breaks), "kept\t1\n");
    assert_eq!(valued("JSON.stringify([1])"), "[1]\t\n");
}

#[test]
fn a_job_that_is_cancelled_ends_its_scripts() {
    let place = place("x\n");
    let job = place.job(map_job("function map() { for (;;); }")).unwrap();
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
