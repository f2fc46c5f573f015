//! What the CRD takes and refuses, and in which words: its limits and its CEL rules.

#[path = "cel/changes.rs"]
mod changes;

use std::io::Write as _;
use std::process::{Command, Stdio};

use mapreduce_api::validate::validate;

/// A manifest with `replacement` in place of `original`.
fn with(original: &str, replacement: &str) -> String {
    const BASE: &str = "\
apiVersion: mapreduce.dev/v1alpha1
kind: MapReduceJob
metadata: {name: wordcount}
spec:
  input:
    urls: ['s3://books/texts/']
    format: {type: Lines}
  map:
    function: {builtin: {name: words}}
  combine:
    function: {builtin: {name: sum}}
  reduce:
    function: {builtin: {name: sum}}
  output: {url: 's3://books/counts/'}
";
    assert!(BASE.contains(original), "{original}");
    BASE.replacen(original, replacement, 1)
}

fn said(
    result: Result<mapreduce_api::manifest::Manifest, Vec<mapreduce_api::validate::Violation>>,
) -> String {
    match result {
        Ok(_) => "accepted".into(),
        Err(violations) => violations.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
    }
}

const NAME: &str = "metadata.name must be a DNS label of at most 50 characters: pods are named after it";
const REDUCE: &str = "  reduce:\n    function: {builtin: {name: sum}}\n";
const COMBINE: &str = "  combine:\n    function: {builtin: {name: sum}}\n";
const COMBINE_AND_REDUCE: &str =
    "  combine:\n    function: {builtin: {name: sum}}\n  reduce:\n    function: {builtin: {name: sum}}\n";

/// What `steps` stand in the place of.
const PHASES: &str = "  map:
    function: {builtin: {name: words}}
  combine:
    function: {builtin: {name: sum}}
  reduce:
    function: {builtin: {name: sum}}
";
const STEPS: &str = "  steps:
    - name: count
      map: {function: {builtin: {name: words}}}
      combine: {function: {builtin: {name: sum}}}
      reduce: {function: {builtin: {name: sum}}}
    - name: sort-2
      reduce: {function: {builtin: {name: identity}}, partitioner: {type: Range}}
";

/// A job with two steps, with `replacement` in place of `original` in them.
fn steps(original: &str, replacement: &str) -> String {
    assert!(STEPS.contains(original), "{original}");
    with(PHASES, &STEPS.replacen(original, replacement, 1))
}

fn many_steps(count: usize) -> String {
    let steps = (0..count).map(|i| format!("    - {{name: s{i}}}\n"));
    with(PHASES, &format!("  steps:\n{}", steps.collect::<String>()))
}

