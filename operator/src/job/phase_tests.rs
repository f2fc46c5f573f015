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
#[path = "phase_fault_tests.rs"]
mod faults;
#[path = "phase_restate_tests.rs"]
mod restate;
#[path = "phase_status_tests.rs"]
mod status;
#[path = "phase_steps_tests.rs"]
mod steps;

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

#[test]
fn a_failed_job_says_why() {
    use Child::{Map, Plan, Reduce};
    use JobState::{Complete, Failed, Failing};
    let refused = |permanent| Some(Refusal { child: Map, permanent, message: "no".into() });
    check(vec![
        (
            "a plan",
            plain("Planning"),
            ended(Plan, Failed("x".into()), failed(Reason::PlanFailed)),
            "record Failed PlanFailed",
        ),
        (
            "a map",
            plain("Mapping"),
            ended(Map, Failed("x".into()), failed(Reason::OutOfMemory)),
            "record Failed OutOfMemory",
        ),
        (
            "before its last pod has ended",
            plain("Reducing"),
            ended(Reduce, Failing("x".into()), failed(Reason::TaskFailed)),
            "record Failed TaskFailed",
        ),
        (
            "a plan too large for a Job",
            plain("Planning"),
            ended(Plan, Complete, planned(100_001)),
            "record Failed PlanFailed",
        ),
        (
            "a plan that can't be read, nor said again",
            plain("Planning"),
            Observed { report: ChildState::Foreign, ..ended(Plan, Complete, PodReport::Unclear("?".into())) },
            "record Failed PlanFailed",
        ),
        ("somebody else's Job", plain("Mapping"), slot(Map, ChildState::Foreign), "record Failed NameTaken"),
        ("an earlier job's Job is waited for", plain("Mapping"), slot(Map, ChildState::Leftover), "rest 1 s"),
        (
            "a template that is none",
            job("", &json!({"map": {"template": {"spec": 3}}})),
            seen(),
            "record Failed InvalidSpec",
        ),
        (
            "one that became none later: the run's revision is made already",
            job("Mapping", &json!({"map": {"template": {"spec": 3}}})),
            seen(),
            "create map 5/5",
        ),
        (
            "a Job that is refused for good",
            plain("Mapping"),
            Observed { refused: refused(Some(Reason::InvalidSpec)), ..seen() },
            "record Failed InvalidSpec",
        ),
        (
            "a Job that is refused for now",
            plain("Mapping"),
            Observed { refused: refused(None), ..seen() },
            "record Mapping CreateRefused",
        ),
    ]);
}

