//! Where pairs are kept between steps.

use std::io::Read;
use std::sync::Arc;

use mapreduce_api::v1alpha1::ShuffleCompression;

use super::local::{LocalPairs, LocalPairsWriter};
use super::writer::{PairsSink, PairsWriter};
use crate::error::Result;
use crate::record::block::BlockCodec;
use crate::record::split::Split;
use crate::storage::{ListedObject, Location};

/// Where pairs are kept between steps.
#[derive(Clone, Debug)]
pub enum PairsPlace {
    /// In objects below the job's work folder.
    Folder(Location),
    /// In this process.
    Local(Arc<LocalPairs>),
}

impl PairsPlace {
    /// Begins an object of pairs, whose name is an attempt's own.
    pub fn create(&self, name: String, compression: ShuffleCompression) -> Result<PairsWriter> {
        Ok(match self {
            Self::Folder(folder) => {
                let stage = folder.store.stage(&folder.join(&name).key, &folder.key)?;
                PairsWriter::new(
                    name,
                    BlockCodec::of(compression, !folder.is_local()),
                    PairsSink::Stored(stage),
                )
            }
            Self::Local(kept) => PairsWriter::new(
                name,
                kept.spill_store.codec(),
                PairsSink::Local(LocalPairsWriter::new(kept)),
            ),
        })
    }

    /// What plans and errors call an object of pairs.
    pub fn url(&self, name: &str) -> String {
        match self {
            Self::Folder(folder) => folder.url(&folder.join(name).key),
            Self::Local(_) => name.to_owned(),
        }
    }

    /// The bytes of a split.
    pub(super) fn open(&self, split: &Split) -> Result<Box<dyn Read + Send>> {
        match self {
            Self::Folder(folder) => {
                let key = split.url.strip_prefix(&folder.base).unwrap_or(&split.url).to_owned();
                let entry = ListedObject { key, size: split.size, version: None };
                folder.store.open(&entry, split.start..split.end)
            }
            Self::Local(kept) => Ok(Box::new(kept.open(split)?)),
        }
    }

    /// Removes an object of an attempt that came too late.
    pub fn delete(&self, name: &str) -> Result<()> {
        match self {
            Self::Folder(folder) => folder.store.delete(&[folder.join(name).key]),
            Self::Local(kept) => {
                kept.all().remove(name);
                Ok(())
            }
        }
    }

    /// Removes all objects whose names begin with a folder's.
    pub fn delete_below(&self, prefix: &str) -> Result<()> {
        match self {
            Self::Folder(folder) => folder.store.delete_prefix(&folder.join(prefix).key),
            Self::Local(kept) => {
                kept.all().retain(|name, _| !name.starts_with(prefix));
                Ok(())
            }
        }
    }
}
