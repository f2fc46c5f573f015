//! A built-in function's arguments, each looked up once.

use std::collections::BTreeMap;

use mapreduce_api::v1alpha1::Builtin;
use regex::bytes::Regex;
use serde_json::Value;

use crate::error::{Error, Result};

/// Arguments that have not been looked up yet.
#[derive(Debug)]
pub(super) struct BuiltinArgs<'a> {
    name: &'a str,
    left: BTreeMap<&'a str, &'a Value>,
    known: Vec<&'static str>,
}

impl<'a> BuiltinArgs<'a> {
    pub(super) fn new(builtin: &'a Builtin) -> Self {
        let left = builtin.args.iter().map(|(name, value)| (name.as_str(), value)).collect();
        Self { name: &builtin.name, left, known: Vec::new() }
    }

    fn take(&mut self, arg: &'static str) -> Option<&'a Value> {
        self.known.push(arg);
        self.left.remove(arg)
    }

    fn wrong(&self, arg: &str, wants: &str, value: &Value) -> Error {
        Error::usage(format!("argument `{arg}` of builtin `{}` is {wants}, not {value}", self.name))
    }

    pub(super) fn text(&mut self, arg: &'static str) -> Result<Option<&'a str>> {
        match self.take(arg) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.wrong(arg, "a text", other)),
        }
    }

    /// A text, or a number as YAML writes it without quotes.
    pub(super) fn list(&mut self, arg: &'static str) -> Result<Option<String>> {
        match self.take(arg) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            Some(other) => Err(self.wrong(arg, "a text", other)),
        }
    }

    /// One of some words; the first one when absent.
    pub(super) fn choice<T: Copy>(&mut self, arg: &'static str, words: &[(&str, T)]) -> Result<T> {
        let word = self.text(arg)?.unwrap_or(words[0].0);
        words.iter().find(|(known, _)| *known == word).map(|(_, choice)| *choice).ok_or_else(|| {
            let known: Vec<_> = words.iter().map(|(known, _)| *known).collect();
            Error::usage(format!(
                "argument `{arg}` of builtin `{}` is one of {}, not `{word}`",
                self.name,
                known.join(", ")
            ))
        })
    }

    /// Two tags that differ; `L` and `R` when absent.
    pub(super) fn sides(&mut self, arg: &'static str) -> Result<[&'a str; 2]> {
        let Some(value) = self.take(arg) else { return Ok(["L", "R"]) };
        let is_tag = |text: &str| !text.is_empty() && !text.contains(['\t', '\n']);
        match value.as_array().map(Vec::as_slice) {
            Some([Value::String(left), Value::String(right)])
                if left != right && is_tag(left) && is_tag(right) =>
            {
                Ok([left, right])
            }
            _ => Err(self.wrong(arg, "a list of two different tags without TAB", value)),
        }
    }

    pub(super) fn flag(&mut self, arg: &'static str) -> Result<bool> {
        match self.take(arg) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => Err(self.wrong(arg, "true or false", other)),
        }
    }

    pub(super) fn number(&mut self, arg: &'static str, default: u64) -> Result<u64> {
        match self.take(arg) {
            None => Ok(default),
            Some(value) => value.as_u64().ok_or_else(|| self.wrong(arg, "a whole number", value)),
        }
    }

    pub(super) fn regex(&mut self, arg: &'static str) -> Result<Option<Regex>> {
        let Some(pattern) = self.text(arg)? else { return Ok(None) };
        Regex::new(pattern).map(Some).map_err(|e| {
            // The library draws a picture of several lines; its last one says what is wrong.
            let reason = e.to_string();
            let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            Error::usage(format!(
                "argument `{arg}` of builtin `{}` is not a valid regex: {reason}: `{pattern}`",
                self.name
            ))
        })
    }

    pub(super) fn needed_regex(&mut self, arg: &'static str) -> Result<Regex> {
        self.regex(arg)?
            .ok_or_else(|| Error::usage(format!("builtin `{}` needs the argument `{arg}`", self.name)))
    }

    /// All arguments must have been looked up: those that are left are unknown.
    pub(super) fn end(self) -> Result<()> {
        match self.left.keys().next() {
            None => Ok(()),
            Some(arg) if self.known.is_empty() => {
                Err(Error::usage(format!("builtin `{}` takes no arguments, not `{arg}`", self.name)))
            }
            Some(arg) => Err(Error::usage(format!(
                "builtin `{}` has no argument `{arg}`: it has {}",
                self.name,
                self.known.join(", ")
            ))),
        }
    }
}
