//! What a seed is about: the jobs, their input, what is there before, and what people do meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;

use mapreduce_api::ids::JobId;
use mapreduce_api::v1alpha1::{IfExists, MapReduceJobSpec};
use mapreduce_api::wire::{Counters, JobFile};
use mapreduce_worker::task::finish::{OutputObject, Success};
use serde_json::{Value, json};

use crate::bucket::{Object, Writer};
use crate::jobs::{Happening, JobRun};
use crate::oracle::Expected;
use crate::random::Random;
use crate::scheduler::State;

/// What a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Counts words.
    Count,
    /// The same in two steps.
    Steps,
    /// Copies lines, without reducers.
    Copy,
    /// Adds up numbers, and leaves out what is none.
    Skip,
}

const TEXTS: [&str; 4] = ["to be or not to be\n", "that is\nthe question\n", "be\n", "a\nb\nto a\n"];
const NUMBERS: [&str; 4] = ["a\t1\nb\tx\n", "b\t2\na\t3\n", "c\ty\na\t1\n", "a\tz\n"];
/// The object that somebody adds.
const MORE: &str = "in/9";

fn function(name: &str) -> Value {
    json!({"function": {"builtin": {"name": name}}})
}

fn reduce(name: &str, tasks: usize) -> Value {
    json!({"function": {"builtin": {"name": name}}, "tasks": tasks})
}

impl Shape {
    fn spec(self, random: &mut Random) -> Value {
        let tasks = 1 + random.below(3);
        let mut count = json!({"map": function("words"), "reduce": reduce("sum", tasks)});
        if random.chance(1, 2) {
            count["combine"] = function("sum");
        }
        match self {
            Self::Count => count,
            Self::Steps => {
                count["name"] = json!("first");
                let then = json!({"name": "then", "map": function("identity"), "reduce": reduce("sum", 1 + random.below(2))});
                json!({"steps": [count, then]})
            }
            Self::Copy => json!({"input": {"format": {"type": "KeyValue"}}, "reduce": {"tasks": 0}}),
            Self::Skip => json!({
                "input": {"format": {"type": "KeyValue"}},
                "map": function("identity"),
                "reduce": reduce("sum", tasks),
                "skipBadRecords": {"max": 100},
            }),
        }
    }

    /// What comes of these objects.
    fn expected(self, texts: &[&str]) -> Expected {
        let mut pairs: BTreeMap<String, u64> = BTreeMap::new();
        let (mut lines, mut skipped) = (0, 0);
        for line in texts.iter().flat_map(|text| text.lines()) {
            lines += 1;
            match self {
                Self::Count | Self::Steps => {
                    line.split(' ').for_each(|word| *pairs.entry(word.to_owned()).or_default() += 1);
                }
                Self::Copy => *pairs.entry(format!("{line}\t")).or_default() += 1,
                Self::Skip => {
                    let (key, value) = line.split_once('\t').unwrap();
                    match value.parse::<u64>() {
                        Ok(n) => *pairs.entry(key.to_owned()).or_default() += n,
                        Err(_) => skipped += 1,
                    }
                }
            }
        }
        Expected { pairs, lines, skipped }
    }
}

