//! Scripts in Python, and scripts that go wrong.

use mapreduce_worker::error::{Error, ErrorKind};
use serde_json::{Value, json};

use super::scripts::{Language, place};
use crate::common::builtin;

const LANGUAGE: Language = Language("python");

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

#[test]
fn key_and_value_are_texts_and_the_key_is_the_offset() {
    let source = "def map(key, value):\n    yield type(key).__name__ + key, value.upper()\n";
    assert_eq!(mapped("grün\n\nx\r\ny", source), "str0\tGRÜN\nstr6\t\nstr7\tX\nstr10\tY\n");
}

#[test]
fn what_is_emitted_is_a_text_or_json() {
    let source = "def map(key, value):\n    yield 'text', value\n    yield 1, 2.5\n    yield True, None\n    \
                  yield ['a', 1], {'ü': [1, 2]}\n    yield 10 ** 30, -0\n";
    let expected =
        "text\tx\n1\t2.5\ntrue\tnull\n[\"a\",1]\t{\"ü\":[1,2]}\n1000000000000000000000000000000\t0\n";
    assert_eq!(mapped("x\n", source), expected);
}

#[test]
fn pairs_are_yielded_or_returned_or_there_are_none() {
    for body in ["yield value, 1", "return [(value, 1)]", "return [[value, 1]]", "return iter([(value, 1)])"]
    {
        assert_eq!(mapped("x\n", &format!("def map(key, value):\n    {body}\n")), "x\t1\n", "{body}");
    }
    assert_eq!(mapped("x\n", "def map(key, value):\n    pass\n"), "");
}

#[test]
fn a_newline_in_a_text_survives_the_pipe() {
    let place = place("x\n");
    let source = "def map(key, value):\n    yield 'a\\nb', ''\n    yield '', '\\n'\n";
    let mut fields = map_job(source);
    fields["reduce"] = script("def reduce(key, values):\n    yield repr(key), repr(list(values))\n");
    fields["reduce"]["tasks"] = json!(1);
    place.run(fields).unwrap();
    assert_eq!(place.output_text(), "''\t['\\n']\n'a\\nb'\t['']\n");
}

#[test]
fn what_is_printed_is_no_data() {
    let source = "import os, sys\nprint('loaded')\ndef map(key, value):\n    print(value)\n    \
                  os.system('echo from a child')\n    sys.stdout.write('x')\n    yield value, sys.stdin.read()\n";
    assert_eq!(mapped("a\nb\n", source), "a\t\nb\t\n");
}

#[test]
fn setup_and_teardown_are_called_once_around_all_records() {
    let source = "state = []\ndef setup():\n    state.append('set up')\n    counter('calls', 'setup')\n\
                  def map(key, value):\n    yield value, state[0]\n\
                  def teardown():\n    counter('calls', 'teardown', 5)\n    yield 'end', len(state)\n";
    let place = place("a\nb\n");
    let done = place.run(map_job(source)).unwrap();
    assert_eq!(place.output_text(), "a\tset up\nb\tset up\nend\t1\n");
    assert_eq!(
        serde_json::to_value(done.counters.user).unwrap(),
        json!({"calls": {"setup": 1, "teardown": 5}})
    );
}

#[test]
fn values_are_an_iterator_that_need_not_be_read() {
    let text: String = (0..50_000).map(|i| format!("{} v{i}\n", ["a", "b", "c"][i % 3])).collect();
    // Groups of more than a batch: one isn't looked at, one only at its first value.
    let source = "def reduce(key, values):\n    assert iter(values) is values\n    if key == 'a':\n        \
                  yield key, next(values)\n    if key == 'c':\n        yield key, sum(1 for value in values)\n";
    assert_eq!(reduced(&text, source), "a\tv0\nc\t16666\n");
}

#[test]
fn many_small_groups_and_many_pairs_of_one_record() {
    let text: String = (0..30_000).map(|i| format!("{i:05} x\n")).collect();
    let out =
        reduced(&text, "def reduce(key, values):\n    for value in values:\n        yield key, value\n");
    assert_eq!(out.lines().count(), 30_000);
    assert!(out.lines().is_sorted());
    let out =
        mapped("100000\n", "def map(key, value):\n    for i in range(int(value)):\n        yield i, ''\n");
    let expected: String = (0..100_000).map(|i| format!("{i}\t\n")).collect();
    assert!(out == expected, "100,000 pairs of a record");
}

