//! What a job asks of its object stores, before it is run.
//!
//! An upper estimate: every block is taken to be non-empty, map output to be as large as its input, and no
//! attempt to fail. Prices are S3
//! Standard's in us-east-1: 5 USD a million LIST and PUT, 0.40 USD a million GET; DELETE is free.

use super::{MapTask, PlannedStep};
use crate::shuffle::fetch::FETCH_BYTES;
use crate::shuffle::object::SMALL;
use crate::step::RunStep;
use crate::storage::{PART_BYTES, READ_BYTES, Scheme, parse_url};

/// Requests to object stores; none for local files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestEstimate {
    /// LIST, of up to 1,000 names.
    pub list: u64,
    /// GET and HEAD.
    pub get: u64,
    /// PUT, and the POST of multipart uploads.
    pub put: u64,
}

/// The requests of a step, by what they are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Listing and reading the input.
    pub input: RequestEstimate,
    /// Plan, shuffle objects, index, commit records.
    pub shuffle: RequestEstimate,
    /// Writing the parts.
    pub output: RequestEstimate,
}

impl Cost {
    /// The requests of a planned step, or of the step that it is seen at.
    pub fn of(step: &RunStep, planned: &PlannedStep) -> Self {
        let spec = &step.spec();
        let in_bucket = |url: &str| matches!(parse_url(url), Ok((Scheme::S3, _)));
        let summary = &planned.plan.summary;
        let (maps, reduces) = (u64::from(summary.map_tasks), u64::from(summary.reduce_tasks));
        let parts = u64::from(summary.partitions);
        let mut cost = Self::default();
        if spec.input.urls.iter().any(|url| in_bucket(url)) {
            let splits = planned.tasks.iter().flat_map(|task| &task.splits);
            cost.input.list = (summary.input_objects.div_ceil(1000)).max(spec.input.urls.len() as u64);
            cost.input.get = splits.map(|split| split.bytes().div_ceil(READ_BYTES).max(1)).sum();
        }
        if in_bucket(spec.shuffle.url.as_deref().unwrap_or(&spec.output.url)) {
            // A task looks whether the job or it is done, and reads the plan; the last of n looks at
            // all n records, those before it at n / (n - k + 1) of them.
            let barrier = |n: u64| (1..=n).map(|k| n / (n - k + 1)).sum::<u64>();
            // What is small goes with the commit, in the last step; more in parts, between the two ends of an upload.
            let writes = |task: &MapTask| match task.bytes() {
                bytes if bytes <= SMALL as u64 => 2 - u64::from(step.definition.is_last),
                bytes => 3 + bytes.div_ceil(PART_BYTES as u64),
            };
            cost.shuffle.put = 3 + planned.tasks.iter().map(writes).sum::<u64>() + reduces;
            let fetches = maps * reduces + summary.input_bytes / FETCH_BYTES;
            cost.shuffle.get = maps * 4 + barrier(maps) + reduces * 6 + barrier(reduces) + maps + fetches;
            if reduces == 0 {
                cost.shuffle.put = 3 + maps;
                cost.shuffle.get = maps * 4 + barrier(maps);
            }
            if !step.definition.is_last {
                cost.shuffle.put += parts;
            }
        }
        if in_bucket(&spec.output.url) {
            cost.output.list = 2;
            cost.output.put = if step.definition.is_last { parts * 3 + 1 } else { 0 };
        }
        cost
    }

    /// Their price in US dollars; none where there is no bucket.
    pub fn usd(&self) -> Option<f64> {
        let all = [self.input, self.shuffle, self.output];
        let dear: u64 = all.iter().map(|r| r.list + r.put).sum();
        let cheap: u64 = all.iter().map(|r| r.get).sum();
        (dear + cheap > 0).then(|| (dear as f64 * 5.0 + cheap as f64 * 0.4) / 1e6)
    }
}
