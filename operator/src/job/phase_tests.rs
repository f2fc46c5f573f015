//! Every phase against what there can be beside it. A decision is written as a few words.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use mapreduce_api::v1alpha1::{MapReduceJob, MapReduceJobStatus};
use mapreduce_api::wire::{JobSummary, PlanSummary};
use serde_json::{Value, json};

use super::{ApiWrite, Change, Decision, decide};
use crate::context::Limits;
use crate::job::build::names::Child;
use crate::job::observed::{
    ChildJob, ChildState, Failure, JobState, Observed, PodReport, Reason, Refusal, Starting, Stuck, Waiting,
    Workload,
};
use crate::job::status::{COMPLETE, Draft, PROGRESSING, SUSPENDED, active_for, condition, is_true};
use crate::job::validate::validate;

const LIMITS: Limits = Limits {
    cleanup_timeout: Duration::from_mins(2),
    lost_node_timeout: Duration::from_mins(1),
    start_grace: Duration::from_secs(15),
    default_parallelism: 100,
};

#[path = "phase_amend_tests.rs"]
mod amend;
#[path = "phase_deletion_tests.rs"]
mod deletion;
#[path = "phase_failure_tests.rs"]
mod failure;
#[path = "phase_fault_tests.rs"]
mod faults;
#[path = "phase_restate_tests.rs"]
mod restate;
#[path = "phase_status_tests.rs"]
mod status;
#[path = "phase_steps_tests.rs"]
mod steps;
#[path = "phase_suspend_tests.rs"]
mod suspend;

/// Seconds after the job's creation.
fn at(second: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second)
}

/// A job 10 s after its start, with a plan of 5 map and 2 reduce tasks where its phase has one.
fn job(phase: &str, spec: &Value) -> MapReduceJob {
    let mut whole = json!({
        "apiVersion": "mapreduce.dev/v1alpha1", "kind": "MapReduceJob",
        "metadata": {"name": "wc", "namespace": "ns", "uid": "u", "generation": 1, "resourceVersion": "1",
                     "finalizers": ["mapreduce.dev/cleanup"]},
        "spec": {"input": {"urls": ["s3://b/"]}, "output": {"url": "s3://b/out/"},
                 "reduce": {"function": {"builtin": {"name": "sum"}}}},
    });
    for (key, value) in spec.as_object().unwrap() {
        whole["spec"][key] = value.clone();
    }
    if !phase.is_empty() {
        whole["status"] =
            json!({"phase": phase, "observedGeneration": 1, "startTime": "1970-01-01T00:00:00Z"});
    }
    if matches!(phase, "Mapping" | "Reducing") {
        whole["status"]["maps"] = json!({"total": 5, "progress": "0/5"});
        whole["status"]["reduces"] = json!({"total": 2, "progress": "0/2"});
    }
    if matches!(phase, "Succeeded" | "Failed") {
        whole["status"]["completionTime"] = json!("1970-01-01T00:00:08Z");
    }
    serde_json::from_value(whole).unwrap()
}

fn plain(phase: &str) -> MapReduceJob {
    job(phase, &json!({}))
}

fn released(mut job: MapReduceJob) -> MapReduceJob {
    job.metadata.finalizers = None;
    job
}

fn deleted(mut job: MapReduceJob, second: i64) -> MapReduceJob {
    job.metadata.deletion_timestamp = Some(Time(at(second)));
    job
}

fn map_only(mut job: MapReduceJob) -> MapReduceJob {
    job.status.as_mut().unwrap().reduces.as_mut().unwrap().total = 0;
    job
}

fn seen() -> Observed {
    let mut seen = Observed::nothing(at(10));
    for child in [Child::Plan, Child::Map, Child::Reduce, Child::Cleanup] {
        *seen.child_mut(child) = ChildState::Absent;
    }
    seen
}

/// A Job as we would have made it for `tasks` tasks.
fn run(tasks: i32) -> ChildJob {
    ChildJob {
        uid: "j".into(),
        completions: tasks,
        parallelism: tasks,
        labelled: true,
        ..ChildJob::default()
    }
}

fn with(child: Child, run: ChildJob) -> Observed {
    let mut seen = seen();
    *seen.child_mut(child) = ChildState::Ours(run);
    seen
}

fn ended(child: Child, state: JobState, words: PodReport) -> Observed {
    Observed { words, ..with(child, ChildJob { state, ..run(5) }) }
}

fn slot(child: Child, slot: ChildState) -> Observed {
    let mut seen = seen();
    *seen.child_mut(child) = slot;
    seen
}

fn planned(map_tasks: u32) -> PodReport {
    PodReport::Planned(PlanSummary { map_tasks, reduce_tasks: 2, ..PlanSummary::default() })
}

fn finished() -> PodReport {
    PodReport::Finished(Box::new(JobSummary { committed: true, parts: 2, ..JobSummary::default() }))
}

fn failed(reason: Reason) -> PodReport {
    PodReport::Failed(Failure { reason, message: "why".into(), attempts: 0 })
}

fn waiting(since: i64, stuck: bool) -> Starting {
    let stuck = stuck.then(|| Stuck { reason: "Unschedulable".into(), message: "no node".into() });
    Starting::Waiting(Waiting {
        since: at(since),
        stuck,
        again: Duration::from_secs(15),
        others_run: false,
        none_started: true,
    })
}

fn after(job: &MapReduceJob, seen: &Observed) -> Decision {
    decide(job, &validate(job), seen, &LIMITS)
}

fn recorded(job: &MapReduceJob, seen: &Observed) -> MapReduceJobStatus {
    match after(job, seen).write {
        ApiWrite::Record(status) => *status,
        step => panic!("{step:?} records nothing"),
    }
}

