//! Folders that a run makes, so that one that fails can take them away again.

use std::path::{Path, PathBuf};

use crate::storage::Location;

/// Folders that there weren't before a run, the lowest first.
#[derive(Debug)]
pub struct NewFolders(Vec<PathBuf>);

impl NewFolders {
    /// What writing below these places will make.
    pub fn of(places: &[&Location]) -> Self {
        let local = places.iter().filter(|place| place.base == "file://");
        let missing =
            local.flat_map(|place| Path::new(&place.key).ancestors().take_while(|path| !path.exists()));
        Self(missing.map(Path::to_owned).collect())
    }

    /// Removes those that are empty.
    pub fn remove(&self) {
        for folder in &self.0 {
            // It may never have been made, and others may have put something there.
            let _ = std::fs::remove_dir(folder);
        }
    }
}
