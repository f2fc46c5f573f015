//! A job that is deleted.

use super::*;

#[test]
fn a_deleted_job_ends_its_pods_removes_its_data_and_is_let_go_in_time() {
    use Child::{Cleanup, Map, Reduce};
    use JobState::{Complete, Failed};
    let gone = |phase| deleted(plain(phase), 5);
    let late = deleted(plain("Mapping"), -111);
    let refused =
        Some(Refusal { child: Cleanup, permanent: Some(Reason::InvalidSpec), message: "no".into() });
    check(vec![
        ("pods first", gone("Mapping"), with(Map, run(5)), "patch map deadline=1"),
        (
            "that takes a while",
            gone("Mapping"),
            with(Map, ChildJob { deleting: true, active: 1, ..run(5) }),
            "rest 115 s",
        ),
        (
            "not for pods that have ended",
            gone("Mapping"),
            with(Map, ChildJob { deleting: true, succeeded: 5, ..run(5) }),
            "create cleanup 1/1",
        ),
        ("pods of whatever phase", gone("Failed"), with(Reduce, run(2)), "patch reduce deadline=1"),
        (
            "none runs of a Job that has ended",
            gone("Reducing"),
            ended(Map, Complete, PodReport::Unread),
            "create cleanup 1/1",
        ),
        ("then the data", gone("Mapping"), seen(), "create cleanup 1/1"),
        ("which takes a while", gone("Mapping"), with(Cleanup, run(1)), "rest 115 s"),
        ("then it is let go", gone("Mapping"), ended(Cleanup, Complete, PodReport::Unread), "release"),
        (
            "a failed one is cleaned once",
            gone("Failed"),
            ended(Cleanup, Complete, PodReport::Unread),
            "release",
        ),
        (
            "even if nothing is removed",
            gone("Mapping"),
            ended(Cleanup, Failed("x".into()), PodReport::Unread),
            "release: intermediate data may be left: the cleanup Job failed: x",
        ),
        (
            "or can be",
            gone("Mapping"),
            Observed { refused, ..seen() },
            "release: intermediate data may be left: no",
        ),
        (
            "or its pod can't start",
            late.clone(),
            with(Cleanup, run(1)),
            "release: intermediate data may be left: nothing has got on with removing it for 120 s",
        ),
        (
            "one that runs may take longer",
            late.clone(),
            with(Cleanup, ChildJob { active: 1, ready: 1, ..run(1) }),
            "rest 120 s",
        ),
        (
            "as may one that was just made, after many pods had to end",
            late.clone(),
            with(Cleanup, ChildJob { created: Some(Time(at(9))), ..run(1) }),
            "rest 119 s",
        ),
        (
            "or its pods do",
            late,
            with(Map, ChildJob { deleting: true, active: 1, ..run(5) }),
            "release: intermediate data may be left: nothing has got on with removing it for 120 s",
        ),
        (
            "a namespace that goes takes all",
            gone("Mapping"),
            Observed { namespace_terminating: true, ..with(Map, run(5)) },
            "release: intermediate data is left: the namespace is being deleted, and nothing can be started in it",
        ),
        ("success has removed it", gone("Succeeded"), with(Map, run(5)), "release"),
        (
            "Never keeps it",
            deleted(job("Mapping", &json!({"cleanup": "Never"})), 5),
            with(Map, run(5)),
            "release",
        ),
        (
            "OnSuccess removes it at the latest now",
            deleted(job("Failed", &json!({"cleanup": "OnSuccess"})), 5),
            seen(),
            "create cleanup 1/1",
        ),
        ("without a hold there is nothing to do", released(gone("Mapping")), with(Map, run(5)), "rest"),
        ("a job not yet started has left nothing", gone(""), seen(), "release"),
    ]);
}

#[test]
fn a_job_in_a_namespace_that_is_deleted_ends_its_pods_before_it_is_deleted_itself() {
    let ending = |seen: Observed| Observed { namespace_terminating: true, ..seen };
    let deleting = |n| ChildJob { deleting: true, ..run(n) };
    check(vec![
        ("a Job that runs", plain("Mapping"), ending(with(Child::Map, run(5))), "delete map"),
        ("a Job on its way out", plain("Mapping"), ending(with(Child::Map, deleting(5))), "rest 30 s"),
        ("no Job yet", plain("Reducing"), ending(seen()), "rest 30 s"),
        (
            "a cleanup after a failure",
            plain("Failed"),
            ending(with(Child::Cleanup, run(1))),
            "delete cleanup",
        ),
    ]);
}

#[test]
fn a_job_whose_plan_could_not_start_is_held_for_a_moment_only() {
    let stuck = Observed { starting: waiting(2, true), ..with(Child::Plan, run(1)) };
    let mut job = plain("Planning");
    job.status.as_mut().unwrap().revision = Some("begun".to_owned());
    job.status = Some(recorded(&job, &stuck));
    let cleaning = || with(Child::Cleanup, run(1));
    check(vec![
        ("for pods to end", deleted(job.clone(), 5), with(Child::Plan, run(1)), "patch plan deadline=1"),
        ("and data to be removed", deleted(job.clone(), 5), cleaning(), "rest 10 s"),
        (
            "and no longer",
            deleted(job, -5),
            cleaning(),
            "release: intermediate data may be left: nothing has got on with removing it for 15 s",
        ),
    ]);
}

#[test]
fn a_plan_whose_worker_has_run_is_held_for_as_long_as_any_other_job() {
    // The worker has ended, and a container that was injected goes on.
    let Starting::Waiting(sidecar) = waiting(2, true) else { unreachable!() };
    let started = Starting::Waiting(Waiting { none_started: false, ..sidecar });
    let stuck = Observed { starting: started, ..with(Child::Plan, run(1)) };
    let mut job = plain("Planning");
    job.status.as_mut().unwrap().revision = Some("begun".to_owned());
    job.status = Some(recorded(&job, &stuck));
    let progressing = condition(job.status.as_ref().unwrap(), "Progressing").unwrap();
    assert_eq!(progressing.status, "False");
    let ending = || with(Child::Plan, ChildJob { deadline: Some(1), ..run(1) });
    check(vec![("its pods are waited for", deleted(job, -5), ending(), "rest 105 s")]);
}

#[test]
fn a_cleanup_whose_pod_is_not_ready_is_looked_at_again_soon() {
    // The worker may have ended, and a container that was injected goes on: nothing of the Job changes then.
    let unready = || with(Child::Cleanup, ChildJob { active: 1, ready: 0, ..run(1) });
    check(vec![
        ("of a deleted job", deleted(plain("Mapping"), 5), unready(), "rest 15 s"),
        ("of one that has failed", plain("Failed"), unready(), "rest 15 s"),
    ]);
}
