//! What has to be true, whatever happened.
//!
//! * Whoever sees a `_SUCCESS` sees the whole result of its run, and nothing else, until it goes.
//! * A job that has succeeded has published; what its pods say of it is what its `_SUCCESS` says.
//! * A job that has failed has left nothing: no part, no upload, no work folder.
//! * What is nobody's business stays.

use std::collections::{BTreeMap, BTreeSet};

use mapreduce_worker::error::{Error, ErrorKind};
use mapreduce_worker::task::finish::Success;

use crate::bucket::{Change, Writer};
use crate::jobs::{JobRun, JobState, Looked, Outcome};
use crate::scheduler::State;
use crate::world::Shape;

/// What a run should come to.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    pub pairs: BTreeMap<String, u64>,
    pub lines: u64,
    pub skipped: u64,
}

#[derive(Debug, Default)]
pub struct Oracle {
    pub shape: Option<Shape>,
    pub replaces: bool,
    /// Of the input as it is, and as it may be after a change.
    pub expected: Vec<Expected>,
    pub old: BTreeMap<String, Vec<u8>>,
    pub foreign: BTreeSet<String>,
    /// Each `_SUCCESS` that was ever there.
    pub published: Vec<Success>,
    /// Somebody has deleted a job.
    pub deleted: bool,
    /// What is wrong, the first first.
    pub faults: Vec<String>,
}

impl Oracle {
    pub fn fault(&mut self, what: String) {
        self.faults.push(what);
    }
}

const OUT: &str = "out/";
const SUCCESS: &str = "out/_SUCCESS";

impl State {
    fn wrong(&mut self, what: impl Into<String>) {
        let what = what.into();
        self.note(|_| format!("WRONG: {what}"));
        self.oracle.fault(what);
    }

    /// Something in the bucket has changed.
    pub fn changed(&mut self, change: &Change) {
        let Change { key, before, after } = change;
        let same = matches!((before, after), (Some(before), Some(after)) if before.bytes == after.bytes);
        if same {
            return;
        }
        let is_decision = ["/commit/", "/finish/", "/index"].iter().any(|name| key.contains(name))
            || key.ends_with("/plan.json") && !key.starts_with("shuffle-2/");
        if is_decision && before.is_some() && after.is_some() {
            self.wrong(format!("{key} was decided, and has changed"));
        }
        if self.oracle.foreign.contains(key) {
            self.wrong(format!("{key} is nobody's business, and has changed"));
        }
        if key == SUCCESS {
            if after.is_some() {
                self.published();
            }
        } else if key.starts_with(OUT)
            && !key.starts_with("out/_mapreduce-")
            && self.bucket.objects.contains_key(SUCCESS)
        {
            self.wrong(format!("{key} has changed while _SUCCESS was there"));
        }
    }

    /// A `_SUCCESS` has appeared.
    fn published(&mut self) {
        let Ok(success) = serde_json::from_slice::<Success>(self.bucket.bytes(SUCCESS).unwrap()) else {
            return self.wrong("_SUCCESS is damaged");
        };
        if let Some(before) = self.oracle.published.iter().find(|before| before.id == success.id)
            && *before != success
        {
            self.wrong("a run has published twice, and not the same");
        }
        if let Err(why) = self.check_result(&success) {
            self.wrong(format!("_SUCCESS of {} appears, and {why}", success.id));
        }
        let step = self.step;
        if let Some(job) = self.jobs.iter_mut().find(|job| job.file.id == success.id) {
            job.over.get_or_insert(step);
        }
        self.oracle.published.push(success);
    }