/// Makes the world of a seed.
pub fn of(seed: u64, trace: bool) -> State {
    let mut state = State::new(seed, trace);
    let mut random = state.random.clone();
    let shape =
        random.pick(&[Shape::Count, Shape::Count, Shape::Count, Shape::Steps, Shape::Copy, Shape::Skip]);
    let replace = random.chance(1, 2);
    let texts: Vec<&str> = (0..=random.below(3))
        .map(|_| random.pick(if shape == Shape::Skip { &NUMBERS } else { &TEXTS }))
        .collect();
    let separator = random.pick(&["/", "/", "//"]);
    for (i, text) in texts.iter().enumerate() {
        put(&mut state, &format!("in{separator}{i}"), text.as_bytes());
    }
    // What consoles make of a folder.
    if random.chance(1, 4) {
        ["in/", "out/", "shuffle/", "out/sub/"].iter().for_each(|marker| put(&mut state, marker, b""));
    }
    let is_local = random.chance(1, 8);
    let two = random.chance(1, 4);
    let with_shuffle = random.chance(1, 2);
    state.oracle.shape = Some(shape);
    state.oracle.replaces = replace;
    state.oracle.expected.push(shape.expected(&texts));
    for number in 0..=usize::from(two) {
        let mut fields = shape.spec(&mut random);
        merge(
            &mut fields,
            json!({
                "input": {"urls": ["s3://b/in/"], "splitSize": 1000},
                "output": {"url": "s3://b/out/", "ifExists": if replace { "Replace" } else { "Fail" }},
                "retries": random.below(4),
            }),
        );
        if with_shuffle {
            merge(&mut fields, json!({"shuffle": {"url": "s3://b/shuffle/"}}));
        }
        let spec: MapReduceJobSpec = serde_json::from_value(fields).unwrap();
        assert_eq!(spec.output.if_exists == IfExists::Replace, replace);
        let file = JobFile { id: JobId::new(format!("run-{number}")), name: "test".into(), spec };
        state.jobs.push(JobRun::new(file, is_local, 1 + random.below(4)));
        let after = if number == 0 { 0 } else { random.steps() };
        state.plan(after, Happening::Start(number));
    }
    if replace && random.chance(1, 2) {
        old_result(&mut state);
    }
    // What is not the jobs', beside the output and the input.
    for key in ["out-2/part-00000", "outer", "shuffle-2/run-0/plan.json", "other//run-0/x"] {
        put(&mut state, key, b"foreign");
        state.oracle.foreign.insert(key.to_owned());
    }
    if random.chance(1, 8) && !two {
        let mut more = texts.clone();
        more.push(if shape == Shape::Skip { NUMBERS[1] } else { TEXTS[3] });
        state.oracle.expected.push(shape.expected(&more));
        let after = random.steps();
        state.plan(after, Happening::MoreInput);
    }
    if random.chance(1, 4) && !replace && !two {
        let after = random.steps();
        state.plan(after, Happening::OtherProgram);
    }
    if random.chance(1, 3) {
        for _ in 0..=random.below(3) {
            let (after, job) = (random.steps(), random.below(state.jobs.len()));
            state.plan(after, Happening::Extra(job));
        }
    }
    if random.chance(1, 12) {
        let after = random.steps();
        state.plan(after, Happening::Delete(0));
    }
    state.random = random;
    state
}

fn put(state: &mut State, key: &str, bytes: &[u8]) {
    let object = Object { bytes: Arc::new(bytes.to_vec()), by: Writer::BEFORE };
    state.bucket.objects.insert(key.to_owned(), object);
}

/// What an earlier run has left at the output prefix.
fn old_result(state: &mut State) {
    let parts = ["part-00000", "part-00001", "part-00007"];
    let outputs =
        parts.iter().map(|name| OutputObject { url: format!("s3://b/out/{name}"), bytes: 3, records: 1 });
    let success = Success {
        name: "test".into(),
        id: JobId::new("old"),
        counters: Counters::default(),
        steps: Vec::new(),
        skew_percent: None,
        outputs: outputs.collect(),
        replaced: Vec::new(),
    };
    let json = serde_json::to_vec(&success).unwrap();
    put(state, "out/_SUCCESS", &json);
    for name in parts {
        put(state, &format!("out/{name}"), b"old");
    }
    state.oracle.old = state
        .bucket
        .below("out/")
        .filter(|(key, _)| !key.ends_with('/'))
        .map(|(key, object)| (key.clone(), object.bytes.to_vec()))
        .collect();
}

/// What another program writes.
const OTHERS: &str = "out/part-00000";

impl State {
    pub fn other_program(&mut self) {
        if !self.bucket.objects.keys().any(|key| key == OTHERS || key == "out/_SUCCESS") {
            put(self, OTHERS, b"foreign");
            self.oracle.foreign.insert(OTHERS.to_owned());
        }
    }

    pub fn more_input(&mut self) {
        let text = if self.oracle.shape == Some(Shape::Skip) { NUMBERS[1] } else { TEXTS[3] };
        put(self, MORE, text.as_bytes());
    }
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (name, value) in from {
                merge(into.entry(name).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}