fn good() -> Vec<String> {
    let fifty = format!("{{name: {}}}", "n".repeat(50));
    [
        ("", ""),
        ("{name: wordcount}", fifty.as_str()),
        ("{name: wordcount}", "{generateName: wordcount-}"),
        ("{type: Lines}", "{type: Lines, lines: {delimiter: \"\\0\"}}"),
        ("{type: Lines}", "{type: Lines, keyValue: null}"),
        ("{type: Lines}", "{type: KeyValue, keyValue: {separator: ','}}"),
        ("{type: Lines}", "{type: FixedLength}"),
        ("{type: Lines}", "{type: FixedLength, fixedLength: {recordBytes: 8, keyBytes: 8}}"),
        ("{type: Lines}", "{type: Csv, csv: {header: false, delimiter: \"\\t\", keyColumn: '2'}}"),
        ("{type: Lines}", "{type: JsonLines, jsonLines: {keyPointer: /user/id}}"),
        ("{type: Lines}", "{type: WholeFile}"),
        ("{type: Lines}", "{type: WholeFile, wholeFile: {maxRecordBytes: 1Gi}}"),
        ("{type: Lines}", "{type: KeyValue, keyValue: {maxRecordBytes: 1Mi}}"),
        ("{type: Lines}", "{type: JsonLines, jsonLines: {maxRecordBytes: 1Mi}}"),
        ("{type: Lines}", "{type: Csv, csv: {maxRecordBytes: 1Mi}}"),
        ("{type: Lines}", "{type: Parquet, parquet: {binary: Error}}"),
        ("{type: Lines}", "{type: Parquet, parquet: {columns: [a, b], keyColumn: id}}"),
        ("{url: 's3://books/counts/'}", "{url: 's3://b/o/', format: {type: JsonLines}, compression: Zstd}"),
        ("    format: {type: Lines}\n", ""),
        ("    format: {type: Lines}\n", "    splitSize: 1048576\n"),
        ("    format: {type: Lines}\n", "    splitSize: 1Gi\n"),
        ("  map:\n    function: {builtin: {name: words}}\n", ""),
        (COMBINE, ""),
        (COMBINE_AND_REDUCE, ""),
        (COMBINE_AND_REDUCE, "  reduce: {tasks: 0}\n"),
        ("  output:", "  retries: 0\n  output:"),
        ("  reduce:\n", "  reduce:\n    partitioner: {type: Range}\n"),
        ("  reduce:\n", "  reduce:\n    partitioner: {type: KeyFields, keyFields: {fields: '1,2'}}\n"),
        ("  output:", "  taskTimeoutSeconds: 1\n  output:"),
        ("  output:", "  skipBadRecords: {}\n  output:"),
        ("  output:", "  maxFailedTasks: 3\n  output:"),
        ("  output:", "  maxFailedTasks: 5%\n  output:"),
        ("  output:", "  taskTimeoutSeconds: 315360000\n  output:"),
        ("  output:", "  storage: {timeoutSeconds: 0}\n  output:"),
        ("  output:", "  storage: {timeoutSeconds: 315360000}\n  output:"),
        ("  output:", "  ttlSecondsAfterFinished: 315360000\n  output:"),
        ("  output:", "  skipBadRecords: {max: 1000}\n  output:"),
        ("{builtin: {name: words}}", "{command: {argv: [cat, -n], env: {A: b}, files: {a: b}}}"),
        ("{builtin: {name: words}}", "{script: {language: python, source: 'x = 1'}}"),
        ("{builtin: {name: words}}", "{script: {language: javascript, source: 'let a = 1'}}"),
        ("{builtin: {name: words}}", "{script: {language: python, sourceFrom: {url: 's3://b/x.py'}}}"),
        (
            "{builtin: {name: words}}",
            "{script: {language: python, sourceFrom: {configMapKeyRef: {name: scripts, key: map.py}}}}",
        ),
        ("{builtin: {name: words}}", "{command: {shell: 'cut -f 1', env: [{name: A, value: b}]}}"),
        (
            "{builtin: {name: words}}",
            "{command: {shell: cat, env: [{name: A, valueFrom: {secretKeyRef: {name: s, key: k}}}]}}",
        ),
        (REDUCE, "  reduce: {tasks: 10000, function: {builtin: {name: sum}}}\n"),
    ]
    .map(|(original, replacement)| with(original, replacement))
    .into_iter()
    .chain([
        steps("", ""),
        steps("      combine: {function: {builtin: {name: sum}}}\n", ""),
        many_steps(1),
        many_steps(32),
        many_steps(2).replace("{name: wordcount}", &format!("{{name: {}}}", "n".repeat(46))),
    ])
    .collect()
}

