//! The store as an actor has it: every request is a pause, and may go wrong.

use std::fmt;
use std::io::{self, Read};
use std::ops::Range;
use std::sync::{Arc, MutexGuard};

use mapreduce_worker::error::{Error, Result};
use mapreduce_worker::storage::{
    Created, ListedObject, PendingUpload, SharedStore, Staged, StagedWriter, Store,
};
use tokio_util::sync::CancellationToken;

use crate::bucket::{Answer, Bucket, Write};
use crate::faults::{Fault, Request};
use crate::planted::Site;
use crate::scheduler::{Event, Simulation, State, Status, die, shown};

/// The URLs of the bucket begin like this.
pub const BASE: &str = "s3://b/";
/// What errors that were drawn say.
pub const SAID: &str = "the store fails";

/// One actor's way to the bucket.
#[derive(Clone)]
pub struct SimulatedStore {
    pub simulation: Arc<Simulation>,
    pub actor: usize,
    pub cancel: CancellationToken,
}

impl fmt::Debug for SimulatedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimulatedStore({})", self.actor)
    }
}

/// What was drawn, and the world at the moment of a request.
type Turn<'a> = (MutexGuard<'a, State>, Option<Fault>);

impl SimulatedStore {
    /// Waits for this actor's turn, and draws what goes wrong with the request.
    fn turn(&self, request: Request, what: impl Fn() -> String) -> Result<Turn<'_>> {
        if self.simulation.lock().actors[self.actor].killed {
            return dead();
        }
        let mut state = self.simulation.pause(self.actor);
        if state.actors[self.actor].killed {
            // It may have been sent, and be done now or later.
            let fault = state.random.pick(&[Fault::KilledAfter, Fault::KilledLate, Fault::KilledBefore]);
            let fault = if fault.is_possible(request) { fault } else { Fault::KilledBefore };
            return Ok((state, Some(fault)));
        }
        let State { faults, random, .. } = &mut *state;
        let mut fault = faults.next(request, random);
        if fault == Some(Fault::Stalled) {
            state.note(|state| format!("{} stalls before {}", state.name_of(self.actor), what()));
            state.stall(self.actor);
            drop(state);
            state = self.simulation.pause(self.actor);
            fault = state.actors[self.actor].killed.then_some(Fault::KilledBefore);
        }
        if fault == Some(Fault::Terminated) {
            state.terminate(self.actor);
            fault = None;
        }
        if fault.is_some_and(Fault::kills) {
            state.actors[self.actor].killed = true;
        }
        Ok((state, fault))
    }

    /// An error where somebody has asked the process to stop.
    fn check_cancelled(&self) -> Result<()> {
        if self.cancel.is_cancelled() { Err(Error::cancelled()) } else { Ok(()) }
    }

    fn read_something<T>(&self, what: &str, key: &str, read: impl FnOnce(&Bucket) -> T) -> Result<T> {
        self.check_cancelled()?;
        let (mut state, fault) = self.turn(Request::Read, || format!("{what} {key}"))?;
        let shown = |said: &str| format!("#{}: {what} {key}{said}", self.actor);
        match fault {
            Some(fault) if fault.kills() => {
                state.note(|_| shown(": is dead"));
                drop(state);
                dead()
            }
            Some(Fault::Refused) => {
                state.note(|_| shown(": refused"));
                Err(Error::retry(SAID).because(format!("{what} {key}")))
            }
            _ => {
                state.note(|_| shown(""));
                Ok(read(&state.bucket))
            }
        }
    }

    fn write(&self, request: Request, write: &Write) -> Result<Answer> {
        let (mut state, fault) = self.turn(request, || shown(write))?;
        let failed = || Error::retry(SAID).because(shown(write));
        let said = |said: &str| format!("#{}: {}: {said}", self.actor, shown(write));
        match fault {
            None | Some(Fault::Stalled | Fault::Terminated | Fault::ShortRead) => {
                let answer = state.request(write, self.actor);
                state.note(|_| said(&format!("{answer:?}")));
                Ok(answer)
            }
            Some(Fault::Refused) => {
                state.note(|_| said("refused"));
                Err(failed())
            }
            Some(Fault::Conflict) => {
                state.note(|_| said("409, which the library takes for an object"));
                Ok(Answer::Exists)
            }
            Some(Fault::OwnObject) => {
                let answer = state.request(write, self.actor);
                state.note(|_| said(&format!("{answer:?}, and 412 to the library's second try")));
                Ok(Answer::Exists)
            }
            Some(Fault::AnswerLost) => {
                let answer = state.request(write, self.actor);
                if let Answer::Begun(id) = answer
                    && let Some(upload) = state.bucket.uploads.get_mut(&id)
                {
                    // As what lands late: whoever has asked for it doesn't know that it is there.
                    upload.by.late = true;
                }
                state.note(|_| said(&format!("{answer:?}, and the answer is lost")));
                Err(failed())
            }
            Some(Fault::Late) => {
                self.later(&mut state, write);
                state.note(|_| said("will be done late"));
                Err(failed())
            }
            Some(Fault::Partly) => {
                if let Write::Delete(keys) = write {
                    let some = keys.iter().filter(|_| state.random.chance(1, 2)).cloned().collect();
                    state.apply(&Write::Delete(some), self.actor, false);
                }
                state.note(|_| said("done in part"));
                Err(failed())
            }
            Some(Fault::KilledBefore) => {
                state.note(|_| said("is dead before"));
                drop(state);
                dead()
            }
            Some(Fault::KilledAfter) => {
                let answer = state.request(write, self.actor);
                state.note(|_| said(&format!("{answer:?}, is dead after")));
                drop(state);
                dead()
            }
            Some(Fault::KilledLate) => {
                self.later(&mut state, write);
                state.note(|_| said("is dead, and it will be done late"));
                drop(state);
                dead()
            }
        }
    }

    fn later(&self, state: &mut State, write: &Write) {
        let due = state.step + state.random.steps();
        state.due.push((due, Event::Land(write.clone(), self.actor)));
    }

    fn complete_over(&self, key: &str, staged: &Staged, replaces: bool) -> Result<Created> {
        let (id, parts) = id_of(staged)?;
        match self.write(Request::Write, &Write::Complete(key.to_owned(), id, parts, replaces))? {
            // As the library's: an upload that is gone while its object is there may have been completed before.
            Answer::NoSuchUpload if self.head(key)?.is_none() => {
                Err(Error::permanent(format!("there is no upload of {BASE}{key}")))
            }
            Answer::NoSuchUpload | Answer::Exists => Ok(Created::Exists),
            _ => Ok(Created::New),
        }
    }

    fn upload(&self, key: &str, bytes: &mut Vec<u8>) -> Result<Staged> {
        self.check_cancelled()?;
        let begun = self.write(Request::Write, &Write::Begin(key.to_owned()))?;
        let Answer::Begun(id) = begun else { return Err(Error::permanent("no upload was begun")) };
        let mut guard = Unfinished { store: self, id: Some(id) };
        let part = Write::Part(id, 0, Arc::new(std::mem::take(bytes)));
        self.check_cancelled()?;
        if self.write(Request::Write, &part)? == Answer::NoSuchUpload {
            return Err(Error::permanent(format!("there is no upload of {key} any more")));
        }
        guard.id = None;
        Ok(Staged::Upload { id: id.to_string(), parts: vec!["0".to_owned()] })
    }
}

