//! Which built-in combine functions may stand before which reduce functions: the one place of the rule.
//!
//! A combine function is applied any number of times, to its own results too, also not at all. A pair is
//! right when the result doesn't depend on that:
//!
//! ```text
//!  combine                        before reduce
//!  identity                       any
//!  sum, min, max, first, last     the same
//!  top, collect with unique       the same with the same arguments
//!  aggregate                      aggregate: its results are in a form of its own
//!  any of these but aggregate     a function of the user's own, who knows what it takes
//!  a function of the user's own   any: it is the user's word
//! ```
//!
//! The CRD's rule says what it can say, which is all but the arguments: they have no schema.

use serde_json::{Value, json};

use super::function::{Builtin, Function};

/// The built-in functions that can be applied to their own results.
const COMBINES: [&str; 8] = ["identity", "sum", "min", "max", "first", "last", "top", "collect"];

/// The CRD's rule, for whatever has the fields `combine` and `reduce`.
#[cfg(feature = "crd")]
pub(crate) const RULE: &str = "!has(self.combine) || !has(self.combine.__function__.builtin) || \
     self.combine.__function__.builtin.name == 'identity' || \
     (self.combine.__function__.builtin.name in ['sum', 'min', 'max', 'first', 'last', 'top', 'collect', 'aggregate'] && \
     (!has(self.reduce) || !has(self.reduce.__function__) || !has(self.reduce.__function__.builtin) || \
     self.reduce.__function__.builtin.name == self.combine.__function__.builtin.name))";

/// What the CRD's rule says.
#[cfg(any(feature = "crd", feature = "cel"))]
pub(crate) const RULE_MESSAGE: &str = "a built-in combine is identity, or sum, min, max, first, last, top, collect or aggregate \
     before the same reduce: leave it out otherwise";

/// Checks a combine function before its reduce function.
///
/// # Errors
///
/// Why the pair would give other results than the reduce function alone, and the remedy.
pub fn check_combine(combine: &Function, reduce: Option<&Function>) -> Result<(), String> {
    let Some(combine) = &combine.builtin else { return Ok(()) };
    let name = combine.name.as_str();
    match name {
        "identity" => return Ok(()),
        "aggregate" => {
            return match reduce.and_then(|reduce| reduce.builtin.as_ref()) {
                Some(reduce) if reduce.name == name => Ok(()),
                _ => Err("`aggregate` as a combine function goes with `aggregate` as the reduce function, \
                          which takes the type from the key: use it for both, or leave combine out"
                    .into()),
            };
        }
        "count" => {
            return Err("`count` can't be a combine function, which is applied to its own results too: \
                        emit 1 for each value and use `sum` for combine and reduce"
                .into());
        }
        "mean" => {
            return Err(
                "`mean` can't be a combine function: the mean of means is not the mean; leave combine out"
                    .into(),
            );
        }
        "join" => {
            return Err(
                "`join` can't be a combine function, which sees only some values of a key: leave combine \
                        out"
                .into(),
            );
        }
        "collect" if !is_unique(combine) => {
            return Err(
                "`collect` can't be a combine function: values that are joined already can't be put in \
                        order any more; leave combine out, or write `unique: true` for both"
                    .into(),
            );
        }
        name if !COMBINES.contains(&name) => {
            return Err(format!(
                "`{name}` can't be a combine function, which is applied to its own results too: leave combine out"
            ));
        }
        _ => {}
    }
    match reduce.and_then(|reduce| reduce.builtin.as_ref()) {
        Some(reduce) if reduce.name != name => Err(format!(
            "`{name}` as a combine function gives another result before `{}` as the reduce function: use `{name}` \
             for both, or leave combine out",
            reduce.name
        )),
        Some(reduce) => check_same_arguments(combine, reduce),
        None => Ok(()),
    }
}

fn check_same_arguments(combine: &Builtin, reduce: &Builtin) -> Result<(), String> {
    for (argument, default) in defaults(&combine.name) {
        let of = |builtin: &Builtin| builtin.args.get(*argument).cloned().unwrap_or_else(default);
        let (ours, theirs) = (of(combine), of(reduce));
        if ours != theirs {
            return Err(format!(
                "`{0}` as a combine function goes with `{0}` of the same `{argument}` as the reduce function, \
                 and {ours} is not {theirs}: write the same for both, or leave combine out",
                combine.name
            ));
        }
    }
    Ok(())
}

type Default = fn() -> Value;

/// The arguments that have to be the same, and what they are when they are absent.
fn defaults(name: &str) -> &'static [(&'static str, Default)] {
    match name {
        "top" => &[("n", || json!(10)), ("by", || json!("numeric"))],
        "collect" => &[("unique", || json!(false)), ("separator", || json!(","))],
        _ => &[],
    }
}

fn is_unique(collect: &Builtin) -> bool {
    collect.args.get("unique") == Some(&Value::Bool(true))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Function, check_combine};

    const ALL: [&str; 15] = [
        "identity",
        "sum",
        "min",
        "max",
        "first",
        "last",
        "top",
        "aggregate",
        "collect",
        "count",
        "mean",
        "distinct",
        "stats",
        "histogram",
        "join",
    ];

    fn function(json: serde_json::Value) -> Function {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn only_pairs_that_are_right_for_any_number_of_combines_are_accepted() {
        let own = function(json!({"command": {"shell": "cat"}}));
        for combine in ALL {
            for reduce in ALL {
                let right = combine == "identity"
                    || combine == reduce
                        && ["sum", "min", "max", "first", "last", "top", "aggregate"].contains(&combine);
                let said = check_combine(&Function::builtin(combine), Some(&Function::builtin(reduce)));
                assert_eq!(said.is_ok(), right, "{combine} before {reduce}: {said:?}");
                assert_eq!(check_combine(&own, Some(&Function::builtin(reduce))), Ok(()));
                let remedies = ["leave combine out", "use `sum` for combine and reduce"];
                assert!(right || remedies.iter().any(|remedy| said.as_ref().unwrap_err().contains(remedy)));
            }
            let right = ["identity", "sum", "min", "max", "first", "last", "top"].contains(&combine);
            let said = check_combine(&Function::builtin(combine), Some(&own));
            assert_eq!(said.is_ok(), right, "{combine} before a function of the user's own: {said:?}");
        }
        assert!(check_combine(&Function::builtin("summ"), Some(&own)).is_err());
    }

    #[test]
    fn arguments_that_change_the_result_have_to_be_the_same() {
        let of =
            |name: &str, args: serde_json::Value| function(json!({"builtin": {"name": name, "args": args}}));
        let check = |name, combine, reduce| check_combine(&of(name, combine), Some(&of(name, reduce)));
        assert_eq!(check("top", json!({"n": 10}), json!({})), Ok(()));
        assert_eq!(check("top", json!({"by": "numeric"}), json!({"n": 10})), Ok(()));
        assert!(check("top", json!({"n": 3}), json!({"n": 4})).unwrap_err().contains("3 is not 4"));
        let unique = json!({"unique": true});
        assert_eq!(check("collect", unique.clone(), unique.clone()), Ok(()));
        assert_eq!(check("collect", unique.clone(), json!({"unique": true, "separator": ","})), Ok(()));
        assert!(check("collect", unique.clone(), json!({})).is_err());
        assert!(check("collect", json!({}), unique.clone()).is_err());
        let other = json!({"unique": true, "separator": ";"});
        assert!(check("collect", unique, other).unwrap_err().contains("the same `separator`"));
    }
}