fn beyond_a_limit() -> Vec<(String, String)> {
    [
        ("['s3://books/texts/']", "[]", "spec.input.urls: has 0 items, must have at least 1"),
        ("['s3://books/texts/']", "['']", "spec.input.urls[0]: has 0 characters, must have at least 1"),
        (
            "{url: 's3://books/counts/'}",
            "{url: ''}",
            "spec.output.url: has 0 characters, must have at least 1",
        ),
        (
            "{name: sum}",
            "{name: ''}",
            "spec.combine.function.builtin.name: has 0 characters, must have at least 1",
        ),
        ("  output:", "  retries: -1\n  output:", "spec.retries: -1 is less than 0"),
        ("  output:", "  taskTimeoutSeconds: 0\n  output:", "spec.taskTimeoutSeconds: 0 is less than 1"),
        (
            "  output:",
            "  taskTimeoutSeconds: 315360001\n  output:",
            "spec.taskTimeoutSeconds: 315360001 is more than 315360000",
        ),
        (
            "  output:",
            "  pendingDeadlineSeconds: 315360001\n  output:",
            "spec.pendingDeadlineSeconds: 315360001 is more than 315360000",
        ),
        (
            "{builtin: {name: words}}",
            "{command: {argv: []}}",
            "spec.map.function.command.argv: has 0 items, must have at least 1",
        ),
        ("  output:", "  retries: 101\n  output:", "spec.retries: 101 is more than 100"),
        (
            "  output:",
            "  activeDeadlineSeconds: 0\n  output:",
            "spec.activeDeadlineSeconds: 0 is less than 1",
        ),
        ("  map:\n", "  map:\n    parallelism: 0\n", "spec.map.parallelism: 0 is less than 1"),
        ("  map:\n", "  map:\n    template: [a]\n", "spec.map.template: must be of type object"),
        ("  reduce:\n", "  reduce:\n    tasks: 10001\n", "spec.reduce.tasks: 10001 is more than 10000"),
        ("{name: wordcount}", "{}", "metadata.name: required"),
    ]
    .map(|(original, replacement, message)| (with(original, replacement), message.to_owned()))
    .into_iter()
    .chain([
        (with(PHASES, "  steps: []\n"), "spec.steps: has 0 items, must have at least 1".to_owned()),
        (many_steps(33), "spec.steps: has 33 items, must have at most 32".to_owned()),
        (
            steps("name: sort-2", "name: Sort"),
            "spec.steps[1].name: `Sort` doesn't match ^[a-z0-9]([-a-z0-9]*[a-z0-9])?$".to_owned(),
        ),
        (
            steps("type: Range}", "type: Range}, tasks: 10001"),
            "spec.steps[1].reduce.tasks: 10001 is more than 10000".to_owned(),
        ),
    ])
    .collect()
}

fn against_a_rule() -> Vec<(String, String)> {
    let fifty_one = format!("{{name: {}}}", "n".repeat(51));
    [
        ("{name: wordcount}", fifty_one.as_str(), NAME),
        ("{name: wordcount}", "{name: word.count}", NAME),
        ("{name: wordcount}", "{name: Wordcount}", NAME),
        (
            "{type: Lines}",
            "{type: Lines, keyValue: {}}",
            "spec.input.format: keyValue goes with type: KeyValue",
        ),
        ("{type: Lines}", "{type: KeyValue, lines: {}}", "spec.input.format: lines goes with type: Lines"),
        (
            "{type: Lines}",
            "{type: Csv, fixedLength: {}}",
            "spec.input.format: fixedLength goes with type: FixedLength",
        ),
        ("{type: Lines}", "{type: Csv, parquet: {}}", "spec.input.format: parquet goes with type: Parquet"),
        ("{type: Lines}", "{type: JsonLines, csv: {}}", "spec.input.format: csv goes with type: Csv"),
        (
            "{type: Lines}",
            "{type: Csv, wholeFile: {}}",
            "spec.input.format: wholeFile goes with type: WholeFile",
        ),
        (
            "{type: Lines}",
            "{type: Csv, jsonLines: {}}",
            "spec.input.format: jsonLines goes with type: JsonLines",
        ),
        (
            "{type: Lines}",
            "{type: FixedLength, fixedLength: {recordBytes: 8}}",
            "spec.input.format.fixedLength: keyBytes is at most recordBytes",
        ),
        (
            "{url: 's3://books/counts/'}",
            "{url: 's3://books/counts/', format: {type: Lines, keyValue: {}}}",
            "spec.output.format: keyValue goes with type: KeyValue",
        ),
        (
            "  reduce:\n",
            "  reduce:\n    partitioner: {type: KeyFields, keyFields: {separator: ','}}\n",
            "spec.reduce.partitioner: type: KeyFields needs keyFields.fields",
        ),
        (
            "{builtin: {name: words}}",
            "{}",
            "spec.map.function: a function is exactly one of: builtin, command, script, wasm",
        ),
        (
            "{builtin: {name: words}}",
            "{builtin: {name: words}, command: {shell: cat}}",
            "spec.map.function: a function is exactly one of: builtin, command, script, wasm",
        ),
        (
            "{builtin: {name: words}}",
            "{command: {shell: cat, argv: [cat]}}",
            "spec.map.function.command: a command is exactly one of: argv, shell",
        ),
        (
            "{builtin: {name: words}}",
            "{command: {}}",
            "spec.map.function.command: a command is exactly one of: argv, shell",
        ),
        (
            "{builtin: {name: words}}",
            "{script: {language: python}}",
            "spec.map.function.script: a script has exactly one of: source, sourceFrom",
        ),
        (
            "{builtin: {name: words}}",
            "{script: {language: python, sourceFrom: {}}}",
            "spec.map.function.script.sourceFrom: exactly one of: url, configMapKeyRef",
        ),
        (
            "{builtin: {name: words}}",
            "{wasm: {url: 'file:x', configMapKeyRef: {name: x, key: f.wasm}}}",
            "spec.map.function.wasm: exactly one of: url, configMapKeyRef",
        ),
        (REDUCE, "", "spec: combine requires reduce.function"),
        (
            REDUCE,
            "  reduce: {}\n",
            "spec: combine requires reduce.function\n\
             spec.reduce: reduce needs a function, or tasks: 0 for a map-only job",
        ),
        (
            REDUCE,
            "  reduce: {tasks: 2}\n",
            "spec: combine requires reduce.function\n\
             spec.reduce: reduce needs a function, or tasks: 0 for a map-only job",
        ),
        (REDUCE, "  reduce: {tasks: 0}\n", "spec: combine requires reduce.function"),
    ]
    .map(|(original, replacement, message)| (with(original, replacement), message.to_owned()))
    .into_iter()
    .chain(against_a_rule_of_steps())
    .collect()
}

