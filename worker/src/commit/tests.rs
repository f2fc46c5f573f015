use std::fmt;
use std::io::Read;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use mapreduce_api::ids::JobId;

use super::lock::{OutputLock, WhenHeld, release_of};
use super::owner::Owner;
use crate::error::{Error, ErrorKind, Result};
use crate::storage::once::{Won, create_once};
use crate::storage::{Created, FileStore, ListedObject, Location, Staged, StagedWriter, Store};

/// What a store answers to a create.
#[derive(Clone, Copy, Debug)]
enum Answer {
    /// 409: there is one, though there is none.
    Conflict,
    /// It is done, and the answer is lost.
    Lost,
    /// It is not done.
    Away,
    /// It is done, then asked for again by the library, which is told that there is one.
    AskedAgain,
}

/// A store whose first creates go wrong.
struct Doubtful {
    answers: Mutex<Vec<Answer>>,
}

impl fmt::Debug for Doubtful {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Doubtful")
    }
}

impl Store for Doubtful {
    fn create(&self, key: &str, bytes: Vec<u8>) -> Result<Created> {
        let lost = || Err(Error::retry("the answer is lost"));
        match self.answers.lock().unwrap().pop() {
            None => FileStore.create(key, bytes),
            Some(Answer::Conflict) => Ok(Created::Exists),
            Some(Answer::Lost) => FileStore.create(key, bytes).and_then(|_| lost()),
            Some(Answer::Away) => lost(),
            Some(Answer::AskedAgain) => FileStore.create(key, bytes).map(|_| Created::Exists),
        }
    }

    fn start(&self, key: &str, most: u64) -> Result<Option<Vec<u8>>> {
        FileStore.start(key, most)
    }

    fn delete(&self, keys: &[String]) -> Result<()> {
        FileStore.delete(keys)
    }

    fn list(&self, _: &str, _: bool) -> Result<Vec<ListedObject>> {
        unreachable!()
    }
    fn head(&self, _: &str) -> Result<Option<ListedObject>> {
        unreachable!()
    }
    fn open(&self, _: &ListedObject, _: Range<u64>) -> Result<Box<dyn Read + Send>> {
        unreachable!()
    }
    fn read(&self, _: &str, _: Range<u64>) -> Result<Vec<u8>> {
        unreachable!()
    }
    fn get(&self, _: &str) -> Result<Option<Vec<u8>>> {
        unreachable!()
    }
    fn put(&self, _: &str, _: Vec<u8>) -> Result<()> {
        unreachable!()
    }
    fn stage(&self, _: &str, _: &str) -> Result<Box<dyn StagedWriter>> {
        unreachable!()
    }
    fn complete(&self, _: &str, _: &Staged) -> Result<Created> {
        unreachable!()
    }
    fn abort(&self, _: &str, _: &Staged) -> Result<()> {
        unreachable!()
    }
}

fn place(folder: &tempfile::TempDir, answers: &[Answer]) -> Location {
    let answers = Mutex::new(answers.iter().rev().copied().collect());
    let store = Arc::new(Doubtful { answers });
    Location { store, base: "file://".into(), key: format!("{}/", folder.path().display()) }
}

#[test]
fn a_create_is_ours_whatever_the_store_answers_and_theirs_only_where_theirs_is_there() {
    use Answer::{AskedAgain, Away, Conflict, Lost};
    for answers in
        [&[][..], &[Conflict], &[Lost], &[Away, Conflict, Away], &[AskedAgain], &[Conflict, AskedAgain]]
    {
        let folder = tempfile::tempdir().unwrap();
        let record = place(&folder, answers).join("record");
        let ours = |name: &'static [u8]| create_once(&record, name, 100, |there| there == name).unwrap();
        assert_eq!(ours(b"one"), Won::Ours, "{answers:?}");
        assert_eq!(ours(b"one"), Won::Ours, "{answers:?}: doing it again loses nothing");
        assert_eq!(ours(b"two"), Won::Theirs(b"one".to_vec()), "{answers:?}");
    }
}

#[test]
fn a_store_that_never_says_what_is_so_is_an_error_and_no_win() {
    let folder = tempfile::tempdir().unwrap();
    let record = place(&folder, &[Answer::Conflict; 100]).join("record");
    let error = create_once(&record, b"one", 100, |_| true).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retry);
}

fn owner(run: &str) -> Owner {
    Owner::new(&JobId::new(run), "wordcount", true)
}

#[test]
fn a_prefix_is_locked_for_one_run_and_its_own_processes_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let output = place(&folder, &[]);
    let take = |run: &str| OutputLock::take(&output, &owner(run), WhenHeld::Fails, || Ok(()));
    let lock = take("one").unwrap();
    take("one").unwrap();
    let error = take("two").unwrap_err();
    assert!(error.to_string().contains("another run was there first: run one of job wordcount"), "{error}");
    assert!(error.causes()[0].contains("_mapreduce-lock"), "{:?}", error.causes());
    lock.check().unwrap();
    release_of(&output, &owner("two")).unwrap();
    lock.check().unwrap();
    release_of(&output, &owner("one")).unwrap();
    assert_eq!(lock.check().unwrap_err().kind(), ErrorKind::Retry);
    take("two").unwrap();
}

#[test]
fn one_that_waits_for_the_lock_can_be_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let output = place(&folder, &[]);
    OutputLock::take(&output, &owner("one"), WhenHeld::Fails, || Ok(())).unwrap();
    let error =
        OutputLock::take(&output, &owner("two"), WhenHeld::Waits, || Err(Error::cancelled())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
}

#[test]
fn the_lock_of_a_process_that_was_killed_is_taken_over_and_that_of_a_living_one_or_a_pod_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let output = place(&folder, &[]);
    let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    let theirs = Owner { process: super::owner::ProcessIdentity::of(child.id()), ..owner("one") };
    assert!(theirs.process.is_some() && !theirs.is_dead());
    OutputLock::take(&output, &theirs, WhenHeld::Fails, || Ok(())).unwrap();
    let take = || OutputLock::take(&output, &owner("two"), WhenHeld::Fails, || Ok(()));
    take().unwrap_err();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(theirs.is_dead());
    take().unwrap();
    assert!(!Owner { process: None, ..theirs }.is_dead());
}
