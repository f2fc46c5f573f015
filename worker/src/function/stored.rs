//! Code of a function that isn't in the manifest: an object, or a key of a ConfigMap in the pod.

use std::path::Path;

use mapreduce_api::v1alpha1::{ConfigMapKeyRef, SourceFrom};
use mapreduce_api::wire::env;

use super::context::TaskContext;
use crate::error::{Error, IoContext as _, Result};
use crate::machine::variables;
use crate::storage::parse_url;

/// Where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SourceLocation {
    Url(String),
    ConfigMap(ConfigMapKeyRef),
}

impl SourceLocation {
    pub(super) fn new(from: &SourceFrom) -> Result<Self> {
        match (&from.url, &from.config_map_key_ref) {
            (Some(url), None) => {
                parse_url(url).map_err(|error| error.context_usage("url"))?;
                Ok(Self::Url(url.clone()))
            }
            (None, Some(key)) => Ok(Self::ConfigMap(key.clone())),
            _ => Err(Error::usage("exactly one of: url, configMapKeyRef")),
        }
    }

    /// What messages call it.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Url(url) => url.clone(),
            Self::ConfigMap(ConfigMapKeyRef { name, key }) => format!("{name}/{key}"),
        }
    }

    /// What is there; `what` is what it should be, for messages.
    pub(super) fn read(&self, what: &str, context: &TaskContext) -> Result<Vec<u8>> {
        match self {
            Self::Url(url) => {
                let place = context.stores.locate(url)?;
                let found = place.store.get(&place.key)?;
                found.ok_or_else(|| Error::permanent(format!("there is no {what} {url}")))
            }
            Self::ConfigMap(ConfigMapKeyRef { name, key }) => {
                let folder = variables::get(env::CONFIG_MAPS).ok_or_else(|| {
                    Error::permanent(format!(
                        "the {what} is in ConfigMap {name}, and those are there only on a cluster"
                    ))
                })?;
                let path = Path::new(&folder).join(name).join(key);
                match std::fs::read(&path) {
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                        Err(Error::permanent(format!(
                            "there is no {what}: no ConfigMap {name} with the key {key} in the job's namespace"
                        )))
                    }
                    read => read.context(|| format!("can't read {}", path.display())),
                }
            }
        }
    }
}