fn against_a_rule_of_steps() -> Vec<(String, String)> {
    const IN_PLACE: &str = "spec: steps go in place of map, combine and reduce: each step has its own";
    let long = many_steps(1).replace("{name: wordcount}", &format!("{{name: {}}}", "n".repeat(47)));
    vec![
        (with(PHASES, &format!("{STEPS}{REDUCE}")), IN_PLACE.into()),
        (with(PHASES, &format!("{STEPS}  map: {{parallelism: 2}}\n")), IN_PLACE.into()),
        (
            long,
            "metadata.name of a job with steps has at most 46 characters: pods are named after it and a step's \
             number"
                .into(),
        ),
        (steps("name: sort-2", "name: count"), "spec: each of the steps has a name of its own".into()),
        (
            steps("      reduce: {function: {builtin: {name: sum}}}\n", ""),
            "spec.steps[0]: combine requires reduce.function".into(),
        ),
        (
            steps("{function: {builtin: {name: identity}}, partitioner", "{partitioner"),
            "spec.steps[1].reduce: reduce needs a function, or tasks: 0 for a map-only job".into(),
        ),
        (
            steps("{type: Range}", "{type: KeyFields}"),
            "spec.steps[1].reduce.partitioner: type: KeyFields needs keyFields.fields".into(),
        ),
        (
            steps("{builtin: {name: words}}", "{builtin: {name: words}, command: {shell: cat}}"),
            "spec.steps[0].map.function: a function is exactly one of: builtin, command, script, wasm".into(),
        ),
    ]
}

/// Pairs of combine and reduce: accepted, or what is said. The API server says the schema's rule instead, where
/// it isn't about arguments.
fn combines() -> Vec<(String, Option<&'static str>, bool)> {
    const UNIQUE: &str = "{builtin: {name: collect, args: {unique: true}}}";
    const OWN: &str = "{command: {shell: cat}}";
    let both = |combine: &str, reduce: &str| {
        let of = |function: &str| match function {
            builtin if !builtin.starts_with('{') => format!("{{builtin: {{name: {builtin}}}}}"),
            function => function.to_owned(),
        };
        let (combine, reduce) = (of(combine), of(reduce));
        let phases = format!("  combine: {{function: {combine}}}\n  reduce: {{function: {reduce}}}\n");
        with(COMBINE_AND_REDUCE, &phases)
    };
    let in_a_step =
        steps("combine: {function: {builtin: {name: sum}}}", "combine: {function: {builtin: {name: max}}}");
    vec![
        (both("max", "max"), None, false),
        (both("identity", "mean"), None, false),
        (both(UNIQUE, UNIQUE), None, false),
        (both("sum", OWN), None, false),
        (both(OWN, "mean"), None, false),
        (both("sum", "mean"), Some("before `mean` as the reduce function: use `sum` for both"), true),
        (both("mean", "mean"), Some("the mean of means is not the mean"), true),
        (both("count", OWN), Some("emit 1 for each value and use `sum`"), true),
        (both("stats", OWN), Some("can't be a combine function"), true),
        (both("summ", "summ"), Some("can't be a combine function"), true),
        (in_a_step, Some("spec.steps[0].combine.function: `max` as a combine function"), true),
        (both("{builtin: {name: top, args: {n: 3}}}", "top"), Some("the same `n`"), false),
        (both("collect", "collect"), Some("joined already"), false),
        (both("aggregate", OWN), Some("goes with `aggregate` as the reduce"), false),
    ]
}

