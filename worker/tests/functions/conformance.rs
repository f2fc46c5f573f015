//! What every kind of function can do, with the same result.

use mapreduce_worker::error::ErrorKind;
use mapreduce_worker::task::finish::Success;
use serde_json::{Value, json};

use crate::common::Place;
use crate::wasm::component;

/// The functions of the suite's jobs, in one language.
struct Written {
    kind: &'static str,
    /// A word → 1. Counts words of more than three characters as `words`, `long`.
    words: Value,
    /// The sum of a word's counts, which may be sums already.
    sum: Value,
    /// `name: text` → each word of the text, with the name.
    index: Value,
    /// The names in byte order, each once, with commas between.
    collect: Value,
    /// `L id text` and `R id text` → the id, with side and text.
    sides: Value,
    /// Each left text with each right text.
    join: Value,
    /// Fails at the record `bad`.
    fails: Value,
    /// What its failure is said to be.
    failure: &'static str,
    /// The number of a key's values, without keeping them.
    count: Value,
    /// `year degrees` → `year,degrees`, with the station after it.
    readings: Value,
    /// `name number` → `all`, with number and name.
    scores: Value,
    /// The two values with the largest numbers, a pair each.
    top: Value,
}

fn shell(text: &str) -> Value {
    json!({"command": {"shell": text}})
}

/// A reduce command gets no groups: it sees by itself where a key begins.
fn awk(text: &str) -> Value {
    json!({"command": {"argv": ["awk", "-F", "\t", text]}})
}

