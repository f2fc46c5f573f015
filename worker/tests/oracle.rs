//! Whatever the splits, memory, threads and partitions: the output is the one that a few lines of
//! code make of the same input in memory.

mod common;

use common::{Place, builtin, counted, parse_counts, word_count};
use proptest::prelude::*;
use serde_json::json;

fn texts() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let byte = prop_oneof![4 => Just(b'a'), 3 => Just(b'b'), 2 => any::<u8>(), 2 => Just(b' '), 1 => Just(b'\n'), 1 => Just(b'\r')];
    let word = prop_oneof![
        Just(b"the ".to_vec()),
        Just(b"a-word-of-more-than-sixteen-bytes ".to_vec()),
        Just(b"x\n".to_vec())
    ];
    let text = prop_oneof![
        proptest::collection::vec(byte, 0..300),
        proptest::collection::vec(word, 0..200).prop_map(|words| words.concat()),
    ];
    proptest::collection::vec(text, 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]
    #[test]
    fn a_word_count_is_the_oracles(
        texts in texts(),
        split in 1u64..400,
        memory in prop_oneof![Just(2u64 << 10), Just(64 << 20)],
        threads in 1usize..4,
        partitions in 1u32..6,
        combine: bool,
        as_pods: bool,
    ) {
        let place = Place::of(&texts, memory, threads);
        let mut fields = word_count(partitions, combine);
        fields["input"] = json!({"splitSize": split});
        if as_pods {
            fields["shuffle"] = json!({"url": "file:shuffle/"});
        }
        let done = place.run(fields).unwrap();
        let expected = counted(&texts);
        prop_assert_eq!(parse_counts(&place.output()), expected.clone());
        prop_assert_eq!(done.counters.reduce_output_records, expected.len() as u64);
        prop_assert_eq!(done.counters.map_output_records, expected.values().sum::<u64>());
        prop_assert_eq!(done.outputs.len() as u32, partitions);
        prop_assert!(place.names("shuffle").is_empty(), "intermediate data is left");
        prop_assert!(place.names("scratch").is_empty(), "scratch files are left");
        prop_assert_eq!(place.names("out").len() as u32, partitions + 1);
        for partition in 0..partitions {
            let part = place.read(&format!("out/part-{partition:05}"));
            let keys: Vec<_> = part.split(|&b| b == b'\n').filter(|l| !l.is_empty()).map(|l| l.rsplitn(2, |&b| b == b'\t').last().unwrap()).collect();
            prop_assert!(keys.is_sorted(), "keys ascend within a part");
        }
    }

    #[test]
    fn identity_keeps_every_pair_and_the_order_of_equal_keys(
        lines in proptest::collection::vec((0u8..9, 0u32..1000), 0..200),
        split in 1u64..400,
        memory in prop_oneof![Just(2u64 << 10), Just(64 << 20)],
        threads in 1usize..4,
        as_pods: bool,
    ) {
        let mut place = Place::new();
        let text = text_of(&lines);
        place.write("in/a", text);
        place.resources.memory = memory;
        place.resources.threads = threads;
        let mut fields = json!({
            "input": {"splitSize": split, "format": {"type": "KeyValue"}},
            "reduce": builtin("identity"),
        });
        fields["reduce"]["tasks"] = json!(1);
        if as_pods {
            fields["shuffle"] = json!({"url": "file:shuffle/"});
        }
        place.run(fields).unwrap();
        let mut expected = lines.clone();
        expected.sort_by_key(|(key, _)| *key);
        prop_assert_eq!(place.output_text(), text_of(&expected));
    }
}

