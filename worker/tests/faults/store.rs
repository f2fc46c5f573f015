//! A store that fails once, at the call that it is told to.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use mapreduce_worker::error::{Error, Result};
use mapreduce_worker::storage::{Created, ListedObject, SharedStore, Staged, StagedWriter, Store};

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It isn't done; another attempt may succeed.
    Passing,
    /// It isn't done, and won't be.
    Permanent,
    /// It is done, but the answer gets lost.
    AnswerLost,
}

/// What all errors of the store say.
pub const SAID: &str = "the store fails";

/// Counts calls, and fails one of them.
#[derive(Debug)]
pub struct Plan {
    calls: AtomicUsize,
    at: usize,
    fault: Fault,
    fired: Mutex<Option<String>>,
    /// Uploads that are neither completed nor aborted.
    uploads: Mutex<BTreeSet<String>>,
}

impl Plan {
    /// Fails call number `at`, from 1.
    pub fn new(at: usize, fault: Fault) -> Arc<Self> {
        let (fired, uploads) = (Mutex::default(), Mutex::default());
        Arc::new(Self { calls: AtomicUsize::new(0), at, fault, fired, uploads })
    }

    /// The call that failed, if there were so many.
    pub fn fired(&self) -> Option<String> {
        self.fired.lock().unwrap().clone()
    }

    pub fn uploads(&self) -> Vec<String> {
        self.uploads.lock().unwrap().iter().cloned().collect()
    }

    fn call<T>(&self, what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        if self.calls.fetch_add(1, Ordering::Relaxed) + 1 != self.at {
            return work();
        }
        *self.fired.lock().unwrap() = Some(what.to_owned());
        match self.fault {
            Fault::Permanent => return Err(Error::permanent(SAID).because(what)),
            Fault::Passing => {}
            Fault::AnswerLost => drop(work()?),
        }
        Err(Error::retry(SAID).because(what))
    }

    /// Whether an upload was completed or aborted: S3 answers that there is none any more, which ends it
    /// well, but the store in memory has no such answer.
    fn is_over(&self, staged: &Staged) -> bool {
        let is_upload = matches!(staged, Staged::Upload { .. });
        is_upload && !self.uploads.lock().unwrap().contains(&format!("{staged:?}"))
    }

    fn ended(&self, staged: &Staged) {
        self.uploads.lock().unwrap().remove(&format!("{staged:?}"));
    }
}

/// A store, and when it fails.
#[derive(Debug)]
pub struct Faulty {
    pub store: SharedStore,
    pub plan: Arc<Plan>,
}

impl Store for Faulty {
    fn list(&self, prefix: &str, recursive: bool) -> Result<Vec<ListedObject>> {
        self.plan.call(&format!("list {prefix}"), || self.store.list(prefix, recursive))
    }

    fn head(&self, key: &str) -> Result<Option<ListedObject>> {
        self.plan.call(&format!("head {key}"), || self.store.head(key))
    }

    fn open(&self, entry: &ListedObject, range: Range<u64>) -> Result<Box<dyn Read + Send>> {
        let what = format!("open {}", entry.key);
        let content = self.plan.call(&what, || self.store.open(entry, range))?;
        Ok(Box::new(FaultyRead { content, plan: Arc::clone(&self.plan), what }))
    }

    fn read(&self, key: &str, range: Range<u64>) -> Result<Vec<u8>> {
        self.plan.call(&format!("read {key}"), || self.store.read(key, range))
    }

    fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        self.plan.call(&format!("get {key}"), || self.store.get(key))
    }

    fn start(&self, key: &str, most: u64) -> Result<Option<Vec<u8>>> {
        self.plan.call(&format!("start {key}"), || self.store.start(key, most))
    }

    fn put(&self, key: &str, bytes: Vec<u8>) -> Result<()> {
        self.plan.call(&format!("put {key}"), || self.store.put(key, bytes))
    }

    fn create(&self, key: &str, bytes: Vec<u8>) -> Result<Created> {
        self.plan.call(&format!("create {key}"), || self.store.create(key, bytes))
    }

    fn delete(&self, keys: &[String]) -> Result<()> {
        self.plan.call(&format!("delete {keys:?}"), || self.store.delete(keys))
    }

    fn stage(&self, key: &str, work: &str) -> Result<Box<dyn StagedWriter>> {
        let what = format!("stage {key}");
        let writer = self.plan.call(&what, || self.store.stage(key, work))?;
        Ok(Box::new(FaultyWriter { writer, plan: Arc::clone(&self.plan), what }))
    }

    fn complete(&self, key: &str, staged: &Staged) -> Result<Created> {
        self.plan.call(&format!("complete {key}"), || {
            if self.plan.is_over(staged) {
                return Ok(if self.store.head(key)?.is_some() { Created::Exists } else { Created::New });
            }
            self.store.complete(key, staged).inspect(|_| self.plan.ended(staged))
        })
    }

    fn abort(&self, key: &str, staged: &Staged) -> Result<()> {
        self.plan.call(&format!("abort {key}"), || {
            if self.plan.is_over(staged) {
                return Ok(());
            }
            self.store.abort(key, staged).inspect(|()| self.plan.ended(staged))
        })
    }

    fn delete_prefix(&self, prefix: &str) -> Result<()> {
        self.plan.call(&format!("delete below {prefix}"), || self.store.delete_prefix(prefix))
    }
}

struct FaultyRead {
    content: Box<dyn Read + Send>,
    plan: Arc<Plan>,
    what: String,
}

impl Read for FaultyRead {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let Self { content, plan, what } = self;
        plan.call(&format!("{what}, in between"), || Ok(content.read(buf)?)).map_err(io::Error::from)
    }
}

struct FaultyWriter {
    writer: Box<dyn StagedWriter>,
    plan: Arc<Plan>,
    what: String,
}

impl StagedWriter for FaultyWriter {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let Self { writer, plan, what } = self;
        plan.call(&format!("{what}: write"), || writer.write(bytes))
    }

    fn finish(self: Box<Self>) -> Result<Staged> {
        let Self { writer, plan, what } = *self;
        // Who doesn't get the token has nothing to abort by: a store that fails here removes what it has.
        plan.call(&format!("{what}: finish"), || Ok(()))?;
        let staged = writer.finish()?;
        if matches!(staged, Staged::Upload { .. }) {
            plan.uploads.lock().unwrap().insert(format!("{staged:?}"));
        }
        Ok(staged)
    }

    fn publish(self: Box<Self>) -> Result<()> {
        let Self { writer, plan, what } = *self;
        plan.call(&format!("{what}: publish"), || writer.publish())
    }
}
