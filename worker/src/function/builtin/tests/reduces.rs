//! Reduce and combine functions.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Emitted, Group, Pairs, functions};
use crate::error::Result;
use crate::function::TaskContext;
use crate::scratch::ScratchPlace;

type Raw = Vec<(Vec<u8>, Vec<u8>)>;

fn texts(pairs: Raw) -> Pairs {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    pairs.into_iter().map(|(key, value)| (text(key), text(value))).collect()
}

fn bytes(values: &[&str]) -> Vec<Vec<u8>> {
    values.iter().map(|value| value.as_bytes().to_vec()).collect()
}

/// What a reduce function emits for the values of a key.
fn reduce_raw(builtin: &Value, key: &str, values: &[Vec<u8>]) -> Result<Raw> {
    let keeping = |memory| {
        let context = TaskContext::of_no_job();
        TaskContext { values: ScratchPlace::new(context.scratch.clone(), memory), ..context }
    };
    let result = reduce_in(builtin, key, values, &keeping(1 << 20));
    // Neither what is kept in a scratch file nor where that begins makes a difference.
    let elsewhere = reduce_in(builtin, key, values, &keeping(values.len() * 7 % 100));
    assert_eq!(elsewhere.as_ref().ok(), result.as_ref().ok(), "{builtin}");
    result
}

fn reduce_in(builtin: &Value, key: &str, values: &[Vec<u8>], context: &TaskContext) -> Result<Raw> {
    let function = functions(&[("reduce", builtin.clone())]).unwrap().reduce.unwrap();
    let mut values = values.to_vec();
    if function.wants_sorted_values() {
        values.sort();
    }
    let mut out = Emitted::default();
    let mut group = Group { values: values.iter(), left_out: None };
    function.make(context).reduce(key.as_bytes(), &mut group, &mut out)?;
    Ok(out.0)
}

fn reduce(builtin: &Value, key: &str, values: &[&str]) -> Pairs {
    texts(reduce_raw(builtin, key, &bytes(values)).unwrap())
}

/// The values that a function emits for key `k`.
fn values(builtin: &Value, values: &[&str]) -> Vec<String> {
    let pairs = reduce(builtin, "k", values);
    assert!(pairs.iter().all(|(key, _)| key == "k"), "{pairs:?}");
    pairs.into_iter().map(|(_, value)| value).collect()
}

fn complaint(builtin: &Value, key: &str, values: &[&str]) -> String {
    reduce_raw(builtin, key, &bytes(values)).unwrap_err().to_string()
}

