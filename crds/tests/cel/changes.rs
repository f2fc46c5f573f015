//! What of a job can be changed, and until when.

use mapreduce_api::validate::validate_update;

use super::{COMBINE, many_steps, said, steps, with};

#[test]
fn what_can_be_changed_and_what_not() {
    const CHAIN: &str = "spec: steps can't be added, removed or renamed: make a new job";
    let old = with("", "");
    let managed = with("  output:", "  managedBy: kueue.x-k8s.io/multikueue\n  output:");
    for (old, new, message) in [
        (&old, old.clone(), "accepted"),
        (&old, with("  output:", "  suspend: true\n  output:"), "accepted"),
        (&old, with("  reduce:\n", "  reduce:\n    parallelism: 3\n"), "accepted"),
        (&old, with("texts/", "poems/"), "accepted"),
        (&old, with("counts/", "other/"), "accepted"),
        // Writing a default out changes nothing.
        (
            &old,
            with("{url: 's3://books/counts/'}", "{url: 's3://books/counts/', ifExists: Fail}"),
            "accepted",
        ),
        (&old, managed.clone(), "spec: managedBy can't be changed"),
        (&managed, old.clone(), "spec: managedBy can't be changed"),
        (&steps("", ""), steps("name: words", "name: identity"), "accepted"),
        (&steps("", ""), steps("sort-2", "other"), CHAIN),
        (&steps("", ""), many_steps(3), CHAIN),
        (&steps("", ""), old.clone(), CHAIN),
        (&old, steps("", ""), CHAIN),
        (&managed, managed.clone(), "accepted"),
        (&managed, managed.replace("multikueue", "other"), "spec: managedBy can't be changed"),
    ] {
        assert_eq!(said(validate_update(old, &new)), message, "{new}");
    }
}

/// What is said of a change of what a run has fixed.
const FIXED: &str = "what a run does is fixed when its planning begins: only suspend, parallelism, activeDeadlineSeconds, \
     pendingDeadlineSeconds, ttlSecondsAfterFinished and cleanup can be changed; make a new job for all else";

/// Changes of a job, and whether a run has fixed what they change.
fn changes() -> Vec<(String, String, bool)> {
    let plain = with("", "");
    let chain = steps("", "");
    let fixed = [
        ("texts/", "poems/"),
        ("counts/", "other/"),
        ("{name: words}", "{name: identity}"),
        (COMBINE, ""),
        ("  map:\n    function: {builtin: {name: words}}\n", ""),
        ("  map:\n", "  map:\n    image: python:3\n"),
        ("  map:\n", "  map:\n    resources: {limits: {cpu: 1}}\n"),
        ("  map:\n", "  map:\n    serviceAccountName: a\n"),
        ("  map:\n", "  map:\n    template: {spec: {nodeSelector: {disk: ssd}}}\n"),
        ("  reduce:\n", "  reduce:\n    tasks: 3\n"),
        ("  reduce:\n", "  reduce:\n    image: python:3\n"),
        ("  reduce:\n", "  reduce:\n    partitioner: {type: Range}\n"),
        ("  reduce:\n", "  reduce:\n    sort: {order: Descending}\n"),
        ("  reduce:\n", "  reduce:\n    valueOrder: Sorted\n"),
        ("  output:", "  storage: {s3: {secretRef: {name: keys}}}\n  output:"),
        ("  output:", "  shuffle: {url: 's3://b/t/'}\n  output:"),
        ("  output:", "  retries: 9\n  output:"),
        ("  output:", "  taskTimeoutSeconds: 9\n  output:"),
        ("  output:", "  maxFailedTasks: 9\n  output:"),
        ("  output:", "  maxFailedTasks: 9%\n  output:"),
        ("  output:", "  skipBadRecords: {max: 9}\n  output:"),
        ("  output:", "  small: {mode: Never}\n  output:"),
    ];
    let free = [
        ("  output:", "  suspend: true\n  output:"),
        ("  output:", "  activeDeadlineSeconds: 9\n  output:"),
        ("  output:", "  pendingDeadlineSeconds: 9\n  output:"),
        ("  output:", "  ttlSecondsAfterFinished: 9\n  output:"),
        ("  output:", "  cleanup: Never\n  output:"),
        ("  map:\n", "  map:\n    parallelism: 9\n"),
        ("  reduce:\n", "  reduce:\n    parallelism: 9\n"),
        // Writing a default out changes nothing.
        ("  output:", "  retries: 3\n  output:"),
        ("{name: wordcount}", "{name: wordcount, labels: {a: b}}"),
    ];
    let of = |table: &[(&str, &str)], is_fixed: bool| {
        let change = |(original, new): &(&str, &str)| (plain.clone(), with(original, new), is_fixed);
        table.iter().map(change).collect::<Vec<_>>()
    };
    let template = with("  map:\n", "  map:\n    template: {spec: {nodeSelector: {disk: ssd}}}\n");
    let env = "{command: {shell: cat, env: [{name: A, valueFrom: {secretKeyRef: {name: s, key: k}}}]}}";
    let command = with("{builtin: {name: words}}", env);
    let no_map = with("  map:\n    function: {builtin: {name: words}}\n", "");
    [
        of(&fixed, true),
        of(&free, false),
        vec![
            (template.clone(), template.replace("ssd", "hdd"), true),
            (template.clone(), plain.clone(), true),
            (command.clone(), command.replace("name: s,", "name: other,"), true),
            (no_map.clone(), no_map.replace("  combine:", "  map: {parallelism: 9}\n  combine:"), false),
            (chain.clone(), steps("name: words", "name: identity"), true),
            (chain.clone(), steps("type: Range}", "type: Range}, serviceAccountName: a"), true),
            (chain.clone(), steps("type: Range}", "type: Range}, parallelism: 9"), false),
        ],
    ]
    .concat()
}

#[test]
fn what_a_run_has_fixed_can_be_changed_before_its_planning_and_while_no_pod_has_started() {
    for (old, new, _) in changes() {
        for status in
            ["", "status: {}\n", "status: {phase: Pending}\n", "status: {phase: Planning, amendable: true}\n"]
        {
            assert_eq!(said(validate_update(&format!("{old}{status}"), &new)), "accepted", "{status}{new}");
        }
    }
}

#[test]
fn what_a_run_has_fixed_can_not_be_changed_later_and_the_rest_can() {
    for (old, new, is_fixed) in changes() {
        for phase in ["Planning", "Mapping", "Reducing", "Succeeded", "Failed"] {
            let old = format!("{old}status: {{phase: {phase}}}\n");
            let expected = if is_fixed { FIXED } else { "accepted" };
            assert_eq!(said(validate_update(&old, &new)), expected, "{phase}\n{old}\n{new}");
        }
    }
}
