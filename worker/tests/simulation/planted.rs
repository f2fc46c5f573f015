//! Faults of the protocol that are planted, to see that the simulation finds them.
//!
//! They are made where requests meet the bucket, so that the engine stays as it is: a plain write in the place of a
//! conditional one, an answer that is misread, a look that is left out.

use mapreduce_worker::storage::ListedObject;

use crate::bucket::{Answer, Bucket, Write};
use crate::scheduler::State;

/// A fault, and where it is.
#[derive(Clone, Copy, Debug)]
pub struct Planted {
    pub name: &'static str,
    pub site: Site,
}

#[derive(Clone, Copy, Debug)]
pub enum Site {
    /// Does something else than the request asks for, where it gives an answer.
    Write(fn(&mut State, usize, &Write) -> Option<Answer>),
    /// Reads something else than what is there.
    Read(fn(&Bucket, &str) -> Option<Option<Vec<u8>>>),
    /// Changes what a listing says.
    List(fn(&str, &mut Vec<ListedObject>)),
    /// The cleanup doesn't wait for the pods' end.
    CleansEarly,
    /// A stream that ends early is taken for one that has ended.
    ShortIsWhole,
}

const fn write(name: &'static str, made: fn(&mut State, usize, &Write) -> Option<Answer>) -> Planted {
    Planted { name, site: Site::Write(made) }
}

const fn read(name: &'static str, made: fn(&Bucket, &str) -> Option<Option<Vec<u8>>>) -> Planted {
    Planted { name, site: Site::Read(made) }
}

const fn list(name: &'static str, made: fn(&str, &mut Vec<ListedObject>)) -> Planted {
    Planted { name, site: Site::List(made) }
}

fn is_work(key: &str) -> bool {
    key.contains("run-")
}

/// A conditional create of such a key is a plain write.
fn plainly(state: &mut State, actor: usize, write: &Write, key: &str) -> Option<Answer> {
    match write {
        Write::Create(name, bytes) if name.contains(key) => {
            Some(state.apply(&Write::Put(name.clone(), std::sync::Arc::clone(bytes)), actor, false))
        }
        _ => None,
    }
}

/// The request is not made, and said to be done.
fn left_out(is: bool) -> Option<Answer> {
    is.then_some(Answer::Done)
}

/// It is said to be done, whoever was first.
fn taken_for_won(state: &mut State, actor: usize, write: &Write, key: &str) -> Option<Answer> {
    match write {
        Write::Create(name, _) if name.contains(key) => {
            state.apply(write, actor, false);
            Some(Answer::Done)
        }
        _ => None,
    }
}

fn creates(write: &Write, key: &str) -> bool {
    matches!(write, Write::Create(name, _) if name.contains(key))
}

fn writes(write: &Write, key: &str) -> bool {
    matches!(write, Write::Create(name, _) | Write::Put(name, _) if name.contains(key))
}

fn deletes(write: &Write, is: impl Fn(&str) -> bool) -> bool {
    match write {
        Write::Delete(keys) => keys.iter().any(|key| is(key)),
        Write::DeleteVersion(key, _) => is(key),
        _ => false,
    }
}

fn completes(write: &Write, key: &str) -> bool {
    matches!(write, Write::Complete(name, ..) if name.contains(key))
}

/// Removes all objects whose names have something in them.
fn remove(state: &mut State, actor: usize, is: impl Fn(&str) -> bool) {
    let keys = state.bucket.objects.keys().filter(|key| is(key)).cloned().collect();
    state.apply(&Write::Delete(keys), actor, false);
}

