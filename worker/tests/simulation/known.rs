//! Faults of the commit protocol that the simulation finds and that nobody has mended yet. A line goes with its
//! mending, and the last one takes this file along.

const KNOWN: [&str; 17] = [
    // Uploads whose ids nobody knows any more.
    "an upload of ",
    // Two jobs at one output prefix.
    "two jobs have succeeded",
    "no job has succeeded, and nothing went wrong",
    "has changed while _SUCCESS was there",
    "and published nothing",
    "_SUCCESS of run-",
    // 409, which is taken for an object of somebody else's.
    "can't read the shuffle index",
    "the last task did not finish the job",
    "the old result is there, though",
    // Two planners, one of which writes over what the other has written.
    " of the plan s3://",
    "the plan has no map task",
    "there is no plan",
    // Cleaning up: requests that are refused after a signal, attempts that come late, processes that were killed.
    " is left",
    "there is no _SUCCESS, and there are",
    "the old _SUCCESS is there",
    // Two finishers.
    "a job has succeeded, and there is no _SUCCESS",
    "a run has published twice",
];

pub fn is_known(what: &str) -> bool {
    KNOWN.iter().any(|known| what.contains(known))
}
