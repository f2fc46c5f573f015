//! A plan is read from a bucket: what it names is checked before it is read.

use super::MapTask;
use crate::error::{Error, Result};
use crate::step::RunStep;
use crate::storage::{GLOB_SIGNS, Scheme, parse_url};

/// An error where a split is of an object that the manifest doesn't name.
pub(super) fn check(step: &RunStep, task: &MapTask) -> Result<()> {
    let foreign = match step.definition.number {
        0 => {
            let prefixes =
                step.spec().input.urls.iter().map(|url| prefix(step, url)).collect::<Result<Vec<_>>>()?;
            task.splits.iter().find(|split| !prefixes.iter().any(|prefix| is_below(prefix, &split.url)))
        }
        _ => {
            let prefix = step.places.folder.url(&step.places.folder.key);
            task.splits.iter().find(|split| !is_below(&prefix, &split.url))
        }
    };
    foreign.map_or(Ok(()), |split| {
        Err(Error::permanent(format!("the plan reads {}, which is not the job's input", split.url)))
    })
}

/// What the URLs begin with that an input URL can match.
fn prefix(step: &RunStep, url: &str) -> Result<String> {
    let place = step.places.stores.locate(url)?;
    let fixed = match parse_url(url)?.0 {
        Scheme::Http => &place.key,
        _ => &place.key[..place.key.find(GLOB_SIGNS).unwrap_or(place.key.len())],
    };
    Ok(place.url(fixed))
}

fn is_below(prefix: &str, url: &str) -> bool {
    url.strip_prefix(prefix).is_some_and(|rest| !rest.split('/').any(|part| part == ".."))
}
