//! `script`: a function in the manifest itself, at a URL, or in a ConfigMap.
//!
//! JavaScript runs in the task's own thread, in an engine that is part of the worker. Python runs in
//! a process beside it, which the image brings.

mod javascript;
mod python;

use std::sync::{Arc, OnceLock};

use mapreduce_api::v1alpha1::{Script, ScriptLanguage};

use self::javascript::{JavaScriptMapper, JavaScriptReducer};
use self::python::{PythonMapper, PythonReducer};
use super::context::TaskContext;
use super::role::Role;
use super::stored::SourceLocation;
use crate::error::{Error, Result, excerpt};
use crate::record::{MapOutput, Mapper, Reducer};

/// A checked script.
#[derive(Clone, Debug)]
pub struct ScriptFunction(Arc<CheckedScript>);

#[derive(Debug)]
struct CheckedScript {
    role: Role,
    language: ScriptLanguage,
    /// What tracebacks call it.
    name: String,
    source: ScriptSource,
}

#[derive(Debug)]
enum ScriptSource {
    Text(String),
    /// Read once, when the first task needs it.
    SourceLocation(SourceLocation, OnceLock<String>),
}

impl ScriptFunction {
    /// The script of a manifest.
    pub fn new(script: &Script, role: Role) -> Result<Self> {
        let (name, source) = match (&script.source, &script.source_from) {
            (Some(text), None) => (format!("<{role} script>"), ScriptSource::Text(text.clone())),
            (None, Some(from)) => {
                let stored =
                    SourceLocation::new(from).map_err(|error| error.context_usage("script.sourceFrom"))?;
                (stored.name(), ScriptSource::SourceLocation(stored, OnceLock::new()))
            }
            _ => return Err(Error::usage("a script has exactly one of: source, sourceFrom")),
        };
        // The Python that will run a script is the image's, and need not be the one that is here.
        if let (ScriptLanguage::Javascript, ScriptSource::Text(text)) = (script.language, &source) {
            javascript::check(role, &name, text).map_err(|error| error.context_usage("script"))?;
        }
        Ok(Self(Arc::new(CheckedScript { role, language: script.language, name, source })))
    }

    pub(super) fn mapper<O: MapOutput>(&self, context: &TaskContext) -> Box<dyn Mapper<O>> {
        match self.0.language {
            ScriptLanguage::Javascript => Box::new(JavaScriptMapper::new(self.clone(), context.clone())),
            ScriptLanguage::Python => Box::new(PythonMapper::new(self.clone(), context.clone())),
        }
    }

    pub(super) fn reducer(&self, context: &TaskContext) -> Box<dyn Reducer> {
        match self.0.language {
            ScriptLanguage::Javascript => Box::new(JavaScriptReducer::new(self.clone(), context.clone())),
            ScriptLanguage::Python => Box::new(PythonReducer::new(self.clone(), context.clone())),
        }
    }

    /// The script's text.
    fn source(&self, context: &TaskContext) -> Result<&str> {
        match &self.0.source {
            ScriptSource::Text(text) => Ok(text),
            ScriptSource::SourceLocation(stored, text) => {
                if text.get().is_none() {
                    let bytes = stored.read("script", context)?;
                    let read = String::from_utf8(bytes).map_err(|_| {
                        Error::permanent(format!("the script {} is not valid UTF-8", self.0.name))
                    })?;
                    // Another task may have been faster, with the same text.
                    let _ = text.set(read);
                }
                Ok(text.get().map_or("", String::as_str))
            }
        }
    }
}

/// The error for a key or value that is not text.
fn not_utf8(what: &str, text: &[u8]) -> Error {
    Error::permanent(format!("bad record: a {what} is not valid UTF-8: `{}`", excerpt(text)))
}

/// The name of the function that a script has to have.
fn wanted(role: Role) -> &'static str {
    match role {
        Role::Map => "map",
        // A combine function is a reduce function.
        Role::Combine | Role::Reduce => "reduce",
    }
}
