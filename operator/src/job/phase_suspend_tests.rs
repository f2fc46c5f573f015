//! Jobs that are suspended, and deadlines, which count the time that a job is active.

use super::*;

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
