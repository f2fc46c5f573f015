//! `script`: a function in the manifest itself, in Python.
//!
//! A process of `python3` runs the script for a task. Records go to it and pairs come back in
//! batches, so that what a record costs is the function and not the pipe; see `frame` for the
//! messages, and `driver.py` for the other side.

mod frame;
mod map;
mod python;
mod reduce;

use std::sync::{Arc, OnceLock};

use mapreduce_api::v1alpha1::{Script, ScriptLanguage};

use self::map::ScriptMapper;
use self::reduce::ScriptReducer;
use super::context::TaskContext;
use super::kind::Role;
use super::{Mapper, Reducer};
use crate::error::{Error, Result};
use crate::storage::Stores;

/// A checked script.
#[derive(Clone, Debug)]
pub struct ScriptFunction(Arc<Checked>);

#[derive(Debug)]
struct Checked {
    role: Role,
    /// What tracebacks call it.
    name: String,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Text(String),
    /// Read once, when the first task needs it.
    Url(String, OnceLock<String>),
}

impl ScriptFunction {
    /// The script of a manifest.
    pub fn new(script: &Script, role: Role) -> Result<Self> {
        // The only one there is; another one has to be looked at here.
        let ScriptLanguage::Python = script.language;
        let (name, source) = match (&script.source, &script.source_from) {
            (Some(text), None) => (format!("<{role} script>"), Source::Text(text.clone())),
            (None, Some(from)) => {
                Stores::parse(&from.url).map_err(|error| error.context_usage("script.sourceFrom.url"))?;
                (from.url.clone(), Source::Url(from.url.clone(), OnceLock::new()))
            }
            _ => return Err(Error::usage("a script has exactly one of: source, sourceFrom")),
        };
        Ok(Self(Arc::new(Checked { role, name, source })))
    }

    pub(super) fn mapper(&self, context: &TaskContext) -> Box<dyn Mapper> {
        Box::new(ScriptMapper::new(self.clone(), context.clone()))
    }

    pub(super) fn reducer(&self, context: &TaskContext) -> Box<dyn Reducer> {
        Box::new(ScriptReducer::new(self.clone(), context.clone()))
    }

    /// The script's text.
    fn source(&self, context: &TaskContext) -> Result<&str> {
        match &self.0.source {
            Source::Text(text) => Ok(text),
            Source::Url(url, text) => {
                if text.get().is_none() {
                    let place = context.stores.locate(url)?;
                    let found = place.store.get(&place.key)?;
                    let bytes = found.ok_or_else(|| Error::permanent(format!("there is no script {url}")))?;
                    let read = String::from_utf8(bytes)
                        .map_err(|_| Error::permanent(format!("the script {url} is no UTF-8")))?;
                    // Another task may have been faster, with the same text.
                    let _ = text.set(read);
                }
                Ok(text.get().map_or("", String::as_str))
            }
        }
    }
}