    /// Whether what is at the output prefix is the result that a `_SUCCESS` tells of.
    fn check_result(&self, success: &Success) -> Result<(), String> {
        let names = |url: &String| url.strip_prefix("s3://b/").unwrap_or_default().to_owned();
        let listed: Vec<String> = success.outputs.iter().map(|output| names(&output.url)).collect();
        let there: Vec<String> = self.bucket.below("out/part-").map(|(key, _)| key.clone()).collect();
        if listed != there {
            return Err(format!("tells of {listed:?}, and there are {there:?}"));
        }
        let mut pairs: BTreeMap<String, u64> = BTreeMap::new();
        let copies = self.oracle.shape == Some(Shape::Copy);
        for output in &success.outputs {
            let bytes = self.bucket.bytes(&names(&output.url)).unwrap_or_default();
            let text = String::from_utf8_lossy(bytes);
            let records = text.lines().count() as u64;
            if (output.bytes, output.records) != (bytes.len() as u64, records) {
                return Err(format!("{} has {} bytes and {records} records", output.url, bytes.len()));
            }
            let mut last = String::new();
            for line in text.lines() {
                if copies {
                    *pairs.entry(line.to_owned()).or_default() += 1;
                    continue;
                }
                let (key, n) = line.split_once('\t').ok_or_else(|| format!("a line `{line}`"))?;
                if *key <= *last {
                    return Err(format!("{key} comes after {last} in {}", output.url));
                }
                key.clone_into(&mut last);
                let n = n.parse().map_err(|_| format!("a line `{line}`"))?;
                if pairs.insert(key.to_owned(), n).is_some() {
                    return Err(format!("{key} is in two parts"));
                }
            }
        }
        let skipped: usize =
            self.bucket.below("out/_skipped/").map(|(_, o)| o.bytes.split(|&b| b == b'\n').count() - 1).sum();
        let counters = &success.counters;
        let is = |expected: &Expected| {
            expected.pairs == pairs
                && counters.map_input_records >= expected.lines
                && expected.skipped == skipped as u64
                && counters.skipped_records == expected.skipped
        };
        if !self.oracle.expected.iter().any(is) {
            return Err(format!(
                "the result is {pairs:?}, {skipped} skipped, {} lines; right is {:?}",
                counters.map_input_records, self.oracle.expected
            ));
        }
        Ok(())
    }

    /// An actor has ended: what it says has to be true.
    pub fn judge(&mut self, actor: usize, outcome: &Outcome) {
        let said = match outcome {
            Outcome::Planned { success: Some(success), .. } | Outcome::Done(Some(success)) => success,
            Outcome::Panicked(text) => {
                return self.wrong(format!("{} has panicked: {text}", self.name_of(actor)));
            }
            _ => return,
        };
        if !self.oracle.published.contains(said) {
            self.wrong(format!("{} tells of a success that there never was", self.name_of(actor)));
        }
    }

    /// Whether another program has written to the output prefix.
    fn has_other_program(&self) -> bool {
        self.oracle.foreign.iter().any(|key| key.starts_with(OUT))
    }

    /// A job has failed at once, with this error.
    pub fn failed_for(&mut self, job: usize, error: &Error) {
        let text = format!("{error} {:?}", error.causes());
        let alone = self.jobs.len() == 1 && !self.has_other_program();
        if error.kind() != ErrorKind::Retry && error.kind() != ErrorKind::Cancelled && alone {
            self.wrong(format!("job {job} fails for good, and could have succeeded: {text}"));
        }
        if !self.faults.any() && alone && !self.oracle.deleted {
            self.wrong(format!("job {job} fails, and nothing went wrong: {text}"));
        }
    }

    /// All is over.
    pub fn end(&mut self) {
        let succeeded: Vec<usize> = self.in_state(JobState::Succeeded);
        for &job in &succeeded {
            let id = self.jobs[job].file.id.clone();
            if !self.oracle.published.iter().any(|success| success.id == id) {
                self.wrong(format!("job {job} has succeeded, and published nothing"));
            }
        }
        if !self.faults.any() && succeeded.is_empty() && !self.oracle.deleted && !self.has_other_program() {
            self.wrong("no job has succeeded, and nothing went wrong");
        }
        if !self.oracle.replaces && succeeded.len() > 1 {
            self.wrong("two jobs have succeeded");
        }
        self.check_output(&succeeded);
        self.check_leftovers();
        for key in self.oracle.foreign.clone() {
            if self.bucket.bytes(&key) != Some(b"foreign") {
                self.wrong(format!("{key} is nobody's business, and is gone"));
            }
        }
    }

    fn in_state(&self, wanted: JobState) -> Vec<usize> {
        (0..self.jobs.len()).filter(|&job| self.jobs[job].state == wanted).collect()
    }