/// The thread of a process that is dead ends, without reaching the store again.
fn dead<T>() -> Result<T> {
    if std::thread::panicking() { Err(Error::permanent("the process is dead")) } else { die() }
}

/// An upload that its writer has to end.
struct Unfinished<'a> {
    store: &'a SimulatedStore,
    id: Option<u64>,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            // As the library's, it says nothing.
            let _ = self.store.write(Request::Write, &Write::Abort(id));
        }
    }
}

impl State {
    /// Keeps an actor from going on for some time; whoever has started it may think that it is dead.
    pub fn stall(&mut self, actor: usize) {
        let until = self.step + 2 * self.random.steps();
        self.actors[actor].status = Status::Stalled(until);
        if self.random.chance(1, 2) {
            self.lose_sight_of(actor);
        }
    }
}

fn id_of(staged: &Staged) -> Result<(u64, usize)> {
    match staged {
        Staged::Upload { id, parts } => Ok((id.parse().unwrap(), parts.len())),
        Staged::File { path } => Err(Error::permanent(format!("{path} is not an upload"))),
    }
}

impl Store for SimulatedStore {
    fn list(&self, prefix: &str, recursive: bool) -> Result<Vec<ListedObject>> {
        let mut found = self.read_something("list", prefix, |bucket| bucket.list(prefix, recursive))?;
        if prefix.contains("run-") {
            let mut state = self.simulation.lock();
            let step = state.step;
            state.job_of(self.actor).looked.objects.insert(prefix.to_owned(), step);
        }
        if let Some(Site::List(made)) = self.simulation.lock().planted {
            made(prefix, &mut found);
        }
        Ok(found)
    }

    fn head(&self, key: &str) -> Result<Option<ListedObject>> {
        self.read_something("head", key, |bucket| bucket.head(key))
    }

    fn open(&self, entry: &ListedObject, range: Range<u64>) -> Result<Box<dyn Read + Send>> {
        self.check_cancelled()?;
        let key = &entry.key;
        let (mut state, fault) = self.turn(Request::Read, || format!("open {key}"))?;
        state.note(|_| format!("#{}: open {key}: {fault:?}", self.actor));
        match fault {
            Some(fault) if fault.kills() => {
                drop(state);
                return dead();
            }
            Some(Fault::Refused) => return Err(Error::retry(SAID).because(format!("open {key}"))),
            _ => {}
        }
        let Some(there) = state.bucket.head(key) else {
            return Err(Error::permanent(format!("there is no object {BASE}{key}")));
        };
        if entry.version.is_some() && there.version != entry.version {
            return Err(Error::permanent(format!("{BASE}{key} changed while the job was reading it")));
        }
        let bytes = state.bucket.bytes(key).unwrap_or_default();
        let wanted = range.start as usize..(range.end as usize).min(bytes.len());
        let bytes = bytes[wanted].to_vec();
        let ends = fault == Some(Fault::ShortRead);
        let most = if ends { state.random.below(bytes.len().max(1)) } else { bytes.len() };
        let step = 1 + state.random.below(16);
        let mut stream = Stream { bytes, at: 0, most, step };
        if matches!(state.planted, Some(Site::ShortIsWhole)) {
            stream.bytes.truncate(most);
        }
        Ok(Box::new(stream))
    }