#[test]
fn a_traceback_is_the_authors_with_the_right_lines() {
    let source = "import json\n\ndef parse(value):\n    return json.loads(value)['n']\n\n\
                  def map(key, value):\n    yield parse(value), 1\n";
    let error = failure("{\"n\": 1}\n{\"m\": 1}\n", source);
    assert_eq!(error.kind(), ErrorKind::Retry);
    assert_eq!(error.to_string(), "the map script failed: KeyError: 'n'");
    let trace = &error.causes()[1];
    for line in [
        "Traceback",
        "File \"<map script>\", line 7, in map",
        "line 4, in parse",
        "return json.loads(value)['n']",
    ] {
        assert!(trace.contains(line), "{line}:\n{trace}");
    }
    assert!(!trace.contains("<string>") && !trace.contains("in take"), "our own frames are in it:\n{trace}");
    let record = error.report().record.unwrap();
    assert!(record.url.ends_with("/in/a") && record.offset == 9, "{record:?}");
}

#[test]
fn an_exception_is_named_by_its_own_line_and_may_hold_anything() {
    for (raised, said) in [
        ("ValueError('line 1\\nHint: line 2')", "ValueError: line 1"),
        ("ValueError('no \\ud800')", "ValueError: no \\ud800"),
        ("KeyError", "KeyError"),
    ] {
        let error = failure("bad\tone\n", &format!("def map(key, value):\n    raise {raised}\n"));
        assert_eq!(error.to_string(), format!("the map script failed: {said}"));
        let causes = error.causes();
        assert!(causes[0].ends_with("/in/a at byte 0: `bad\\tone`"), "{causes:?}");
        assert!(causes[1].starts_with("Traceback"), "{causes:?}");
    }
    let error = failure("x\n", "def map(key, value):\n    raise ValueError('z' * 1000000)\n");
    assert!(error.to_string().len() < 5000 && error.causes()[1].len() < 70_000);
}

#[test]
fn a_counter_has_64_bits_and_any_name() {
    let source = "def map(key, value):\n    counter('\\ud800', 'n', 2 ** 70)\n    counter('\\ud800', 'n', 1)\n    yield 'ok', 1\n";
    assert_eq!(mapped("x\n", source), "ok\t1\n");
}

#[test]
fn a_script_that_can_not_work_is_not_tried_again() {
    for (source, message) in [
        ("def map(key, value)\n    yield 1\n", "SyntaxError"),
        ("def reduce(key, values):\n    yield 1\n", "the script has no function `map`"),
        ("def map(key, value):\n    yield 'word'\n", "`map` has to yield pairs (key, value), not 'word'"),
        ("def map(key, value):\n    return key, value\n", "has to yield pairs (key, value), not '0'"),
        ("def map(key, value):\n    return 7\n", "has to yield pairs (key, value), not 7"),
        ("def map(key, value):\n    yield 1, 2, 3\n", "has to yield pairs (key, value), not (1, 2, 3)"),
        ("def map(key, value):\n    yield key, b'bytes'\n", "not b'bytes'"),
        ("def map(key, value):\n    yield key, float('nan')\n", "not nan"),
        ("def map(key, value):\n    yield key, '\\ud800'\n", "can't be written as UTF-8"),
    ] {
        let error = failure("x\n", source);
        assert_eq!(error.kind(), ErrorKind::Permanent, "{source}: {error}");
        assert!(error.to_string().contains(message), "{source}: {error}");
    }
    let error = failure("x\n", "def map(key, value)\n    yield 1\n");
    assert!(error.causes()[0].contains("line 1"), "{:?}", error.causes());
}