    /// What is at the output prefix.
    fn check_output(&mut self, succeeded: &[usize]) {
        let visible = |key: &&String| {
            !key.starts_with("out/_mapreduce-") && !key.ends_with('/') && !self.oracle.foreign.contains(*key)
        };
        let there: Vec<String> =
            self.bucket.below(OUT).map(|(key, _)| key).filter(visible).cloned().collect();
        let success = self.bucket.bytes(SUCCESS).map(|bytes| serde_json::from_slice::<Success>(bytes).ok());
        match success {
            Some(Some(success)) if success.id.to_string() == "old" => {
                let now: BTreeMap<_, _> =
                    there.iter().map(|key| (key.clone(), self.bucket.bytes(key).unwrap().to_vec())).collect();
                if now != self.oracle.old {
                    self.wrong(format!("the old _SUCCESS is there, and beside it {there:?}"));
                }
                if !succeeded.is_empty() {
                    self.wrong("the old result is there, though a job has succeeded");
                }
            }
            Some(Some(success)) => {
                if let Err(why) = self.check_result(&success) {
                    self.wrong(format!("in the end the _SUCCESS of {} is there, and {why}", success.id));
                }
            }
            Some(None) => self.wrong("_SUCCESS is damaged"),
            None => {
                // Of two that replace each other one may have removed the other's, and failed then.
                if !succeeded.is_empty() && self.jobs.len() == 1 {
                    self.wrong("a job has succeeded, and there is no _SUCCESS");
                }
                let new: Vec<&String> = there.iter().filter(|key| !self.is_of_old_result(key)).collect();
                if !new.is_empty() {
                    self.wrong(format!("there is no _SUCCESS, and there are {new:?}"));
                }
            }
        }
    }

    /// Whether an object is left of a result that was whole once, and whose `_SUCCESS` went.
    fn is_of_old_result(&self, key: &str) -> bool {
        let by =
            self.bucket.objects[key].by.actor.map(|actor| &self.jobs[self.actors[actor].role.job].file.id);
        let Some(by) = by else { return true };
        self.oracle.replaces && self.oracle.published.iter().any(|success| success.id == *by)
    }

    /// What only a job at work has.
    fn check_leftovers(&mut self) {
        let work = |key: &str| {
            (key.starts_with("out/_mapreduce-") || key.starts_with("shuffle/")) && !key.ends_with('/')
        };
        let objects = self.bucket.objects.iter().filter(|(key, _)| work(key));
        let objects = objects.map(|(key, o)| {
            (key.clone(), self.is_excused(o.by, |looked| Looked::last(&looked.objects, key)))
        });
        let uploads = self.bucket.uploads.values().map(|upload| {
            let what = format!("an upload of {}", upload.key);
            (what, self.is_excused(upload.by, |looked| Looked::last(&looked.uploads, &upload.key)))
        });
        let left: Vec<(String, bool)> = objects.chain(uploads).collect();
        for (what, is_excused) in left {
            if !is_excused {
                self.wrong(format!("{what} is left"));
            }
        }
    }

    /// Whether a plan was written by somebody who had given up, when its job was over: what comes late finds it, and
    /// takes the job for one that goes on.
    fn has_late_plan(&self, job: &JobRun) -> bool {
        self.bucket.objects.iter().any(|(key, object)| {
            let by = object.by;
            key.ends_with("/plan.json")
                && by.late
                && job.over.is_some_and(|over| by.step >= over)
                && by.actor.is_some_and(|actor| self.jobs[self.actors[actor].role.job].file.id == job.file.id)
        })
    }

    /// Whether nobody can have known of it: what dead processes and slow requests write when the job is over, or has
    /// looked for the last time.
    fn is_excused(&self, by: Writer, looked: impl Fn(&Looked) -> u64) -> bool {
        let Some(actor) = by.actor else { return false };
        let job = &self.jobs[self.actors[actor].role.job];
        let Some(over) = job.over else { return false };
        let is_after = by.step >= over;
        is_after && (by.late || self.actors[actor].killed || self.has_late_plan(job))
            || by.late && by.step > looked(&job.looked)
    }
}