fn told(decision: &Decision) -> String {
    match &decision.write {
        ApiWrite::Rest => match decision.wake {
            Some(wake) => format!("rest {} s", wake.as_secs()),
            None => "rest".to_owned(),
        },
        ApiWrite::AddFinalizer => "hold".to_owned(),
        ApiWrite::RemoveFinalizer(None) => "release".to_owned(),
        ApiWrite::RemoveFinalizer(Some(note)) => format!("release: {note}"),
        ApiWrite::Record(status) => {
            let phase = status.phase.map_or_else(|| "none".to_owned(), |p| format!("{p:?}"));
            let reason = status.reason.as_ref().map(|r| format!(" {r}")).unwrap_or_default();
            format!("record {phase}{reason}")
        }
        ApiWrite::Create(child, size) => format!("create {child} {}/{}", size.parallelism, size.completions),
        ApiWrite::Patch(child, uid, Change { suspend, parallelism, labels, deadline }) => {
            assert_eq!(uid, "j", "only the Job that was looked at is changed");
            let mut text = format!("patch {child}");
            for (name, value) in [
                ("suspend", suspend.map(|s| s.to_string())),
                ("parallelism", parallelism.map(|p| p.to_string())),
                ("labels", labels.then(|| "ours".to_owned())),
                ("deadline", deadline.map(|d| d.to_string())),
            ] {
                text.extend(value.map(|value| format!(" {name}={value}")));
            }
            text
        }
        ApiWrite::Hold(child, _, hold) => format!("hold {child} {hold}"),
        ApiWrite::Delete(child, _) => format!("delete {child}"),
        ApiWrite::DeleteOrphan(child, uid) => format!("delete orphan {child} {uid}"),
        ApiWrite::RemovePods(lost) => {
            format!("remove {}", lost.iter().map(|pod| pod.name.as_str()).collect::<Vec<_>>().join(" "))
        }
        ApiWrite::DeleteSelf => "delete the job".to_owned(),
    }
}

fn check(table: Vec<(&str, MapReduceJob, Observed, &str)>) {
    let wrong: Vec<String> = table
        .into_iter()
        .filter_map(|(case, job, seen, expected)| {
            let got = told(&after(&job, &seen));
            (got != expected).then(|| format!("{case}: {got}, expected: {expected}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_phase_is_recorded_before_its_job_is_made() {
    use Child::{Map, Plan, Reduce};
    use JobState::Complete;
    check(vec![
        ("a new job is held first", released(plain("")), seen(), "hold"),
        ("then its plan is recorded", plain(""), seen(), "record Planning"),
        (
            "nothing to remove, nothing to hold",
            released(job("", &json!({"cleanup": "Never"}))),
            seen(),
            "record Planning",
        ),
        ("then its plan is made", plain("Planning"), seen(), "create plan 1/1"),
        ("a plan that runs is left alone", plain("Planning"), with(Plan, run(1)), "rest"),
        (
            "with the plan the maps are recorded",
            plain("Planning"),
            ended(Plan, Complete, planned(5)),
            "record Mapping",
        ),
        ("then they are made", plain("Mapping"), seen(), "create map 5/5"),
        (
            "as many at once as the job says",
            job("Mapping", &json!({"map": {"parallelism": 3}})),
            seen(),
            "create map 3/5",
        ),
        (
            "with the last map reduces are recorded",
            plain("Mapping"),
            ended(Map, Complete, PodReport::Unread),
            "record Reducing",
        ),
        ("then they are made", plain("Reducing"), seen(), "create reduce 2/2"),
        (
            "with the last reduce the job succeeds",
            plain("Reducing"),
            ended(Reduce, Complete, finished()),
            "record Succeeded",
        ),
        ("then it is let go", plain("Succeeded"), seen(), "release"),
        ("and rests", released(plain("Succeeded")), seen(), "rest"),
        (
            "the last map ends a map-only job",
            map_only(plain("Mapping")),
            ended(Map, Complete, finished()),
            "record Succeeded",
        ),
        (
            "an empty input ends with its plan",
            plain("Planning"),
            ended(Plan, Complete, finished()),
            "record Succeeded",
        ),
        (
            "as does a plan without tasks",
            plain("Planning"),
            ended(Plan, Complete, planned(0)),
            "record Succeeded",
        ),
    ]);
}

#[test]
fn a_recorded_phase_beats_what_is_there() {
    use Child::{Map, Plan, Reduce};
    use JobState::Complete;
    check(vec![
        ("maps that were removed are not run again", plain("Reducing"), with(Reduce, run(2)), "rest"),
        ("nor by reduces that are missing", plain("Reducing"), seen(), "create reduce 2/2"),
        ("a running phase's Job is made again", plain("Mapping"), with(Plan, run(1)), "create map 5/5"),
        ("not before it is gone", plain("Mapping"), with(Map, ChildJob { deleting: true, ..run(5) }), "rest"),
        ("a job that has succeeded makes nothing", released(plain("Succeeded")), seen(), "rest"),
        ("nor does one that has failed", released(plain("Failed")), seen(), "rest"),
        (
            "a plan whose pod is gone is said again",
            plain("Planning"),
            ended(Plan, Complete, PodReport::Lost),
            "create report 1/1",
        ),
        (
            "a commit whose pod is gone too",
            plain("Reducing"),
            ended(Reduce, Complete, PodReport::Lost),
            "create report 1/1",
        ),
        (
            "of map-only jobs too",
            map_only(plain("Mapping")),
            ended(Map, Complete, PodReport::Lost),
            "create report 1/1",
        ),
    ]);
}