#[test]
fn other_failures_may_pass() {
    for (source, message) in [
        ("import no_such_module\n", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("def map(key):\n    yield key, 1\n", "TypeError"),
        ("import sys\ndef map(key, value):\n    sys.exit(3)\n", "SystemExit: 3"),
        ("import os\ndef map(key, value):\n    os._exit(3)\n", "exited with code 3"),
        ("import os\ndef map(key, value):\n    os._exit(0)\n", "ended before all records were processed"),
        ("import os, signal\ndef map(key, value):\n    os.kill(os.getpid(), signal.SIGSEGV)\n", "SIGSEGV"),
        (
            "def setup():\n    raise KeyError('no setup')\ndef map(key, value):\n    pass\n",
            "KeyError: 'no setup'",
        ),
        ("def map(key, value):\n    pass\ndef teardown():\n    1 / 0\n", "ZeroDivisionError"),
    ] {
        let error = failure("x\n", source);
        assert_eq!(error.kind(), ErrorKind::Retry, "{source}: {error}");
        assert!(error.to_string().contains(message), "{source}: {error} {:?}", error.causes());
    }
}

#[test]
fn a_script_that_hangs_is_killed() {
    let place = place("x\n");
    let mut fields = map_job("import time\ndef map(key, value):\n    time.sleep(1000)\n");
    fields["taskTimeoutSeconds"] = json!(1);
    let error = place.run(fields).unwrap_err();
    assert_eq!(error.to_string(), "the map script made no progress for 1 s and was killed");
    let remedy = "raise spec.taskTimeoutSeconds, or report with `print(\"reporter:status:…\")`";
    assert!(error.causes_text().contains(remedy), "{:?}", error.causes());
    let mut fields = map_job(
        "import time\ndef map(key, value):\n    for i in range(5):\n        time.sleep(0.4)\n        \
         print('reporter:status:at it')\n    yield value, 1\n",
    );
    fields["taskTimeoutSeconds"] = json!(1);
    place.run(fields).unwrap();
}

#[test]
fn a_remedy_for_a_script_names_nothing_that_a_script_has_not() {
    for (code, is_told) in [(127, false), (126, false), (137, true)] {
        let error = failure("x\n", &format!("import os\ndef map(key, value):\n    os._exit({code})\n"));
        assert_eq!(error.to_string(), format!("the map script exited with code {code}"));
        assert_eq!(!error.causes().is_empty(), is_told, "{code}: {:?}", error.causes());
    }
}

#[test]
fn what_is_no_utf8_is_a_bad_record() {
    let error = failure(b"fine\nb\xffad\nfine\n", "def map(key, value):\n    yield value, 1\n");
    let record = error.report().record.unwrap();
    assert_eq!((error.kind(), record.offset), (ErrorKind::Permanent, 5));
    assert!(error.to_string().contains("its value is not valid UTF-8: `b\\xffad`"), "{error}");
    let place = place(b"b\xffad\n");
    let error =
        place.run(json!({"map": builtin("words"), "reduce": script("def reduce(k, v):\n    pass\n")}));
    let error = error.unwrap_err();
    assert!(
        error.kind() == ErrorKind::Permanent && error.to_string().contains("a key is not valid UTF-8"),
        "{error}"
    );
}

#[test]
fn the_environment_of_a_script_is_a_list_of_what_is_allowed() {
    let source = "import os\ndef map(key, value):\n    for name in os.environ:\n        yield name, ''\n";
    let found = mapped("x\n", source);
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some(), "there is something to leak");
    assert!(!found.contains("CARGO_MANIFEST_DIR") && found.contains("mapreduce_task_id"), "{found}");
}

#[test]
fn a_script_at_a_url_works_as_one_in_the_manifest() {
    let place = place("x\n");
    place.write("scripts/map.py", "def map(key, value):\n    yield value, 1 if value else 1 / 0\n");
    let fields = json!({
        "map": {"function": {"script": {"language": "python", "sourceFrom": {"url": "file:scripts/map.py"}}}},
        "retries": 0,
        "output": {"ifExists": "Replace"},
    });
    place.run(fields.clone()).unwrap();
    assert_eq!(place.output_text(), "x\t1\n");
    place.write("in/a", "\n");
    // The run has the same id: its old result would be its own.
    std::fs::remove_dir_all(place.path("out")).unwrap();
    let error = place.run(fields.clone()).unwrap_err();
    assert!(error.causes()[1].contains("file:scripts/map.py\", line 2"), "{:?}", error.causes());
    std::fs::remove_file(place.path("scripts/map.py")).unwrap();
    let error = place.run(fields).unwrap_err();
    assert_eq!(
        (error.to_string().as_str(), error.kind()),
        ("there is no script file:scripts/map.py", ErrorKind::Permanent)
    );
}