    fn read(&self, key: &str, range: Range<u64>) -> Result<Vec<u8>> {
        let found = self.read_something("read", key, |bucket| {
            let bytes = bucket.bytes(key)?;
            bytes.get(range.start as usize..(range.end as usize).min(bytes.len())).map(<[u8]>::to_vec)
        })?;
        found.ok_or_else(|| Error::permanent(format!("there is no object {BASE}{key}")))
    }

    fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        self.read_something("get", key, |bucket| bucket.bytes(key).map(<[u8]>::to_vec))
    }

    fn start(&self, key: &str, most: u64) -> Result<Option<Vec<u8>>> {
        let planted = match self.simulation.lock().planted {
            Some(Site::Read(made)) => Some(made),
            _ => None,
        };
        self.read_something("start", key, |bucket| {
            let instead = planted.and_then(|made| made(bucket, key));
            let bytes = instead.unwrap_or_else(|| bucket.bytes(key).map(<[u8]>::to_vec));
            bytes.map(|bytes| bytes[..bytes.len().min(most as usize)].to_vec())
        })
    }

    fn put(&self, key: &str, bytes: Vec<u8>) -> Result<()> {
        self.check_cancelled()?;
        self.write(Request::Write, &Write::Put(key.to_owned(), Arc::new(bytes))).map(drop)
    }

    fn create(&self, key: &str, bytes: Vec<u8>) -> Result<Created> {
        self.check_cancelled()?;
        match self.write(Request::Create, &Write::Create(key.to_owned(), Arc::new(bytes)))? {
            Answer::Exists => Ok(Created::Exists),
            _ => Ok(Created::New),
        }
    }

    fn delete(&self, keys: &[String]) -> Result<()> {
        if keys.is_empty() {
            return Ok(());
        }
        self.write(Request::Delete, &Write::Delete(keys.to_vec())).map(drop)
    }

    fn delete_version(&self, entry: &ListedObject) -> Result<bool> {
        let write = Write::DeleteVersion(entry.key.clone(), entry.version.clone());
        Ok(self.write(Request::Delete, &write)? != Answer::Exists)
    }

    fn stage(&self, key: &str, _work: &str) -> Result<Box<dyn StagedWriter>> {
        Ok(Box::new(Writer { store: self.clone(), key: key.to_owned(), bytes: Vec::new() }))
    }

    fn uninterrupted(&self) -> Option<SharedStore> {
        let (simulation, actor) = (Arc::clone(&self.simulation), self.actor);
        Some(Arc::new(Self { simulation, actor, cancel: CancellationToken::new() }))
    }

    fn complete(&self, key: &str, staged: &Staged) -> Result<Created> {
        self.complete_over(key, staged, true)
    }

    fn complete_new(&self, key: &str, staged: &Staged) -> Result<Created> {
        self.complete_over(key, staged, false)
    }

    fn uploads(&self, prefix: &str) -> Result<Option<Vec<PendingUpload>>> {
        let found = self.read_something("uploads below", prefix, |bucket| bucket.uploads_below(prefix))?;
        let mut state = self.simulation.lock();
        let step = state.step;
        state.job_of(self.actor).looked.uploads.insert(prefix.to_owned(), step);
        Ok(Some(found))
    }

    fn abort(&self, _key: &str, staged: &Staged) -> Result<()> {
        let (id, _) = id_of(staged)?;
        self.write(Request::Write, &Write::Abort(id)).map(drop)
    }
}

/// A part that is uploaded in one piece when it is whole.
struct Writer {
    store: SimulatedStore,
    key: String,
    bytes: Vec<u8>,
}

impl StagedWriter for Writer {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Staged> {
        self.store.upload(&self.key, &mut self.bytes)
    }

    fn publish(mut self: Box<Self>) -> Result<()> {
        self.store.put(&self.key, std::mem::take(&mut self.bytes))
    }
}

/// Comes in small pieces, and may end early.
struct Stream {
    bytes: Vec<u8>,
    at: usize,
    most: usize,
    step: usize,
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.at == self.most && self.most < self.bytes.len() {
            return Err(Error::retry(SAID).because("a read has ended early").into());
        }
        let n = self.step.min(buf.len()).min(self.most - self.at);
        buf[..n].copy_from_slice(&self.bytes[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}
