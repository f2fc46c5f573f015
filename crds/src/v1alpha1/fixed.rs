//! What a run has fixed: the CRD's rule on what may be changed of a job whose planning has begun.
//!
//! The rule stands at the root of the schema, for it depends on the status. It names every field that is fixed: CEL can't
//! compare two objects but for some of their fields, and a phase's `parallelism` may change.

/// `self.A == oldSelf.A`, for a field that is always there.
macro_rules! same {
    ($($field:literal),+) => {
        concat!($("self.spec.", $field, " == oldSelf.spec.", $field, " && "),+)
    };
}

/// The same for a field that may be absent from both.
macro_rules! same_if_any {
    ($new:literal, $old:literal, $field:literal) => {
        concat!(
            "has(",
            $new,
            ".",
            $field,
            ") == has(",
            $old,
            ".",
            $field,
            ") && (!has(",
            $new,
            ".",
            $field,
            ") || ",
            $new,
            ".",
            $field,
            " == ",
            $old,
            ".",
            $field,
            ")"
        )
    };
}

/// The same for fields of an object that may be absent itself, which means the same as one without fields.
macro_rules! same_within {
    ($new:literal, $old:literal, $within:literal: $($field:literal),+) => {
        concat!($(
            " && (has(", $new, ".", $within, ") && has(", $new, ".", $within, ".", $field, ") ? [",
            $new, ".", $within, ".", $field, "] : []) == (has(", $old, ".", $within, ") && has(",
            $old, ".", $within, ".", $field, ") ? [", $old, ".", $within, ".", $field, "] : [])"
        ),+)
    };
}

/// The phases of a step, without their parallelism.
macro_rules! same_phases {
    ($new:literal, $old:literal) => {
        concat!(
            same_if_any!($new, $old, "combine"),
            same_within!($new, $old, "map": "__function__", "image", "resources", "serviceAccountName", "template"),
            same_within!($new, $old, "reduce": "__function__", "tasks", "partitioner", "sort", "valueOrder", "image",
                "resources", "serviceAccountName", "template")
        )
    };
}

/// The rule.
pub(crate) const RULE: &str = concat!(
    "!has(oldSelf.status) || !has(oldSelf.status.phase) || oldSelf.status.phase == 'Pending' || ",
    "has(oldSelf.status.amendable) || (",
    same!("input", "output", "storage", "shuffle", "retries", "maxDisruptions", "taskTimeoutSeconds"),
    same_if_any!("self.spec", "oldSelf.spec", "maxFailedTasks"),
    " && ",
    same_if_any!("self.spec", "oldSelf.spec", "skipBadRecords"),
    " && ",
    same_if_any!("self.spec", "oldSelf.spec", "small"),
    " && ",
    same_phases!("self.spec", "oldSelf.spec"),
    " && (!has(self.spec.steps) || !has(oldSelf.spec.steps) || ",
    "self.spec.steps.all(s, oldSelf.spec.steps.exists(o, o.name == s.name && ",
    same_phases!("s", "o"),
    "))))"
);

/// What it says.
pub(crate) const RULE_MESSAGE: &str = "what a run does is fixed when its planning begins: only suspend, parallelism, \
     activeDeadlineSeconds, pendingDeadlineSeconds, ttlSecondsAfterFinished and cleanup can be changed; make a new job for \
     all else";
