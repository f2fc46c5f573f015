//! The end of a run, with a result or without: what it has left goes.

use mapreduce_api::v1alpha1::IfExists;

use super::mark::{self, Mark, MarkedPart};
use super::publication::Publication;
use super::success::{Success, succeeded};
use super::{patiently, turn};
use crate::commit::record::Commit;
use crate::commit::{lock, sign};
use crate::error::{Error, ErrorKind, Result};
use crate::output::StagedPart;
use crate::output::replaceable::SUCCESS;
use crate::plan;
use crate::storage::{Location, Staged};

/// Removes the intermediate data of a run that has succeeded, then its lock.
pub fn tidy_up(run: &Publication) -> Result<()> {
    let run = &run.uninterrupted();
    patiently(|| try_tidy_up(run))
}

fn try_tidy_up(run: &Publication) -> Result<()> {
    // The plans go first: whoever writes something after that finds by them that it has to go again.
    let plans: Vec<String> = run.works.iter().map(|work| work.join(plan::HEAD).key).collect();
    run.folder.store.delete(&plans)?;
    let places = run.run_places();
    sign::abort_uploads(places)?;
    sign::remove_folders(places)?;
    lock::release_of(&run.output, &run.owner)
}

/// Ends a run that has succeeded and leaves its intermediate data.
pub(super) fn leave(run: &Publication) -> Result<()> {
    sign::abort_uploads(run.run_places())?;
    sign::take_down(&run.staging)?;
    lock::release_of(&run.output, &run.owner)
}

/// Removes all that a run without success has left: its staged parts, those that appeared already, its
/// intermediate data, and its lock. The result of a run whose last words were lost is left, and given.
pub fn abandon(run: &Publication, parts: impl Fn() -> Result<Vec<StagedPart>>) -> Result<Option<Success>> {
    let run = &run.uninterrupted();
    patiently(|| match succeeded(run)? {
        Some(success) => try_tidy_up(run).map(|()| Some(success)),
        None => try_abandon(run, &parts()?),
    })
}

/// Ends a run without result while its threads are still at work, and removes what it has left. Not one that has
/// succeeded or is about to write its `_SUCCESS`: says whether.
pub fn stop(run: &Publication) -> bool {
    let run = &run.uninterrupted();
    if matches!(succeeded(run), Ok(Some(_))) {
        return false;
    }
    let Some(mut parts) = run.context.ending.stop() else { return false };
    parts.extend(committed_parts(run).unwrap_or_default());
    if let Err(error) = abandon(run, || Ok(parts.clone())) {
        tell_what_is_left(run, &error);
    }
    true
}

/// Says where a run without result has left something that it couldn't remove, and what removes it.
pub fn tell_what_is_left(run: &Publication, error: &Error) {
    // Of the threads that end a run each may find out.
    if !run.context.ending.is_left() {
        return;
    }
    let mut places = vec![&run.staging];
    if !run.folder.key.starts_with(&run.staging.key) || run.folder.base != run.staging.base {
        places.push(&run.folder);
    }
    let typed: Vec<String> = places.iter().map(|place| removal_of(place)).collect();
    let (output, typed) = (run.output.url(&run.output.key), typed.join("; "));
    let who = match run.owner.process {
        Some(_) => "the next `mapreduce run` here with that output removes it, or by hand",
        None => "the job's cleanup removes it; by hand",
    };
    let error = match error.kind() {
        ErrorKind::Cancelled => "the store doesn't answer, and nobody waits for it any more".to_owned(),
        _ => format!("{error} {}", error.causes_text()),
    };
    tracing::warn!(
        error,
        "What the run has written may be left, in {} and as unfinished uploads below {output}: {who}: {typed}",
        places.iter().map(|place| place.url(&place.key)).collect::<Vec<_>>().join(" and "),
    );
}

/// What to type to remove what is below a prefix.
fn removal_of(place: &Location) -> String {
    if place.is_local() {
        format!("rm -r '{}'", place.key)
    } else {
        format!("aws s3 rm --recursive '{}'", place.url(&place.key))
    }
}

fn try_abandon(run: &Publication, parts: &[StagedPart]) -> Result<Option<Success>> {
    // From then on it can't succeed any more, by whatever was asked for: but it may have until then.
    let mark = Mark::read(&run.staging)?;
    let staged = turn::staged(run)?;
    let staged: Vec<&Staged> = staged.iter().chain(mark.iter().map(|mark| &mark.success)).collect();
    for staged in &staged {
        mark::abort_success(&run.output, &run.staging, staged)?;
    }
    if !staged.is_empty()
        && let Some(success) = succeeded(run)?
    {
        return try_tidy_up(run).map(|()| Some(success));
    }
    // Parts appear under the lock alone: without it, what is there is somebody else's.
    let begun = mark.is_some() && lock::is_held(&run.output, &run.owner)?;
    // Beside another run's `_SUCCESS` nothing of ours has appeared yet. Where an old one went, what is left of the
    // old result is none.
    let success = run.output.join(SUCCESS);
    let begun = begun && success.store.head(&success.key)?.is_none();
    let replaces = run.spec().output.if_exists == IfExists::Replace;
    let remove = |part: &StagedPart| {
        let key = run.output.join(&part.name).key;
        run.output.store.abort(&key, &part.staged)?;
        if begun && (replaces || MarkedPart::of(part).is_there(&run.output)?) {
            run.output.store.delete(&[key])
        } else {
            Ok(())
        }
    };
    // One that can't be removed doesn't keep the others.
    let removed: Vec<Result<()>> = parts.iter().map(remove).collect();
    removed.into_iter().collect::<Result<()>>()?;
    try_tidy_up(run).map(|()| None)
}

/// What the commit records of the steps name that is staged: parts of the last one, and what any left out.
pub fn committed_parts(run: &Publication) -> Result<Vec<StagedPart>> {
    let first = if run.spec().skips() { 0 } else { run.works.len() - 1 };
    let mut parts = Vec::new();
    for log in run.logs().skip(first) {
        parts.extend(log.list()?.iter().flat_map(Commit::staged).cloned());
    }
    Ok(parts)
}