#[test]
fn each_function_gives_the_result_of_the_table() {
    let top = |n: u32| json!({"name": "top", "args": {"n": n, "by": "numeric"}});
    for (builtin, given, expected) in [
        (json!("identity"), &["b", "a", "b"][..], &["b", "a", "b"][..]),
        (json!("sum"), &["1", " 2 ", "-4"], &["-1"]),
        (json!("sum"), &["1", "0.5"], &["1.5"]),
        (json!("sum"), &["9223372036854775807", "1"], &["9223372036854775808"]),
        (json!("count"), &["b", "a", "b"], &["3"]),
        (json!("min"), &["10", "9", "9.50"], &["9"]),
        (json!("max"), &["10", "9", "+10", "10.0"], &["+10"]),
        (json!("max"), &["9007199254740993", "9007199254740992.0"], &["9007199254740993"]),
        (json!("min"), &["2.0", "2", " 2"], &[" 2"]),
        (json!("mean"), &["1", "2", "4"], &["2.3333333333333335"]),
        (json!("mean"), &["1", "2", "3"], &["2"]),
        (json!("mean"), &["0.1", "0.1", "0.1"], &["0.10000000000000002"]),
        (json!("distinct"), &["a", "", "a", "b"], &["3"]),
        (json!("first"), &["b", "B", "ba"], &["B"]),
        (json!("last"), &["b", "B", "ba"], &["ba"]),
        (json!("first"), &["", "a"], &[""]),
        (top(2), &["5", "40", "7", "40.0"], &["40", "40.0"]),
        (top(3), &["1", "1"], &["1", "1"]),
        (json!("top"), &["3", "-1", "1e2"], &["1e2", "3", "-1"]),
        (json!("collect"), &["b", "a", "b"], &["a,b,b"]),
        (
            json!({"name": "collect", "args": {"separator": " | ", "unique": true}}),
            &["b", "a", "b"],
            &["a | b"],
        ),
        (json!("collect"), &["", ""], &[","]),
        (
            json!("stats"),
            &["1", "2", "4", "5"],
            &[r#"{"count":4,"sum":12,"min":1,"max":5,"mean":3,"stddev":1.5811388300841898,"median":3}"#],
        ),
        (
            json!("stats"),
            &["0.1", "0.1", "0.1"],
            &[
                r#"{"count":3,"sum":0.30000000000000004,"min":0.1,"max":0.1,"mean":0.10000000000000002,"stddev":0,"median":0.1}"#,
            ],
        ),
        (json!("stats"), &["7"], &[r#"{"count":1,"sum":7,"min":7,"max":7,"mean":7,"stddev":0,"median":7}"#]),
        (
            json!("histogram"),
            &["a", "b", "a", "c", "a"],
            &["3\t1\t1\t3\t1.6666666666666667\t0.9428090415820634"],
        ),
        (json!("histogram"), &["a", "b", "a"], &["2\t1\t2\t2\t1.5\t0.5"]),
    ] {
        assert_eq!(values(&builtin, given), expected, "{builtin} of {given:?}");
    }
}

#[test]
fn a_value_that_is_no_number_is_a_bad_record_that_names_key_and_value() {
    for name in ["sum", "min", "max", "mean", "stats", "top"] {
        for value in ["x", "", "nan", "1e999", "170141183460469231731687303715884105728"] {
            let said = complaint(&json!(name), "k", &["1", value]);
            assert_eq!(said, format!("`{value}`, a value of key `k`, is not a number"), "{name}");
        }
    }
}

#[test]
fn integers_that_add_up_to_more_than_128_bits_are_an_error_that_names_the_key() {
    let most = i128::MAX.to_string();
    let error = reduce_raw(&json!("sum"), "k", &bytes(&[&most, "1"])).unwrap_err();
    assert_eq!(error.to_string(), "the sum of key `k`");
    assert_eq!(error.causes(), ["integers add up to more than 128 bits"]);
    assert_eq!(values(&json!("sum"), &[&most, "1", "-1"]), [most]);
}

#[test]
fn bad_values_can_be_left_out_alone() {
    for (name, expected) in [("sum", "4"), ("min", "1"), ("max", "3"), ("mean", "2"), ("top", "3")] {
        let made = functions(&[("reduce", json!(name))]).unwrap();
        let mut out = Emitted::default();
        let given = bytes(&["1", "x", "3", "y"]);
        let mut group = Group { values: given.iter(), left_out: Some(0) };
        made.reduce.unwrap().make(&TaskContext::of_no_job()).reduce(b"k", &mut group, &mut out).unwrap();
        assert_eq!(group.left_out, Some(2), "{name}");
        assert_eq!(texts(out.0)[0].1, expected, "{name}");
    }
}

#[test]
fn a_join_pairs_the_values_of_two_sides_in_byte_order() {
    let join = |kind: &str| json!({"name": "join", "args": {"type": kind}});
    let both = ["R\tr2", "L\tl2", "L\tl1", "R\tr1"];
    let pairs = ["l1\tr1", "l1\tr2", "l2\tr1", "l2\tr2"];
    for kind in ["inner", "left", "right", "outer"] {
        assert_eq!(values(&join(kind), &both), pairs, "{kind}");
    }
    assert_eq!(values(&json!("join"), &both), pairs, "inner unless said otherwise");
    for (kind, left_alone, right_alone) in
        [("inner", false, false), ("left", true, false), ("right", false, true), ("outer", true, true)]
    {
        let expected = |is: bool, pair: &str| if is { vec![pair.to_owned()] } else { vec![] };
        assert_eq!(values(&join(kind), &["L\tl"]), expected(left_alone, "l\t"), "{kind}");
        assert_eq!(values(&join(kind), &["R\tr"]), expected(right_alone, "\tr"), "{kind}");
    }
    let named = json!({"name": "join", "args": {"sides": ["users", "u"]}});
    assert_eq!(values(&named, &["u\t1\t2", "users\tann"]), ["ann\t1\t2"]);
    for value in ["X\t1", "L", "", "Lx\t1"] {
        let said = complaint(&json!("join"), "k", &[value]);
        assert!(said.contains("begins with neither `L\\t` nor `R\\t`"), "{value}: {said}");
    }
}

#[test]
fn each_aggregator_of_hadoop_gives_its_result_under_the_id() {
    for (key, given, expected) in [
        ("LongValueSum:a:b", &["1", "2", " 3"][..], ("a:b", "6")),
        ("longvaluesum:x", &["1"], ("x", "1")),
        ("DoubleValueSum:x", &["1", "2"], ("x", "3")),
        ("DoubleValueSum:x", &["0.1", "0.2", "9007199254740993"], ("x", "9007199254740994")),
        ("LongValueMax:x", &["2", "10", "-3"], ("x", "10")),
        ("LongValueMin:x", &["2", "10", "-3"], ("x", "-3")),
        ("StringValueMax:x", &["2", "10"], ("x", "2")),
        ("StringValueMin:x", &["2", "10"], ("x", "10")),
        ("UniqValueCount:", &["a", "b", "a"], ("", "2")),
        (
            "ValueHistogram:x",
            &["a", "b\t2", "a\t3", "c"],
            ("x", "3\t1\t2\t4\t2.3333333333333335\t1.247219128924647"),
        ),
    ] {
        let (id, result) = expected;
        assert_eq!(reduce(&json!("aggregate"), key, given), [(id.to_owned(), result.to_owned())], "{key}");
    }
    assert!(complaint(&json!("aggregate"), "LongValueSum:x", &["1.5"]).contains("is not a whole number"));
    assert!(complaint(&json!("aggregate"), "ValueHistogram:x", &["a\tb"]).contains("value TAB count"));
    let said = complaint(&json!("aggregate"), "Sum:x", &["1"]);
    assert!(said.contains("key `Sum:x` of `aggregate` is not `TYPE:id`: there are LongValueSum,"), "{said}");
}

/// The values cut into parts, each part combined, and the results combined again, then reduced.
fn combined(builtin: &Value, key: &str, values: &[Vec<u8>], cuts: &[usize]) -> Result<Raw> {
    let made = functions(&[("combine", builtin.clone()), ("reduce", builtin.clone())]).unwrap();
    let mut combiner = made.combine.unwrap().combiner(&TaskContext::of_no_job());
    let mut combine = |values: &[Vec<u8>]| -> Result<Vec<Vec<u8>>> {
        let mut out = Emitted::default();
        combiner.reduce(key.as_bytes(), &mut Group { values: values.iter(), left_out: None }, &mut out)?;
        assert!(out.0.iter().all(|(emitted, _)| emitted == key.as_bytes()));
        Ok(out.0.into_iter().map(|(_, value)| value).collect())
    };
    let mut left = values.to_vec();
    for cut in cuts {
        let mut tail = left.split_off((*cut).min(left.len()));
        if !left.is_empty() {
            tail.extend(combine(&left)?);
        }
        left = tail;
    }
    reduce_raw(builtin, key, &left)
}

fn number() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => (-20i64..20).prop_map(|n| n.to_string()),
        1 => any::<i64>().prop_map(|n| n.to_string()),
        1 => any::<i128>().prop_map(|n| n.to_string()),
        2 => (-40i32..40).prop_map(|n| (f64::from(n) / 4.0).to_string()),
        1 => (-1e300f64..1e300).prop_map(|n| format!("{n:e}")),
    ]
    .prop_map(String::into_bytes)
}

fn integer() -> impl Strategy<Value = Vec<u8>> {
    (-30i32..30).prop_map(|n| n.to_string().into_bytes())
}

proptest! {
    #[test]
    fn results_do_not_depend_on_order_or_on_what_was_combined(
        (numbers, shuffled) in proptest::collection::vec(number(), 1..30)
            .prop_flat_map(|numbers| (Just(numbers.clone()), Just(numbers).prop_shuffle())),
        cuts in proptest::collection::vec(0usize..12, 0..6),
    ) {
        let text = |result: Result<Raw>| result.map_err(|error| error.to_string());
        for builtin in [json!("sum"), json!("min"), json!("max"), json!("first"), json!("last"),
            json!({"name": "top", "args": {"n": 3}}), json!({"name": "collect", "args": {"unique": true}})] {
            let whole = text(reduce_raw(&builtin, "k", &numbers));
            prop_assert_eq!(&text(combined(&builtin, "k", &shuffled, &cuts)), &whole, "{}", builtin);
        }
        for builtin in ["mean", "stats", "distinct", "histogram", "collect", "count"] {
            let whole = text(reduce_raw(&json!(builtin), "k", &numbers));
            prop_assert_eq!(&text(reduce_raw(&json!(builtin), "k", &shuffled)), &whole, "{}", builtin);
        }
        for key in ["DoubleValueSum:x", "StringValueMax:x", "StringValueMin:x", "UniqValueCount:x", "ValueHistogram:x"] {
            let whole = text(reduce_raw(&json!("aggregate"), key, &numbers));
            prop_assert_eq!(&text(combined(&json!("aggregate"), key, &shuffled, &cuts)), &whole, "{}", key);
        }
    }

    #[test]
    fn aggregates_of_integers_do_not_depend_on_what_was_combined(
        numbers in proptest::collection::vec(integer(), 1..30),
        cuts in proptest::collection::vec(0usize..12, 0..6),
    ) {
        let list: Vec<i32> = numbers.iter().map(|n| std::str::from_utf8(n).unwrap().parse().unwrap()).collect();
        for (key, expected) in [
            ("LongValueSum:x", list.iter().sum::<i32>()),
            ("LongValueMax:x", *list.iter().max().unwrap()),
            ("LongValueMin:x", *list.iter().min().unwrap()),
        ] {
            let pairs = texts(combined(&json!("aggregate"), key, &numbers, &cuts).unwrap());
            prop_assert_eq!(pairs, [("x".to_owned(), expected.to_string())], "{}", key);
        }
    }

    #[test]
    fn stats_and_mean_are_what_a_naive_program_finds(numbers in proptest::collection::vec(integer(), 1..40)) {
        let mut list: Vec<f64> = numbers.iter().map(|n| std::str::from_utf8(n).unwrap().parse().unwrap()).collect();
        list.sort_by(f64::total_cmp);
        let n = list.len() as f64;
        let mean = list.iter().sum::<f64>() / n;
        let deviation = (list.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt();
        let median = f64::midpoint(list[(list.len() - 1) / 2], list[list.len() / 2]);
        let pairs = texts(reduce_raw(&json!("stats"), "k", &numbers).unwrap());
        let stats: Value = serde_json::from_str(&pairs[0].1).unwrap();
        for (name, expected) in [("count", n), ("sum", list.iter().sum()), ("min", list[0]),
            ("max", *list.last().unwrap()), ("mean", mean), ("stddev", deviation), ("median", median)] {
            let got = stats[name].as_f64().unwrap();
            prop_assert!((got - expected).abs() <= 1e-9 * expected.abs().max(1.0), "{}: {} {}", name, got, expected);
        }
        let mean = texts(reduce_raw(&json!("mean"), "k", &numbers).unwrap());
        let written = format!(",\"mean\":{},", mean[0].1);
        prop_assert!(pairs[0].1.contains(&written), "{} {}", written, pairs[0].1);
    }

    #[test]
    fn a_join_is_every_pair_as_text_in_byte_order(
        values in proptest::collection::vec("[LR]\t[ab\t\u{1}]{0,3}", 0..10),
    ) {
        let mut sides: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for value in &values {
            let (side, rest) = value.split_once('\t').unwrap();
            sides.entry(side).or_default().push(rest);
        }
        let (none, empty) = (Vec::new(), vec![""]);
        let [left, right] = ["L", "R"].map(|side| sides.get(side).unwrap_or(&none));
        for (kind, left_alone, right_alone) in [("inner", false, false), ("left", true, false),
            ("right", false, true), ("outer", true, true)] {
            let lefts = if left.is_empty() && right_alone { &empty } else { left };
            let rights = if right.is_empty() && left_alone { &empty } else { right };
            let mut expected: Vec<String> = Vec::new();
            if !values.is_empty() {
                for l in lefts {
                    expected.extend(rights.iter().map(|r| format!("{l}\t{r}")));
                }
            }
            expected.sort();
            let builtin = json!({"name": "join", "args": {"type": kind}});
            let given: Vec<Vec<u8>> = values.iter().map(|value| value.clone().into_bytes()).collect();
            let pairs = texts(reduce_raw(&builtin, "k", &given).unwrap());
            let got: Vec<String> = pairs.into_iter().map(|(_, value)| value).collect();
            prop_assert_eq!(got, expected, "{}", kind);
        }
    }
}