pub const PLANTED: [Planted; 35] = [
    write("a reduce task's record is written over the one that is there", |state, actor, request| {
        plainly(state, actor, request, "commit/reduce-")
    }),
    write("a map task's record is written over the one that is there", |state, actor, request| {
        plainly(state, actor, request, "commit/map-")
    }),
    write("the plan is written over the one that is there", |state, actor, request| {
        plainly(state, actor, request, "/plan.json")
    }),
    write("who finds the output locked takes the lock for its own", |state, actor, request| {
        taken_for_won(state, actor, request, "_mapreduce-lock")
    }),
    write("a run doesn't say that it is at work", |_, _, request| left_out(creates(request, "/owner"))),
    write("a part that is to be new replaces another program's", |state, actor, request| match request {
        Write::Complete(key, id, parts, false) => {
            Some(state.apply(&Write::Complete(key.clone(), *id, *parts, true), actor, false))
        }
        _ => None,
    }),
    write("a reduce attempt that won takes itself for a loser", |state, actor, request| {
        let Write::Create(key, _) = request else { return None };
        // Its own record says that it has won: another attempt's name is in the one that is kept.
        if !key.contains("commit/reduce-") {
            return None;
        }
        state.apply(request, actor, false);
        let staged: Vec<u64> = state
            .bucket
            .uploads
            .iter()
            .filter(|(_, u)| u.by.actor == Some(actor))
            .map(|(id, _)| *id)
            .collect();
        for id in staged {
            state.apply(&Write::Abort(id), actor, false);
        }
        Some(Answer::Done)
    }),
    write("a map task's record is said to be written, and is not", |_, _, request| {
        left_out(creates(request, "commit/map-00000"))
    }),
    write("a reduce task's record is said to be written, and is not", |_, _, request| {
        left_out(creates(request, "commit/reduce-00000"))
    }),
    write("the index is said to be written, and is not", |_, _, request| {
        left_out(creates(request, "/index"))
    }),
    write("409 for the index is taken for an index that is there", |_, _, request| {
        creates(request, "/index").then_some(Answer::Exists)
    }),
    write("the plan is said to be written, and is not", |_, _, request| {
        left_out(writes(request, "plan.json"))
    }),
    write("the result is said to be published, and is not", |_, _, request| {
        left_out(completes(request, "out/_SUCCESS"))
    }),
    write("a part is said to be complete, and is not", |_, _, request| {
        left_out(completes(request, "out/part-00000"))
    }),
    write("what was left out does not appear", |_, _, request| left_out(completes(request, "out/_skipped/"))),
    write("a part appears after _SUCCESS", |state, actor, request| {
        if !completes(request, "out/part-00000") {
            return None;
        }
        let due = state.step + 20;
        state.due.push((due, crate::scheduler::Event::Land(request.clone(), actor)));
        Some(Answer::Done)
    }),
    write("_SUCCESS appears before the parts", |state, actor, request| {
        if completes(request, "out/part-") && !state.bucket.objects.contains_key("out/_SUCCESS") {
            state.apply(&Write::Put("out/_SUCCESS".into(), std::sync::Arc::default()), actor, false);
        }
        None
    }),
    write("the old _SUCCESS stays while parts are replaced", |_, _, request| {
        left_out(deletes(request, |key| key == "out/_SUCCESS"))
    }),
    write("the old parts stay", |_, _, request| {
        left_out(deletes(request, |key| key.starts_with("out/part-")))
    }),
    write("the work folder stays", |_, _, request| left_out(deletes(request, is_work))),
    write("one object of the work folder stays", |state, actor, request| match request {
        Write::Delete(keys) if keys.iter().any(|key| is_work(key)) => {
            Some(state.apply(&Write::Delete(keys[1..].to_vec()), actor, false))
        }
        _ => None,
    }),
    write("the cleanup removes all runs' work folders", |state, actor, request| {
        if deletes(request, is_work) {
            remove(state, actor, is_work);
        }
        None
    }),
    write("the cleanup removes the result too", |state, actor, request| {
        if deletes(request, is_work) {
            remove(state, actor, |key| key == "out/_SUCCESS");
        }
        None
    }),
    write("the cleanup removes whatever begins like the output", |state, actor, request| {
        if deletes(request, is_work) {
            remove(state, actor, |key| key.starts_with("out") && !key.starts_with("out/"));
        }
        None
    }),
    write("uploads are not aborted", |_, _, request| left_out(matches!(request, Write::Abort(_)))),
    write("who aborts an upload aborts those of others too", |state, actor, request| {
        let Write::Abort(id) = request else { return None };
        let key = state.bucket.uploads.get(id)?.key.clone();
        let all: Vec<u64> =
            state.bucket.uploads.iter().filter(|(_, u)| u.key == key).map(|(id, _)| *id).collect();
        for id in all {
            state.apply(&Write::Abort(id), actor, false);
        }
        Some(Answer::Done)
    }),
    write("parts are uploaded twice into one another", |state, actor, request| match request {
        Write::Part(id, number, bytes) => {
            let twice = [&bytes[..], &bytes[..]].concat();
            Some(state.apply(&Write::Part(*id, *number, twice.into()), actor, false))
        }
        _ => None,
    }),
    write("the pairs of a step go when the next one is planned", |state, actor, request| {
        if writes(request, "steps/then/plan.json") {
            remove(state, actor, |key| key.contains("steps/first/pairs/"));
        }
        None
    }),
    read("a map record that is missing is taken for that of another task", |bucket, key| {
        if !key.contains("commit/map-") || bucket.bytes(key).is_some() {
            return None;
        }
        let (start, _) = key.split_once("map-")?;
        let other = bucket.bytes(&format!("{start}map-00000"))?;
        Some(Some(other.to_vec()))
    }),
    list("a listing of the input misses its last object", |prefix, found| {
        if prefix.starts_with("in/") && found.len() > 1 {
            found.pop();
        }
    }),
    list("a listing of the work folder misses its last object", |prefix, found| {
        if is_work(prefix) {
            found.pop();
        }
    }),
    list("another run's sign is not seen", |prefix, found| {
        if prefix == "out/" {
            found.retain(|entry| !entry.key.ends_with("/owner"));
        }
    }),
    list("what a dead run has left is not seen", |prefix, found| {
        if prefix == "out/" {
            found.retain(|entry| !entry.key.starts_with("out/_mapreduce-"));
        }
    }),
    Planted { name: "the cleanup does not wait for the end of the pods", site: Site::CleansEarly },
    Planted { name: "a read that ends early is taken for a whole one", site: Site::ShortIsWhole },
];