#[test]
fn a_failed_job_ends_its_pods_before_it_removes_its_data() {
    use Child::{Cleanup, Map, Reduce};
    use JobState::{Complete, Failed, Failing};
    let on_success = json!({"cleanup": "OnSuccess"});
    let made_at = |second| ChildJob { created: Some(Time(at(second))), ..run(1) };
    let with_a_plan = || {
        let mut job = plain("Failed");
        let planned = planned(5);
        let PodReport::Planned(plan) = &planned else { unreachable!() };
        job.status = Some(Draft::of(&job, at(1)).planned(plan).done());
        job
    };
    let told_so = |why: &str| {
        let mut job = with_a_plan();
        job.status = Some(Draft::of(&job, at(9)).cleanup_failed(why).done());
        job
    };
    check(vec![
        ("pods that run are ended", plain("Failed"), with(Map, run(5)), "patch map deadline=1"),
        ("once", plain("Failed"), with(Map, ChildJob { deadline: Some(1), ..run(5) }), "rest 120 s"),
        (
            "also of a job that isn't held",
            released(plain("Failed")),
            with(Map, run(5)),
            "patch map deadline=1",
        ),
        (
            "a suspended Job could be resumed by others",
            plain("Failed"),
            with(Map, ChildJob { suspended: true, ..run(5) }),
            "delete map",
        ),
        (
            "pods that end are waited for",
            plain("Failed"),
            ended(Map, Failing("x".into()), PodReport::Unread),
            "rest 120 s",
        ),
        (
            "then the data is removed",
            plain("Failed"),
            ended(Map, Failed("x".into()), PodReport::Unread),
            "create cleanup 1/1",
        ),
        (
            "for as long as it takes",
            plain("Failed"),
            with(Cleanup, ChildJob { active: 1, ready: 1, ..run(1) }),
            "rest",
        ),
        ("unless its pod can't start", with_a_plan(), with(Cleanup, made_at(1)), "rest 111 s"),
        ("then that is told", with_a_plan(), with(Cleanup, made_at(-110)), "record Failed"),
        (
            "without a plan there is hardly anything",
            plain("Failed"),
            with(Cleanup, made_at(-110)),
            "release: intermediate data may be left: the cleanup's pod could not start",
        ),
        (
            "also where it failed",
            plain("Failed"),
            ended(Cleanup, Failed("x".into()), PodReport::Unread),
            "release: intermediate data may be left: the cleanup Job failed: x",
        ),
        (
            "and it is made anew",
            told_so("its pod could not start"),
            with(Cleanup, made_at(-110)),
            "delete cleanup",
        ),
        (
            "not before it is gone",
            told_so("its pod could not start"),
            with(Cleanup, ChildJob { deleting: true, ..made_at(-110) }),
            "rest 5 s",
        ),
        (
            "or the job's time is over",
            {
                let mut job = told_so("its pod could not start");
                job.spec.ttl_seconds_after_finished = Some(1);
                job
            },
            with(Cleanup, made_at(-110)),
            "delete the job",
        ),
        ("then the job is let go", plain("Failed"), ended(Cleanup, Complete, PodReport::Unread), "release"),
        (
            "one that failed is made anew too",
            told_so("x"),
            ended(Cleanup, Failed("x".into()), PodReport::Unread),
            "delete cleanup",
        ),
        ("OnSuccess keeps it for a look", job("Failed", &on_success), seen(), "rest"),
        (
            "and ends pods none the less",
            job("Failed", &on_success),
            with(Reduce, run(2)),
            "patch reduce deadline=1",
        ),
    ]);
}

#[test]
fn suspending_ends_pods_and_starts_none_and_resuming_goes_on() {
    use Child::{Map, Reduce};
    let suspend = |phase| job(phase, &json!({"suspend": true}));
    let noted = |mut job: MapReduceJob, seen: &Observed| {
        job.status = Some(recorded(&job, seen));
        job
    };
    let suspended = ChildJob { suspended: true, ..run(5) };
    let queued = |suspended| ChildJob { queued: true, suspended, parallelism: 1, ..run(5) };
    check(vec![
        ("a new job is not started", suspend(""), seen(), "record Pending Suspended"),
        ("and rests", noted(suspend(""), &seen()), seen(), "rest"),
        ("a running one is noted first", suspend("Mapping"), with(Map, run(5)), "record Mapping Suspended"),
        (
            "then its Job is suspended",
            noted(suspend("Mapping"), &with(Map, run(5))),
            with(Map, run(5)),
            "patch map suspend=true",
        ),
        ("once", noted(suspend("Mapping"), &with(Map, run(5))), with(Map, suspended.clone()), "rest"),
        ("a missing Job is not made", noted(suspend("Mapping"), &seen()), seen(), "rest"),
        (
            "a phase that ended is recorded",
            suspend("Mapping"),
            ended(Map, JobState::Complete, PodReport::Unread),
            "record Reducing Suspended",
        ),
        (
            "and the next not begun",
            noted(suspend("Mapping"), &ended(Map, JobState::Complete, PodReport::Unread)),
            seen(),
            "rest",
        ),
        ("resuming resumes the Job", plain("Mapping"), with(Map, suspended), "patch map suspend=false"),
        (
            "a new parallelism is passed on",
            job("Mapping", &json!({"map": {"parallelism": 2}})),
            with(Map, run(5)),
            "patch map parallelism=2",
        ),
        ("Kueue's Job is left as Kueue wants it", plain("Mapping"), with(Map, queued(false)), "rest"),
        (
            "while it waits in the queue too",
            plain("Mapping"),
            with(Map, queued(true)),
            "record Mapping Queued",
        ),
        (
            "and is removed when the job is suspended",
            noted(suspend("Mapping"), &with(Map, queued(false))),
            with(Map, queued(false)),
            "delete map",
        ),
        (
            "unless Kueue can hold it",
            noted(suspend("Mapping"), &with(Map, queued(false))),
            Observed { workload: Workload::Active, ..with(Map, queued(false)) },
            "hold map true",
        ),
        (
            "once",
            noted(suspend("Mapping"), &with(Map, queued(false))),
            Observed { workload: Workload::Held { by_us: true }, ..with(Map, queued(true)) },
            "rest",
        ),
        (
            "until it is resumed",
            noted(plain("Mapping"), &with(Map, queued(true))),
            Observed { workload: Workload::Held { by_us: true }, ..with(Map, queued(true)) },
            "hold map false",
        ),
        (
            "what others hold stays held",
            noted(plain("Mapping"), &with(Map, queued(true))),
            Observed { workload: Workload::Held { by_us: false }, ..with(Map, queued(true)) },
            "rest",
        ),
        (
            "reduces alike",
            noted(suspend("Reducing"), &with(Reduce, run(2))),
            with(Reduce, run(2)),
            "patch reduce suspend=true",
        ),
    ]);
}

