//! A job that is mended before a pod of it has started, and one that is changed later.

use super::*;
use crate::job::build::revision::digest_of;

/// A job whose plan waits, changed since its revision was made where `image` is another one.
fn amendable(image: &str) -> MapReduceJob {
    let begun = job("Planning", &json!({"map": {"image": "begun:1"}}));
    let mut job = job("Planning", &json!({"map": {"image": image}}));
    let status = job.status.as_mut().unwrap();
    status.revision = Some(digest_of(&begun).unwrap());
    status.amendable = Some(true);
    job
}

fn of_revision(job: &MapReduceJob, run: ChildJob) -> ChildJob {
    ChildJob { revision: job.status.as_ref().unwrap().revision.clone(), ..run }
}

fn waits(job: &MapReduceJob) -> Observed {
    let run = of_revision(job, ChildJob { active: 1, ..run(1) });
    Observed { starting: waiting(0, true), ..with(Child::Plan, run) }
}

#[test]
fn a_job_whose_first_pod_can_not_start_may_be_amended() {
    let mut job = amendable("begun:1");
    job.status.as_mut().unwrap().amendable = None;
    assert_eq!(recorded(&job, &waits(&job)).amendable, Some(true));
    // One whose pod is on its way may not, nor one of an operator that knew of no revisions.
    let starts = Observed { starting: waiting(0, false), ..waits(&job) };
    assert_eq!(told(&after(&job, &starts)), "rest 15 s");
    let none_started = Observed {
        starting: match waiting(0, true) {
            Starting::Waiting(waiting) => Starting::Waiting(Waiting { none_started: false, ..waiting }),
            other => other,
        },
        ..waits(&job)
    };
    assert_eq!(recorded(&job, &none_started).amendable, None);
    job.status.as_mut().unwrap().revision = None;
    assert_eq!(recorded(&job, &waits(&job)).amendable, None);
}

#[test]
fn a_job_whose_creations_are_refused_may_be_amended() {
    let mut job = amendable("begun:1");
    job.status.as_mut().unwrap().amendable = None;
    let refused = Refusal { child: Child::Plan, permanent: None, message: "denied".into() };
    let status = recorded(&job, &Observed { refused: Some(refused), ..seen() });
    assert_eq!((status.amendable, status.reason.as_deref()), (Some(true), Some("CreateRefused")));
}

#[test]
fn a_pod_that_has_started_ends_the_time_of_amendments() {
    let job = amendable("begun:1");
    for run in [
        ChildJob { active: 1, ready: 1, ..run(1) },
        ChildJob { active: 1, failed: 1, ..run(1) },
        ChildJob { active: 1, succeeded: 1, ..run(2) },
    ] {
        let seen =
            Observed { starting: waiting(0, true), ..with(Child::Plan, of_revision(&job, run.clone())) };
        assert_eq!(recorded(&job, &seen).amendable, None, "{run:?}");
    }
    let seen = Observed { starting: Starting::All, ..waits(&job) };
    assert_eq!(recorded(&job, &seen).amendable, None);
}

#[test]
fn a_later_phase_can_not_be_amended() {
    for (phase, child) in [("Mapping", Child::Map), ("Reducing", Child::Reduce)] {
        let mut job = plain(phase);
        job.status.as_mut().unwrap().revision = Some(digest_of(&job).unwrap());
        let run = of_revision(&job, ChildJob { active: 5, ..run(5) });
        let seen = Observed { starting: waiting(0, true), ..with(child, run) };
        assert_eq!(recorded(&job, &seen).amendable, None, "{phase}");
    }
}

#[test]
fn an_amended_job_has_another_revision_and_its_job_is_made_anew() {
    let mut job = amendable("mended:2");
    let begun = waits(&job);
    let status = recorded(&job, &begun);
    assert_eq!((status.revision.clone(), status.amendable), (digest_of(&job).ok(), Some(true)));
    job.status = Some(status);
    assert_eq!(told(&after(&job, &begun)), "delete plan");
    let leaving = ChildJob { deleting: true, ..begun.plan.ours().unwrap().clone() };
    assert_eq!(told(&after(&job, &with(Child::Plan, leaving))), "rest");
    assert_eq!(told(&after(&job, &seen())), "create plan 1/1");
    // The old one's pod was faster than its end: what it says is of no use.
    let done = ChildJob { state: JobState::Complete, ..begun.plan.ours().unwrap().clone() };
    let done = Observed { words: planned(3), ..with(Child::Plan, done) };
    assert_eq!(told(&after(&job, &done)), "delete plan");
}

#[test]
fn a_change_that_comes_after_the_first_pod_has_started_is_not_taken() {
    let job = amendable("late:2");
    let run = of_revision(&job, ChildJob { active: 1, ready: 1, ..run(1) });
    let status = recorded(&job, &Observed { starting: Starting::All, ..with(Child::Plan, run) });
    assert_eq!(status.revision, job.status.as_ref().unwrap().revision);
    assert_eq!(status.amendable, None);
}

#[test]
fn a_mended_job_that_can_not_be_run_waits_for_the_next_change() {
    let mut job = amendable("mended:2");
    job.spec.map.template = Some(json!({"spec": 3}));
    let status = recorded(&job, &waits(&job));
    assert_eq!((status.reason.as_deref(), status.amendable), (Some("InvalidSpec"), Some(true)));
    job.status = Some(status);
    assert_eq!(told(&after(&job, &waits(&job))), "rest");
}
