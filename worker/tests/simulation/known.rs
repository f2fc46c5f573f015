//! What the commit protocol still lets happen, and the simulation finds. A line goes with its mending, and the
//! last one takes this file along.
const KNOWN: [&str; 4] = [
    // Uploads of processes that were killed before their record: nobody knows their ids, and the library can't list
    // them. A lifecycle rule of the bucket removes them.
    "an upload of ",
    // What lands when the job is over: a planner that begins after another run has replaced the result, the sign or
    // the mark of a run whose put was answered by nothing and is done late.
    " is left",
    // A put of `_SUCCESS` that is answered by nothing, is done after the cleanup, and so tells of parts that are gone.
    "_SUCCESS of run-",
    // A local run that is killed while it publishes holds the lock: its process is the simulation's own, which lives,
    // so that nobody takes the lock over and removes the parts as the next run on a machine does.
    "there is no _SUCCESS, and there are",
];

pub fn is_known(what: &str) -> bool {
    KNOWN.iter().any(|known| what.contains(known))
}