#[test]
fn a_forked_process_that_comes_back_from_the_function_is_an_error_and_says_nothing() {
    const FORK: &str = "import os\ndef map(key, value):\n";
    for (source, says) in [
        (format!("{FORK}    os.fork()\n    yield value, 1\n"), "came back from its function"),
        (format!("{FORK}    yield value, 1\n    os.fork()\n"), "came back from its function"),
        (format!("{FORK}    os.fork()\n    return [(value, 1)]\n"), "came back from its function"),
        (format!("{FORK}    os.fork()\n"), "came back from its function"),
        (
            format!("{FORK}    if os.fork() == 0: raise ValueError('child')\n    yield value, 1\n"),
            "came back",
        ),
        (format!("import os\nos.fork()\n{FORK}    yield value, 1\n"), "came back from its function"),
        (
            format!("{FORK}    yield value, 1\ndef teardown():\n    os.fork()\n    yield 'end', 1\n"),
            "came back",
        ),
    ] {
        let error = failure("a\nb\nc\n", &source);
        assert_eq!(error.kind(), ErrorKind::Permanent, "{source}: {error}");
        assert!(error.to_string().contains(says), "{source}: {error} {:?}", error.causes());
    }
    let place = place("a\na\n");
    let source = "import os\ndef reduce(key, values):\n    os.fork()\n    yield key, len(list(values))\n";
    let error =
        place.run(json!({"map": builtin("words"), "reduce": script(source), "retries": 0})).unwrap_err();
    assert!(error.to_string().contains("came back from its function"), "{error}");
}

#[test]
fn a_process_that_ends_in_the_function_is_the_scripts_own_matter() {
    for body in [
        "    if os.fork() == 0: os._exit(0)\n    os.wait()",
        "    if os.fork() == 0: sys.exit(3)\n    os.wait()",
        "    if os.fork() == 0:\n        os.setsid()\n        os._exit(0)",
        "    subprocess.run(['true'], check=True)",
        "    subprocess.run('echo x; echo y >&2', shell=True)",
        "    subprocess.run('cat')",
        "    os.system('echo x')",
        "    os.write(1, b'\\xff\\x00')\n    sys.stdout.buffer.write(b'\\xff\\n')",
        "    threading.Thread(target=lambda: print('x' * 1000)).start()",
        "    for fd in (0, 1, 2): os.close(fd)\n    sys.stdout = open(os.devnull, 'w')",
        "    with multiprocessing.get_context('fork').Pool(2) as pool: assert pool.map(abs, [-1, -2]) == [1, 2]",
        "    global pool\n    pool = multiprocessing.get_context('fork').Pool(1)",
    ] {
        let source = format!(
            "import multiprocessing, os, subprocess, sys, threading\ndef map(key, value):\n{body}\n    yield value, 1\n"
        );
        assert_eq!(mapped("x\n", &source), "x\t1\n", "{body}");
    }
}

#[test]
fn what_a_function_gives_in_another_way_is_refused() {
    for (source, says) in [
        ("async def map(key, value):\n    return [(value, 1)]\n", "not <coroutine object map"),
        ("async def map(key, value):\n    yield value, 1\n", "not <async_generator object map"),
        ("def map(key, value):\n    yield None\n", "not None"),
        ("def map(key, value):\n    yield [value]\n", "not ['x']"),
        ("def map(key, value):\n    yield {value: 1, 'y': 2}\n", "not {'x': 1, 'y': 2}"),
        ("def map(key, value):\n    yield 'ab'\n", "not 'ab'"),
        ("def map(key, value):\n    return {'ab': 1}\n", "not 'ab'"),
        ("def map(key, value):\n    yield value, object()\n", "not <object object"),
        ("def map(key, value):\n    yield value, {1, 2}\n", "not {1, 2}"),
        ("def map(key, value):\n    yield value, [float('inf')]\n", "not [inf]"),
    ] {
        let error = failure("x\n", source);
        assert!(error.to_string().contains(says), "{source}: {error}");
    }
}

#[test]
fn a_script_that_takes_the_pipes_away_is_an_error() {
    for body in [
        "    os.closerange(3, 100)\n    yield value, 1",
        "    yield value, 1\n    os.closerange(3, 100)",
        "    os.kill(os.getpid(), 9)",
        "    raise KeyboardInterrupt",
        "    raise SystemExit",
        "    sys.exit(0)",
    ] {
        failure("x\n", &format!("import os, sys\ndef map(key, value):\n{body}\n"));
    }
}
