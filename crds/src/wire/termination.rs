//! What a pod says at its end, through `/dev/termination-log`. Kubernetes keeps 4,096 bytes of it.

use serde::{Deserialize, Serialize};

use super::Counters;

/// Kubernetes cuts a termination message after this many bytes.
pub const MAX_TERMINATION_BYTES: usize = 4096;

/// A pod's last words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Termination {
    /// The plan is in the bucket.
    Planned(PlanSummary),
    /// The attempt's task is committed.
    Done,
    /// The attempt's task is committed, and with it the phase's or the job's last one.
    Finished(Box<JobSummary>),
    /// The attempt has failed.
    Failed(ErrorReport),
}

/// What the plan decided.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanSummary {
    /// Number of map tasks, which is the number of map pods; 0 for an empty input.
    pub map_tasks: u32,
    /// Number of reduce tasks, which is the number of reduce pods; 0 for a map-only job.
    pub reduce_tasks: u32,
    /// Number of output parts.
    pub partitions: u32,
    /// Objects found.
    pub input_objects: u64,
    /// Their bytes, as stored.
    pub input_bytes: u64,
    /// What the step before has done, without the user's counters; none in the first step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Counters>,
}

/// What a phase or, after the last one, the job has done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobSummary {
    /// Sums over all tasks of all steps. The user's counters may be cut to fit; `_SUCCESS` has them all.
    pub counters: Counters,
    /// What the last step alone has done, without the user's counters; none in a job without steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_step: Option<Counters>,
    /// Parts written; 0 until the output is committed.
    pub parts: u64,
    /// Pairs in them.
    #[serde(default)]
    pub records: u64,
    /// What the largest reduce task of the last step was given, in percent of the median.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skew_percent: Option<u64>,
    /// Whether the output is committed.
    pub committed: bool,
    /// The plan, of a job that was run whole in its planner's pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanSummary>,
}

/// Why an attempt failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorReport {
    /// One line.
    pub message: String,
    /// What led to it, outermost first; the user's traceback is one of them, whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
    /// The task, as `map-00017`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// The record at fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<RecordRef>,
    /// Whether no attempt can do better.
    #[serde(default)]
    pub permanent: bool,
    /// Attempts at the task that have failed, those of pods before among them; 0 where it isn't known.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub attempts: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it this way")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A record of the input.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordRef {
    /// The object.
    pub url: String,
    /// Where in it the record begins (in its content, where it is compressed).
    pub offset: u64,
}

impl Termination {
    /// As JSON that fits in a termination message: user counters are dropped, then texts are cut
    /// from the middle, until it does.
    pub fn to_message(&self) -> String {
        let json = |t: &Self| serde_json::to_string(t).unwrap_or_default();
        let whole = json(self);
        if whole.len() <= MAX_TERMINATION_BYTES {
            return whole;
        }
        let mut small = self.clone();
        match &mut small {
            Self::Finished(summary) => {
                while json(&Self::Finished(summary.clone())).len() > MAX_TERMINATION_BYTES
                    && summary.counters.user.pop_last().is_some()
                {}
            }
            Self::Failed(report) => {
                let mut limit = MAX_TERMINATION_BYTES / 2;
                while json(&Self::Failed(report.clone())).len() > MAX_TERMINATION_BYTES && limit > 16 {
                    report.message = cut(&report.message, limit);
                    report.causes.truncate(8);
                    report.causes.iter_mut().for_each(|cause| *cause = cut(cause, limit));
                    limit = limit * 3 / 4;
                }
            }
            Self::Planned(_) | Self::Done => {}
        }
        json(&small)
    }
}

/// At most about `limit` bytes of `text`: its beginning and its end, which say most.
fn cut(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let mut head = limit / 3;
    let mut tail = text.len() - limit * 2 / 3;
    while !text.is_char_boundary(head) {
        head -= 1;
    }
    while !text.is_char_boundary(tail) {
        tail += 1;
    }
    format!("{} … {}", &text[..head], &text[tail..])
}

#[cfg(test)]
mod tests {
    use super::{Counters, ErrorReport, JobSummary, MAX_TERMINATION_BYTES, Termination};

    #[test]
    fn a_long_traceback_is_cut_from_its_middle_to_fit() {
        let trace = format!("Traceback: first line\n{}\nValueError: last line", "é\"\n".repeat(4000));
        let report = ErrorReport {
            message: "the map function failed".into(),
            causes: vec![trace; 3],
            ..ErrorReport::default()
        };
        let message = Termination::Failed(report).to_message();
        assert!(message.len() <= MAX_TERMINATION_BYTES, "{}", message.len());
        assert!(message.contains("first line") && message.contains("last line"), "{message}");
        assert!(matches!(serde_json::from_str(&message), Ok(Termination::Failed(_))));
    }

    #[test]
    fn many_user_counters_are_dropped_before_the_job_s_own() {
        let mut counters = Counters { map_input_records: 7, ..Counters::default() };
        for i in 0..1000 {
            counters.count(&format!("group-{i}"), "n", 1);
        }
        let message =
            Termination::Finished(Box::new(JobSummary { counters, ..JobSummary::default() })).to_message();
        assert!(message.len() <= MAX_TERMINATION_BYTES);
        let Ok(Termination::Finished(summary)) = serde_json::from_str(&message) else { panic!("{message}") };
        assert_eq!(summary.counters.map_input_records, 7);
        assert!(!summary.counters.user.is_empty());
    }
}
