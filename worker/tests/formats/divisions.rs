//! Every reduce function over splits, threads and tasks of any number.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::common::Place;

/// The output of a reduce function over `key TAB value` lines, its lines in byte order.
fn reduced(lines: &str, function: &Value, combine: bool, shape: &Shape) -> Result<Vec<String>, String> {
    let mut place = Place::new();
    let middle = lines.len() / 2;
    let middle = lines[middle..].find('\n').map_or(lines.len(), |at| middle + at + 1);
    place.write("in/a", &lines[..middle]);
    place.write("in/b", &lines[middle..]);
    place.resources.memory = shape.memory;
    place.resources.threads = shape.threads;
    let mut fields = json!({
        "input": {"format": {"type": "KeyValue"}, "splitSize": shape.split},
        "reduce": {"function": {"builtin": function}, "tasks": shape.tasks},
    });
    if combine {
        fields["combine"] = json!({"function": {"builtin": function}});
    }
    if shape.as_pods {
        fields["shuffle"] = json!({"url": "file:shuffle/"});
    }
    place.run(fields).map_err(|error| error.to_string())?;
    let mut lines: Vec<String> = place.output_text().lines().map(str::to_owned).collect();
    lines.sort();
    Ok(lines)
}

/// How a job is cut up.
#[derive(Clone, Debug)]
struct Shape {
    split: u64,
    memory: u64,
    threads: usize,
    tasks: u32,
    as_pods: bool,
}

fn shape() -> impl Strategy<Value = Shape> {
    let memory = prop_oneof![Just(2u64 << 10), Just(64 << 20)];
    (1u64..300, memory, 1usize..4, 1u32..5, any::<bool>())
        .prop_map(|(split, memory, threads, tasks, as_pods)| Shape { split, memory, threads, tasks, as_pods })
}

const WHOLE: Shape = Shape { split: 1 << 30, memory: 64 << 20, threads: 1, tasks: 1, as_pods: false };

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]
    #[test]
    fn results_do_not_depend_on_splits_threads_or_tasks(
        pairs in proptest::collection::vec((0u8..5, prop_oneof![
            (-99i32..99).prop_map(|n| n.to_string()),
            (-1e9f64..1e9).prop_map(|n| format!("{n:e}")),
            any::<i64>().prop_map(|n| n.to_string()),
        ]), 1..120),
        shape in shape(),
    ) {
        let lines: String = pairs.iter().flat_map(|(key, value)| [format!("k{key}\t{value}"), "\n".into()]).collect();
        for name in ["sum", "min", "max", "first", "last", "top", "mean", "stats", "distinct", "histogram", "collect", "count"] {
            let function = json!({"name": name});
            let whole = reduced(&lines, &function, false, &WHOLE);
            prop_assert!(whole.is_ok());
            let combines = ["sum", "min", "max", "first", "last", "top"].contains(&name);
            for combine in [false, true] {
                if combines || !combine {
                    prop_assert_eq!(&reduced(&lines, &function, combine, &shape), &whole, "{} {}", name, combine);
                }
            }
        }
    }

    #[test]
    fn aggregates_and_joins_do_not_depend_on_splits_threads_or_tasks(
        values in proptest::collection::vec((0usize..8, -9i32..9), 1..80),
        shape in shape(),
    ) {
        const TYPES: [&str; 8] = ["LongValueSum", "DoubleValueSum", "LongValueMax", "LongValueMin",
            "StringValueMax", "StringValueMin", "UniqValueCount", "ValueHistogram"];
        let lines: String =
            values.iter().flat_map(|(kind, n)| [format!("{}:x\t{n}", TYPES[*kind]), "\n".into()]).collect();
        let aggregate = json!({"name": "aggregate"});
        let whole = reduced(&lines, &aggregate, false, &WHOLE);
        prop_assert!(whole.is_ok());
        for combine in [false, true] {
            prop_assert_eq!(&reduced(&lines, &aggregate, combine, &shape), &whole);
        }
        let lines: String =
            values.iter().flat_map(|(kind, n)| [format!("k{}\t{}\t{n}", kind / 2, ["L", "R"][kind % 2]), "\n".into()]).collect();
        let join = json!({"name": "join", "args": {"type": "outer"}});
        prop_assert_eq!(reduced(&lines, &join, false, &shape), reduced(&lines, &join, false, &WHOLE));
    }
}