fn command() -> Written {
    const SUM: &str = r#"$1 != key {if (NR > 1) print key "\t" sum; key = $1; sum = 0} {sum += $2}
        END {if (NR) print key "\t" sum}"#;
    Written {
        kind: "command",
        words: shell(
            r#"awk '{for (i = 1; i <= NF; i++) {print $i "\t1"; if (length($i) > 3) long++}}
                END {print "reporter:counter:words,long," long + 0 > "/dev/stderr"}'"#,
        ),
        sum: awk(SUM),
        index: shell(
            r#"awk -F ': ' '{n = split($2, words, " "); for (i = 1; i <= n; i++) print words[i] "\t" $1}'"#,
        ),
        collect: shell(
            r#"LC_ALL=C sort -u | awk -F '\t' '$1 != key {if (NR > 1) print key "\t" all; key = $1; all = $2; next}
                {all = all "," $2} END {if (NR) print key "\t" all}'"#,
        ),
        sides: shell(r#"awk '{print $2 "\t" $1 "\t" $3}'"#),
        join: shell(
            r#"LC_ALL=C sort | awk -F '\t' '$1 != key {key = $1; n = 0} $2 == "L" {left[++n] = $3}
                $2 == "R" {for (i = 1; i <= n; i++) print key "\t" left[i] "\t" $3}'"#,
        ),
        fails: shell(r#"awk '$0 == "bad" {print "can not take " $0 > "/dev/stderr"; exit 3} {print}'"#),
        failure: "can not take bad",
        count: awk(r#"$1 != key {if (NR > 1) print key "\t" n; key = $1; n = 0} {n++}
            END {if (NR) print key "\t" n}"#),
        readings: shell(r#"awk '{print $1 "," $2 "\t" $3}'"#),
        scores: shell(r#"awk '{print "all\t" $2 " " $1}'"#),
        top: shell(r#"LC_ALL=C sort -k2,2nr | awk -F '\t' '++n <= 2 {print $1 "\t" $2}'"#),
    }
}

fn python(source: &str) -> Value {
    json!({"script": {"language": "python", "source": source}})
}

fn in_python() -> Written {
    Written {
        kind: "python",
        words: python(
            "def map(key, value):\n    for word in value.split():\n        if len(word) > 3:\n            \
             counter('words', 'long')\n        yield word, 1\n",
        ),
        sum: python("def reduce(key, values):\n    yield key, sum(int(value) for value in values)\n"),
        index: python(
            "def map(key, value):\n    name, text = value.split(': ')\n    \
             return [(word, name) for word in text.split()]\n",
        ),
        collect: python("def reduce(key, values):\n    yield key, ','.join(sorted(set(values)))\n"),
        sides: python(
            "def map(key, value):\n    side, id, text = value.split()\n    yield id, side + '\\t' + text\n",
        ),
        join: python(
            "def reduce(key, values):\n    rows = sorted(value.split('\\t') for value in values)\n    \
             left = [text for side, text in rows if side == 'L']\n    \
             for side, text in rows:\n        if side == 'R':\n            \
             yield from ((key, one + '\\t' + text) for one in left)\n",
        ),
        fails: python(
            "def check(value):\n    if value == 'bad':\n        raise ValueError('can not take ' + value)\n\n\
             def map(key, value):\n    check(value)\n    yield value, 1\n",
        ),
        failure: "can not take bad",
        count: python(
            "def reduce(key, values):\n    n = 0\n    for value in values:\n        n += 1\n    yield key, n\n",
        ),
        readings: python(
            "def map(key, value):\n    year, degrees, station = value.split()\n    \
             yield year + ',' + degrees, station\n",
        ),
        scores: python(
            "def map(key, value):\n    name, number = value.split()\n    yield 'all', number + ' ' + name\n",
        ),
        top: python(
            "import heapq\ndef reduce(key, values):\n    \
             for value in heapq.nlargest(2, values, lambda value: int(value.split()[0])):\n        \
             yield key, value\n",
        ),
    }
}

fn javascript(source: &str) -> Value {
    json!({"script": {"language": "javascript", "source": source}})
}

fn in_javascript() -> Written {
    Written {
        kind: "javascript",
        words: javascript(
            "function map(key, value, emit, counter) {
                for (const word of value.split(/\\s+/)) {
                    if (word.length > 3) counter('words', 'long');
                    if (word) emit(word, 1);
                }
            }",
        ),
        sum: javascript(
            "function reduce(key, values, emit) {
                let sum = 0;
                for (const value of values) sum += Number(value);
                emit(key, sum);
            }",
        ),
        index: javascript(
            "const map = (key, value, emit) => {
                const [name, text] = value.split(': ');
                text.split(' ').forEach(word => emit(word, name));
            };",
        ),
        collect: javascript(
            "function reduce(key, values, emit) { emit(key, [...new Set(values)].sort().join()); }",
        ),
        sides: javascript(
            "function map(key, value, emit) {
                const [side, id, text] = value.split(' ');
                emit(id, `${side}\\t${text}`);
            }",
        ),
        join: javascript(
            "function reduce(key, values, emit) {
                const rows = [...values].sort().map(row => row.split('\\t'));
                const of = wanted => rows.filter(([side]) => side === wanted).map(([, text]) => text);
                for (const left of of('L')) for (const right of of('R')) emit(key, `${left}\\t${right}`);
            }",
        ),
        fails: javascript(
            "function check(value) { if (value === 'bad') throw new Error('can not take ' + value); }
             function map(key, value, emit) { check(value); emit(value, 1); }",
        ),
        failure: "can not take bad",
        count: javascript(
            "function reduce(key, values, emit) { let n = 0; for (const _ of values) n++; emit(key, n); }",
        ),
        readings: javascript(
            "function map(key, value, emit) {
                const [year, degrees, station] = value.split(' ');
                emit(`${year},${degrees}`, station);
            }",
        ),
        scores: javascript(
            "function map(key, value, emit) {
                const [name, number] = value.split(' ');
                emit('all', `${number} ${name}`);
            }",
        ),
        top: javascript(
            "function reduce(key, values, emit) {
                const largest = [...values].sort((a, b) => parseInt(b) - parseInt(a)).slice(0, 2);
                largest.forEach(value => emit(key, value));
            }",
        ),
    }
}

fn in_wasm() -> Written {
    Written {
        kind: "wasm",
        words: component("word_count"),
        sum: component("word_count"),
        index: component("inverted_index"),
        collect: component("inverted_index"),
        sides: component("join"),
        join: component("join"),
        fails: component("fails"),
        failure: "can not take bad",
        count: component("secondary_sort"),
        readings: component("secondary_sort"),
        scores: component("top_n"),
        top: component("top_n"),
    }
}

fn kinds() -> Vec<Written> {
    vec![command(), in_python(), in_javascript(), in_wasm()]
}