#[test]
fn a_combine_function_goes_only_with_a_reduce_function_that_it_does_not_change() {
    for (text, refusal, _) in combines() {
        let message = said(validate(&text));
        match refusal {
            None => assert_eq!(message, "accepted", "{text}"),
            Some(refusal) => {
                assert!(message.contains(refusal) && !message.contains('\n'), "{message}\n{text}");
            }
        }
    }
}

#[test]
fn accepted() {
    for text in good() {
        assert_eq!(said(validate(&text)), "accepted", "{text}");
    }
}

#[test]
fn refused() {
    for (text, message) in [beyond_a_limit(), against_a_rule()].concat() {
        assert_eq!(said(validate(&text)), message, "{text}");
    }
}

/// The same tables before a real API server, in a cluster where the CRD is installed:
/// `cargo test --workspace --test cel -- --ignored`.
#[test]
#[ignore = "needs a cluster"]
fn the_api_server_says_the_same() {
    for text in good() {
        assert_eq!(kubectl_create(&text), Ok(()), "{text}");
    }
    for (text, refusal, by_rule) in combines() {
        match kubectl_create(&text) {
            Ok(()) => assert!(refusal.is_none() || !by_rule, "{text}"),
            Err(said) => {
                assert!(by_rule && said.contains("a built-in combine is identity"), "{said}");
            }
        }
    }
    for (text, message) in [beyond_a_limit(), against_a_rule()].concat() {
        let refusal = kubectl_create(&text).expect_err(&text);
        for line in message.lines() {
            let (path, reason) = line.split_once(": ").unwrap_or(("", line));
            // Its own words for a limit, and ours for a rule.
            let ours = against_a_rule().iter().any(|(_, m)| m == &message);
            let named = path == "metadata.name" || refusal.contains(path.trim_start_matches("metadata."));
            assert!(named && (!ours || refusal.contains(reason)), "{line}\nserver: {refusal}");
        }
    }
}

fn kubectl_create(text: &str) -> Result<(), String> {
    let mut kubectl = Command::new("kubectl")
        .args(["create", "--dry-run=server", "--validate=strict", "-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    kubectl.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = kubectl.wait_with_output().unwrap();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

#[test]
fn refused_before_the_schema_with_the_line() {
    for (original, replacement, parts) in [
        ("  combine:", "  combin:", ["unknown field `combin`", "line 10"]),
        ("{name: words}", "{nam: words}", ["unknown field `nam`", "line 9"]),
        ("{type: Lines}", "{type: lines}", ["unknown variant `lines`", "line 7"]),
        ("  output:", "  retries: three\n  output:", ["retries", "line 14"]),
        ("  output:", "  maxFailedTasks: -1\n  output:", ["or a percentage such as 5%", "line 14"]),
        ("  output:", "  maxFailedTasks: 101%\n  output:", ["or a percentage such as 5%", "line 14"]),
        ("  output:", "  retries: 1\n  retries: 2\n  output:", ["duplicate field `retries`", "line"]),
        ("    urls: ['s3://books/texts/']\n", "", ["missing field `urls`", "line"]),
        ("kind: MapReduceJob", "kind: Job", ["kind: Job", "write apiVersion: mapreduce.dev/v1alpha1"]),
        ("metadata:", "metadata: {", ["line 3", ""]),
    ] {
        let text = with(original, replacement);
        let message = said(validate(&text));
        assert!(parts.iter().all(|part| message.contains(part)), "{message}\n{text}");
        assert!(!message.contains('\n'), "{message}");
    }
}