fn text_of(lines: &[(u8, u32)]) -> String {
    let lines: Vec<String> = lines.iter().map(|(key, value)| format!("k{key}\t{value}\n")).collect();
    lines.concat()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]
    #[test]
    fn ranges_one_after_the_other_are_in_total_order(
        mut lines in proptest::collection::vec((proptest::collection::vec(b'a'..b'e', 0..5), 0i32..100), 0..300),
        split in 20u64..400,
        partitions in 1u32..7,
        order in prop_oneof![Just("Ascending"), Just("Descending")],
        numeric: bool,
        as_pods: bool,
    ) {
        let place = Place::new();
        let key = |line: &(Vec<u8>, i32)| if numeric { line.1.to_string().into_bytes() } else { line.0.clone() };
        let text: Vec<Vec<u8>> = lines.iter().map(|line| [&key(line), &b"\t"[..], line.1.to_string().as_bytes(), b"\n"].concat()).collect();
        place.write("in/a", text.concat());
        let mut reduce = builtin("identity");
        reduce["tasks"] = json!(partitions);
        reduce["partitioner"] = json!({"type": "Range"});
        reduce["sort"] = json!({"order": order, "by": if numeric { "Numeric" } else { "Bytes" }});
        reduce["valueOrder"] = json!("Sorted");
        let mut fields = json!({"input": {"splitSize": split, "format": {"type": "KeyValue"}}, "reduce": reduce});
        if as_pods {
            fields["shuffle"] = json!({"url": "file:shuffle/"});
        }
        place.run(fields).unwrap();
        lines.sort_by(|a, b| {
            let keys = if numeric { a.1.cmp(&b.1) } else { a.0.cmp(&b.0) };
            let keys = if order == "Descending" { keys.reverse() } else { keys };
            keys.then_with(|| a.1.to_string().cmp(&b.1.to_string()))
        });
        let expected: Vec<Vec<u8>> = lines.iter().map(|line| [&key(line), &b"\t"[..], line.1.to_string().as_bytes(), b"\n"].concat()).collect();
        prop_assert_eq!(String::from_utf8(place.output()).unwrap(), String::from_utf8(expected.concat()).unwrap());
    }

    #[test]
    fn a_secondary_sort_needs_no_code(
        lines in proptest::collection::vec((0u8..5, 0i32..1000), 0..200),
        partitions in 1u32..4,
    ) {
        let place = Place::new();
        let text: Vec<String> = lines.iter().map(|(k, n)| format!("{k}-{n}\n")).collect();
        place.write("in/a", text.concat());
        let mut reduce = builtin("identity");
        reduce["tasks"] = json!(partitions);
        reduce["partitioner"] = json!({"type": "KeyFields", "keyFields": {"separator": "-", "fields": "1"}});
        reduce["sort"] = json!({"keyFields": "-k1,1 -k2,2nr"});
        let fields = json!({"input": {"splitSize": 64, "format": {"type": "KeyValue"}}, "reduce": reduce});
        place.run(fields).unwrap();
        for partition in 0..partitions {
            let part = String::from_utf8(place.read(&format!("out/part-{partition:05}"))).unwrap();
            let found: Vec<(u8, i32)> = part.lines().map(|line| {
                let (k, n) = line.trim_end().split_once('-').unwrap();
                (k.parse().unwrap(), n.parse().unwrap())
            }).collect();
            let keys: std::collections::BTreeSet<u8> = found.iter().map(|(k, _)| *k).collect();
            let mut expected: Vec<(u8, i32)> = lines.iter().copied().filter(|(k, _)| keys.contains(k)).collect();
            expected.sort_by_key(|(k, n)| (*k, std::cmp::Reverse(*n)));
            prop_assert_eq!(found, expected, "a key's lines are in one part, largest first");
        }
    }
}

/// A key's values in the order of their bytes, and the sum of its integers.
type Found = std::collections::BTreeMap<String, (Vec<String>, i128)>;

fn values_by_key(text: &str) -> Found {
    let mut found = Found::new();
    for line in text.lines() {
        let (key, value) = line.split_once('\t').unwrap();
        let (values, sum) = found.entry(key.to_owned()).or_default();
        values.push(value.to_owned());
        *sum += value.parse::<i128>().unwrap_or(0);
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]
    #[test]
    fn sorted_values_are_sorted_whatever_was_combined_spilled_and_merged(
        lines in proptest::collection::vec(
            (0u8..4, prop_oneof![(-99i64..99).prop_map(i128::from), Just(i128::from(i64::MAX)), Just(1 << 100)]), 0..400),
        combine in prop_oneof![Just("sum"), Just("identity"), Just("")],
        split in prop_oneof![Just(100u64), Just(3000)],
        memory in prop_oneof![Just(0u64), Just(2 << 10), Just(40 << 10), Just(64 << 20)],
        threads in 1usize..4,
        as_pods: bool,
    ) {
        let mut place = Place::new();
        let text: Vec<String> = lines.iter().map(|(key, value)| format!("k{key}\t{value}\n")).collect();
        let text = text.concat();
        place.write("in/a", &text);
        (place.resources.memory, place.resources.threads) = (memory, threads);
        // Sums go before a built-in function only where it is the sum again.
        let own = json!({"function": {"command": {"shell": "cat"}}});
        let mut reduce = if combine == "sum" { own } else { builtin("identity") };
        (reduce["tasks"], reduce["valueOrder"]) = (json!(1), json!("Sorted"));
        let mut fields = json!({"input": {"splitSize": split, "format": {"type": "KeyValue"}}, "reduce": reduce});
        if !combine.is_empty() {
            fields["combine"] = builtin(combine);
        }
        if as_pods {
            fields["shuffle"] = json!({"url": "file:shuffle/"});
        }
        place.run(fields).unwrap();
        let (mut given, found) = (values_by_key(&text), values_by_key(&place.output_text()));
        for (key, (values, sum)) in &found {
            prop_assert!(values.is_sorted(), "{}: {:?}", key, values);
            prop_assert_eq!(*sum, given[key].1);
        }
        if combine != "sum" {
            given.values_mut().for_each(|(values, _)| values.sort());
            prop_assert_eq!(given, found);
        }
    }
}
