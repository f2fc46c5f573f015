//! Every built-in function of the contract's tables, and that results depend neither on order nor
//! on how a group was cut up and combined.

mod maps;
mod reduces;

use mapreduce_api::v1alpha1::MapReduceJobSpec;
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::function::Functions;
use crate::record::{Emit, Values};

type Pairs = Vec<(String, String)>;

/// What is emitted.
#[derive(Default)]
struct Emitted(Vec<(Vec<u8>, Vec<u8>)>);

impl Emit for Emitted {
    fn emit(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.0.push((key.to_vec(), value.to_vec()));
        Ok(())
    }
}

/// The values of a group; bad ones are left out where that is wanted.
struct Group<'a> {
    values: std::slice::Iter<'a, Vec<u8>>,
    left_out: Option<usize>,
}

impl Values for Group<'_> {
    fn next(&mut self) -> Result<Option<&[u8]>> {
        Ok(self.values.next().map(Vec::as_slice))
    }

    fn bad(&mut self, error: Error) -> Result<()> {
        match &mut self.left_out {
            None => Err(error),
            Some(count) => {
                *count += 1;
                Ok(())
            }
        }
    }
}

/// `name` or `{name, args}` as a manifest's `function`.
fn function(builtin: &Value) -> Value {
    match builtin {
        Value::String(name) => json!({"builtin": {"name": name}}),
        other => json!({"builtin": other}),
    }
}

/// The functions of a job with these fields.
fn functions(fields: &[(&str, Value)]) -> Result<Functions> {
    let mut spec = json!({"input": {"urls": ["file:in"]}, "output": {"url": "file:out/"}});
    for (phase, builtin) in fields {
        spec[phase] = json!({"function": function(builtin)});
    }
    Functions::new(&serde_json::from_value::<MapReduceJobSpec>(spec).unwrap())
}

fn refusal(fields: &[(&str, Value)]) -> String {
    let error = functions(fields).expect_err("the functions are accepted");
    assert_eq!(error.kind(), crate::error::ErrorKind::Usage, "{error}");
    error.to_string()
}

#[test]
fn a_builtin_that_there_isnt_is_refused_with_those_that_there_are() {
    assert_eq!(
        refusal(&[("map", json!("wrods"))]),
        "spec.map.function: there is no map builtin `wrods`: there are identity, words, grep, fields, csv, \
         json, extract, count"
    );
    assert!(refusal(&[("reduce", json!("words"))]).contains("no reduce builtin `words`"));
}

#[test]
fn arguments_that_a_function_does_not_take_are_refused() {
    for (phase, builtin, message) in [
        ("reduce", json!({"name": "sum", "args": {"n": 1}}), "builtin `sum` takes no arguments, not `n`"),
        (
            "reduce",
            json!({"name": "top", "args": {"m": 1}}),
            "builtin `top` has no argument `m`: it has n, by",
        ),
        ("reduce", json!({"name": "top", "args": {"n": 0}}), "from 1 to 1000000, not 0"),
        ("reduce", json!({"name": "top", "args": {"by": "bytes"}}), "is one of numeric, not `bytes`"),
        ("reduce", json!({"name": "join", "args": {"type": "full"}}), "is one of inner, left, right, outer"),
        ("reduce", json!({"name": "join", "args": {"sides": ["A", "A"]}}), "two different tags"),
        ("reduce", json!({"name": "collect", "args": {"unique": 1}}), "true or false, not 1"),
        ("map", json!({"name": "count", "args": {"key": "x"}}), "takes no arguments"),
        ("map", json!({"name": "fields", "args": {"key": "0"}}), "numbered from 1, not `0`"),
        ("map", json!({"name": "fields", "args": {"value": "3-2"}}), "not `3-2`"),
        (
            "map",
            json!({"name": "fields", "args": {"separator": ""}}),
            "`separator` of builtin `fields` is empty",
        ),
        ("map", json!("csv"), "builtin `csv` needs the argument `key`, `value` or both"),
        ("map", json!("extract"), "builtin `extract` needs the argument `pattern`"),
        (
            "map",
            json!({"name": "extract", "args": {"pattern": "(a"}}),
            "is not a valid regex: unclosed group: `(a`",
        ),
        (
            "map",
            json!({"name": "extract", "args": {"pattern": "(?<ip>a)"}}),
            "argument `value` of builtin `extract`, `${bytes}`, needs a group `bytes` that the pattern hasn't: \
             it has 1, of them with names: ip",
        ),
        (
            "map",
            json!({"name": "extract", "args": {"pattern": "(?<ip>a)", "value": "${ip"}}),
            "has a `${` without a `}`",
        ),
        (
            "map",
            json!({"name": "extract", "args": {"pattern": "(a)", "value": "1", "onMismatch": "skip"}}),
            "is one of Skip, BadRecord, not `skip`",
        ),
    ] {
        let said = refusal(&[(phase, builtin.clone())]);
        assert!(said.contains(message), "{builtin}: {said}");
        assert!(said.starts_with("spec."), "{said}");
    }
}

#[test]
fn a_combine_function_that_can_not_be_applied_again_is_refused_with_the_remedy() {
    let top = |n: u32| json!({"name": "top", "args": {"n": n}});
    for (combine, reduce, remedy) in [
        (json!("count"), json!("sum"), "use `sum` for combine and reduce"),
        (json!("mean"), json!("mean"), "leave combine out"),
        (json!("stats"), json!("stats"), "leave combine out"),
        (json!("distinct"), json!("distinct"), "leave combine out"),
        (json!("histogram"), json!("histogram"), "leave combine out"),
        (json!("collect"), json!("collect"), "leave combine out"),
        (json!("join"), json!("join"), "leave combine out"),
        (json!("sum"), json!("mean"), "use `sum` for both, or leave combine out"),
        (json!("sum"), json!("count"), "use `sum` for both, or leave combine out"),
        (json!("sum"), json!("stats"), "use `sum` for both, or leave combine out"),
        (json!("sum"), json!("identity"), "use `sum` for both, or leave combine out"),
        (top(3), top(4), "`top` of the same `n` as the reduce function, and 3 is not 4"),
        (json!("top"), json!("max"), "use `top` for both, or leave combine out"),
        (json!("aggregate"), json!("sum"), "use it for both"),
    ] {
        let said = refusal(&[("combine", combine.clone()), ("reduce", reduce)]);
        assert!(said.starts_with("spec.combine.function: "), "{said}");
        assert!(said.contains(remedy), "{combine}: {said}");
    }
    for name in ["identity", "sum", "min", "max", "first", "last", "top", "aggregate"] {
        assert!(functions(&[("combine", json!(name)), ("reduce", json!(name))]).is_ok(), "{name}");
    }
    assert!(functions(&[("combine", top(3)), ("reduce", top(3))]).is_ok());
    assert!(functions(&[("combine", json!("identity")), ("reduce", json!("mean"))]).is_ok());
}
