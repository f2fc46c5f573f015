//! What metrics learn from a change of a job's status: each change is counted once, by who wrote it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use mapreduce_api::v1alpha1::{JobPhase, MapReduceJob, MapReduceJobStatus, PhaseCounts};

use super::steps;
use crate::metrics::Metrics;

/// Counts the change of a job's status from `old` to `new`.
pub fn measure(
    metrics: &Metrics,
    job: &MapReduceJob,
    old: &MapReduceJobStatus,
    new: &MapReduceJobStatus,
    now: Timestamp,
) {
    let since = |time: Option<&Time>| time.map_or(0.0, |time| now.duration_since(time.0).as_secs_f64());
    let has_moved = (old.phase, &old.step) != (new.phase, &new.step);
    // Of another step the counts begin anew.
    let before = |counts: Option<&PhaseCounts>| {
        counts.filter(|_| old.step == new.step).map_or((0, 0), |counts| (counts.succeeded, counts.failed))
    };
    for (phase, old, new) in [("map", &old.maps, &new.maps), ("reduce", &old.reduces, &new.reduces)] {
        let (Some(counts), (succeeded, failed)) = (new, before(old.as_ref())) else { continue };
        metrics.tasks_done(phase, counts.succeeded - succeeded);
        metrics.attempts_failed(phase, counts.failed - failed);
    }
    if !has_moved {
        return;
    }
    match old.phase {
        // Of later steps nothing says when their planning began.
        Some(JobPhase::Planning) if steps::at(job).is_first() => {
            metrics.phase_ended("plan", since(old.start_time.as_ref()));
        }
        Some(JobPhase::Mapping) => {
            metrics.phase_ended("map", lasted(new.maps.as_ref().or(old.maps.as_ref()), now));
        }
        Some(JobPhase::Reducing) => {
            metrics.phase_ended("reduce", lasted(new.reduces.as_ref().or(old.reduces.as_ref()), now));
        }
        _ => {}
    }
    match new.phase {
        Some(JobPhase::Planning) if steps::at(job).is_first() && old.phase != Some(JobPhase::Planning) => {
            metrics.started(since(job.metadata.creation_timestamp.as_ref()));
        }
        Some(JobPhase::Succeeded) => metrics.finished("Succeeded", since(new.start_time.as_ref())),
        Some(JobPhase::Failed) => {
            metrics.finished(new.reason.as_deref().unwrap_or("Failed"), since(new.start_time.as_ref()));
        }
        _ => {}
    }
}

fn lasted(counts: Option<&PhaseCounts>, now: Timestamp) -> f64 {
    let Some(start) = counts.and_then(|counts| counts.start_time.as_ref()) else { return 0.0 };
    let end = counts.and_then(|counts| counts.completion_time.as_ref()).map_or(now, |end| end.0);
    end.duration_since(start.0).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::{SignedDuration, Timestamp};
    use mapreduce_api::v1alpha1::{MapReduceJob, MapReduceJobStatus};
    use serde_json::{Value, json};

    use super::measure;
    use crate::metrics::Metrics;

    fn status(status: Value) -> MapReduceJobStatus {
        serde_json::from_value(status).unwrap()
    }

    #[test]
    fn a_job_is_counted_from_its_start_to_its_end() {
        let job: MapReduceJob = serde_json::from_value(json!({
            "apiVersion": "mapreduce.dev/v1alpha1", "kind": "MapReduceJob",
            "metadata": {"name": "wc", "creationTimestamp": "1970-01-01T00:00:00Z"},
            "spec": {"input": {"urls": ["s3://b/"]}, "output": {"url": "s3://b/out/"}},
        }))
        .unwrap();
        let metrics = Metrics::default();
        let maps = |succeeded: u32, failed: u32| json!({"total": 3, "succeeded": succeeded, "failed": failed, "startTime": "1970-01-01T00:00:10Z"});
        let start = "1970-01-01T00:00:02Z";
        let mut ended = maps(3, 2);
        ended["completionTime"] = json!("1970-01-01T00:00:40Z");
        let history = [
            (0, json!({})),
            (2, json!({"phase": "Planning", "startTime": start})),
            (9, json!({"phase": "Mapping", "startTime": start, "maps": maps(0, 0)})),
            (20, json!({"phase": "Mapping", "startTime": start, "maps": maps(1, 2)})),
            (21, json!({"phase": "Mapping", "startTime": start, "maps": maps(1, 2)})),
            (42, json!({"phase": "Succeeded", "startTime": start, "maps": ended})),
        ];
        for pair in history.windows(2) {
            let [(_, old), (at, new)] = pair else { unreachable!() };
            let now = Timestamp::UNIX_EPOCH + SignedDuration::from_secs(*at);
            measure(&metrics, &job, &status(old.clone()), &status(new.clone()), now);
        }
        let text = metrics.encode().unwrap();
        for line in [
            "mapreduce_start_latency_seconds_sum 2.0",
            "mapreduce_phase_seconds_sum{phase=\"plan\"} 7.0",
            "mapreduce_phase_seconds_sum{phase=\"map\"} 30.0",
            "mapreduce_tasks_done_total{phase=\"map\"} 3",
            "mapreduce_attempts_failed_total{phase=\"map\"} 2",
            "mapreduce_jobs_finished_total{result=\"Succeeded\"} 1",
            "mapreduce_job_seconds_sum{result=\"Succeeded\"} 40.0",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