fn run(
    place: &Place,
    map: &Value,
    combine: Option<&Value>,
    reduce: &Value,
) -> mapreduce_worker::error::Result<Success> {
    let mut fields = json!({
        "map": {"function": map},
        "reduce": {"function": reduce, "tasks": 2},
        "retries": 0,
    });
    if let Some(combine) = combine {
        fields["combine"] = json!({"function": combine});
    }
    place.run(fields)
}

/// The lines of all parts, in order.
fn lines(place: &Place) -> Vec<String> {
    let mut lines: Vec<_> = place.output_text().lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

const TEXT: &str = "the quick brown fox\njumps over\n\nthe lazy dog  the end";

#[test]
fn a_word_count_with_and_without_a_combiner() {
    for written in kinds() {
        for combine in [None, Some(&written.sum)] {
            let mut place = Place::new();
            place.write("in/a", TEXT);
            place.write("in/b", "the\nquick\n");
            // So little memory that what is combined is combined again.
            place.resources.memory = 1 << 10;
            let done = run(&place, &written.words, combine, &written.sum).unwrap();
            let expected = [
                "brown\t1", "dog\t1", "end\t1", "fox\t1", "jumps\t1", "lazy\t1", "over\t1", "quick\t2",
                "the\t4",
            ];
            assert_eq!(lines(&place), expected, "{}", written.kind);
            assert_eq!(done.counters.map_input_records, 6, "{}", written.kind);
            assert_eq!(done.counters.map_output_records, 13, "{}", written.kind);
            assert_eq!(
                serde_json::to_value(&done.counters.user).unwrap(),
                json!({"words": {"long": 6}}),
                "{}",
                written.kind
            );
            assert_eq!(combine.is_some(), done.counters.combine_input_records > 0);
            assert!(place.names("scratch").is_empty(), "{}: working folders are left", written.kind);
        }
    }
}

#[test]
fn an_inverted_index() {
    for written in kinds() {
        let place = Place::new();
        place.write("in/a", "one: red green\ntwo: green\n");
        place.write("in/b", "three: blue green green\n");
        run(&place, &written.index, None, &written.collect).unwrap();
        assert_eq!(lines(&place), ["blue\tthree", "green\tone,three,two", "red\tone"], "{}", written.kind);
    }
}

#[test]
fn a_join() {
    for written in kinds() {
        let place = Place::new();
        place.write("in/left", "L 1 ann\nL 2 bob\nL 2 bea\nL 3 cid\n");
        place.write("in/right", "R 2 x\nR 1 y\nR 2 z\nR 4 w\n");
        run(&place, &written.sides, None, &written.join).unwrap();
        let mut found = lines(&place);
        found.sort();
        assert_eq!(
            found,
            ["1\tann\ty", "2\tbea\tx", "2\tbea\tz", "2\tbob\tx", "2\tbob\tz"],
            "{}",
            written.kind
        );
    }
}

#[test]
fn a_secondary_sort() {
    for written in kinds() {
        let place = Place::new();
        place.write("in/a", "1950 22 x\n1949 111 y\n1950 0 z\n");
        place.write("in/b", "1950 -11 x\n1949 78 z\n1950 22 y\n");
        let fields = json!({
            "map": {"function": written.readings},
            "reduce": {
                "function": written.count, "tasks": 2, "sort": {"keyFields": "-k1,1 -k2,2nr"},
                "partitioner": {"type": "KeyFields", "keyFields": {"separator": ",", "fields": "1"}},
            },
            "retries": 0,
        });
        place.run(fields).unwrap();
        let found = place.output_text();
        // Whichever part a year is in, its readings are there from the warmest on.
        let of = |year: &str| {
            let lines = found.lines().filter(|line| line.starts_with(year));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(of("1949"), ["1949,111\t1", "1949,78\t1"], "{}", written.kind);
        assert_eq!(of("1950"), ["1950,22\t2", "1950,0\t1", "1950,-11\t1"], "{}", written.kind);
        assert_eq!(found.lines().count(), 5);
    }
}

#[test]
fn the_largest_of_a_key() {
    for written in kinds() {
        let place = Place::new();
        place.write("in/a", "ann 9\nbob 100\ncid -5\n");
        place.write("in/b", "dan 30\n");
        run(&place, &written.scores, None, &written.top).unwrap();
        assert_eq!(place.output_text(), "all\t100 bob\nall\t30 dan\n", "{}", written.kind);
    }
}

#[test]
fn an_input_without_records_has_parts_without_records() {
    for written in kinds() {
        let place = Place::new();
        place.write("in/a", "");
        let done = run(&place, &written.words, Some(&written.sum), &written.sum).unwrap();
        assert_eq!(place.names("out"), ["_SUCCESS", "part-00000", "part-00001"], "{}", written.kind);
        assert_eq!((place.output_text().as_str(), done.counters.reduce_output_records), ("", 0));
    }
}

#[test]
fn a_group_of_more_than_the_memory() {
    for written in kinds() {
        let mut place = Place::new();
        place.write("in/a", "x y x\n".repeat(100_000));
        place.resources.memory = 64 << 10;
        let done = run(&place, &written.words, None, &written.count).unwrap();
        assert_eq!(lines(&place), ["x\t200000", "y\t100000"], "{}", written.kind);
        assert_eq!((done.counters.reduce_input_records, done.counters.reduce_input_groups), (300_000, 2));
    }
}

#[test]
fn a_function_that_fails_says_why_and_leaves_nothing() {
    for written in kinds() {
        let place = Place::new();
        place.write("in/a", "good\nbad\ngood\n");
        let error = run(&place, &written.fails, None, &written.count).unwrap_err();
        let report = error.report();
        assert_eq!(error.kind(), ErrorKind::Retry, "{}: {error}", written.kind);
        let said = format!("{error}\n{}", report.causes.join("\n"));
        assert!(said.contains(written.failure), "{}: {report:?}", written.kind);
        assert_eq!(report.task.as_deref(), Some("map-00000"));
        assert!(place.names("out").is_empty() && place.names("scratch").is_empty(), "{}", written.kind);
    }
}

#[test]
fn sorted_values_stay_sorted_behind_a_combiner_and_ranges_are_sampled_by_the_function() {
    let sides = "L 2 b\nR 1 y\nL 2 a\nR 2 z\nL 1 x\nL 2 c\n".repeat(40);
    let reversing = [
        shell("LC_ALL=C sort -t \"$(printf '\\t')\" -k1,1 -k2,2r"),
        python(
            "def reduce(key, values):\n    return [(key, value) for value in sorted(values, reverse=True)]\n",
        ),
        javascript(
            "function reduce(key, values, emit) { for (const value of [...values].sort().reverse()) emit(key, value); }",
        ),
        component("descending"),
    ];
    assert_eq!(kinds().len(), reversing.len());
    for (written, reversing) in kinds().into_iter().zip(reversing) {
        for as_pods in [false, true] {
            let mut place = Place::new();
            place.write("in/a", &sides);
            place.resources.memory = 2 << 10;
            let mut fields = json!({
                "map": {"function": written.sides},
                "combine": {"function": reversing},
                "reduce": {"function": {"builtin": {"name": "identity"}}, "tasks": 2, "valueOrder": "Sorted",
                    "partitioner": {"type": "Range"}},
                "retries": 0,
            });
            if as_pods {
                fields["shuffle"] = json!({"url": "file:shuffle/"});
            }
            place.run(fields).unwrap();
            let found: Vec<_> = place.output_text().lines().map(str::to_owned).collect();
            assert_eq!(found.len(), 240, "{}", written.kind);
            assert!(found.is_sorted(), "{}, as pods {as_pods}: {found:?}", written.kind);
        }
    }
}

#[test]
fn an_attempt_that_fails_is_followed_by_another_and_only_the_last_counts() {
    for written in kinds() {
        let place = Place::new();
        place.write("in/a", TEXT);
        // Fails where a file is missing, and makes it.
        let marker = place.path("marker");
        let once = format!(
            "cat > /dev/null; echo reporter:counter:words,tried,1 >&2; test -e {m} && exit; : > {m}; exit 1",
            m = marker.display()
        );
        let fields = json!({
            "map": {"function": written.words},
            "reduce": {"function": shell(&once), "tasks": 1},
            "retries": 1,
        });
        let done = place.run(fields).unwrap();
        assert_eq!(done.counters.failed_tasks, 1);
        assert_eq!(done.counters.user["words"]["tried"], 1);
    }
}
