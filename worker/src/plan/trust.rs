//! A plan is read from a bucket: what it names is checked before it is read.

use super::MapTask;
use crate::error::{Error, Result};
use crate::job::Job;
use crate::storage::{GLOB_SIGNS, Scheme, parse_url};

/// An error where a split is of an object that the manifest doesn't name.
pub(super) fn check(job: &Job, task: &MapTask) -> Result<()> {
    let foreign = match job.step() {
        0 => {
            let prefixes =
                job.file.spec.input.urls.iter().map(|url| prefix(job, url)).collect::<Result<Vec<_>>>()?;
            task.splits.iter().find(|split| !prefixes.iter().any(|prefix| is_below(prefix, &split.url)))
        }
        _ => {
            let prefix = job.folder.url(&job.folder.key);
            task.splits.iter().find(|split| !is_below(&prefix, &split.url))
        }
    };
    foreign.map_or(Ok(()), |split| {
        Err(Error::permanent(format!("the plan reads {}, which is not the job's input", split.url)))
    })
}

/// What the URLs begin with that an input URL can match.
fn prefix(job: &Job, url: &str) -> Result<String> {
    let place = job.stores.locate(url)?;
    let fixed = match parse_url(url)?.0 {
        Scheme::Http => &place.key,
        _ => &place.key[..place.key.find(GLOB_SIGNS).unwrap_or(place.key.len())],
    };
    Ok(place.url(fixed))
}

fn is_below(prefix: &str, url: &str) -> bool {
    url.strip_prefix(prefix).is_some_and(|rest| !rest.split('/').any(|part| part == ".."))
}