#[test]
fn deadlines_count_active_time_and_waiting_pods() {
    use Child::Map;
    let active = |limit: i64| job("Mapping", &json!({"activeDeadlineSeconds": limit}));
    let pending = job("Mapping", &json!({"pendingDeadlineSeconds": 8}));
    let starts = |starting| Observed { starting, ..with(Map, run(5)) };
    let mut before = active(15);
    before.status.as_mut().unwrap().active_seconds_before_suspension = Some(6);
    let paused = job("Mapping", &json!({"activeDeadlineSeconds": 3, "suspend": true}));
    let noted = |mut job: MapReduceJob, seen: &Observed| {
        job.status = Some(recorded(&job, seen));
        job
    };
    check(vec![
        ("the rest of it is waited for", active(30), with(Map, run(5)), "rest 20 s"),
        ("and ends the job", active(10), with(Map, run(5)), "record Failed DeadlineExceeded"),
        ("with or without a Job", active(10), seen(), "record Failed DeadlineExceeded"),
        (
            "but not a phase that is complete",
            active(10),
            ended(Map, JobState::Complete, PodReport::Unread),
            "record Reducing",
        ),
        ("earlier activity counts", before, with(Map, run(5)), "record Failed DeadlineExceeded"),
        ("suspension doesn't", paused, with(Map, run(5)), "record Mapping Suspended"),
        ("a pod may wait that long", pending.clone(), starts(waiting(5, false)), "rest 3 s"),
        (
            "and no longer",
            pending.clone(),
            starts(waiting(2, false)),
            "record Failed PendingDeadlineExceeded",
        ),
        ("nothing waits", pending, starts(Starting::All), "rest"),
        (
            "the longest wait that can be written ends after all time",
            job("Mapping", &json!({"pendingDeadlineSeconds": i64::MAX})),
            starts(waiting(5, false)),
            "rest 15 s",
        ),
        ("and the longest deadline", active(i64::MAX), with(Map, run(5)), "rest 9223372036854775797 s"),
        ("it is looked at again", plain("Mapping"), starts(waiting(2, false)), "rest 15 s"),
        (
            "or for the first time",
            plain("Mapping"),
            starts(Starting::NotDue(Duration::from_secs(7))),
            "rest 7 s",
        ),
        (
            "what keeps pods is shown",
            plain("Mapping"),
            starts(waiting(2, true)),
            "record Mapping Unschedulable",
        ),
        ("once", noted(plain("Mapping"), &starts(waiting(2, true))), starts(waiting(2, true)), "rest 15 s"),
        (
            "until they start",
            noted(plain("Mapping"), &starts(waiting(2, true))),
            starts(Starting::All),
            "record Mapping",
        ),
        (
            "an expired job is deleted",
            released(job("Succeeded", &json!({"ttlSecondsAfterFinished": 2}))),
            seen(),
            "delete the job",
        ),
        ("not before", released(job("Failed", &json!({"ttlSecondsAfterFinished": 5}))), seen(), "rest 3 s"),
        (
            "and not before its data",
            job("Failed", &json!({"ttlSecondsAfterFinished": 0})),
            seen(),
            "create cleanup 1/1",
        ),
    ]);
}
