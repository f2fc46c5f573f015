//! `extract`: key and value made of the groups of a pattern.

use regex::bytes::{CaptureLocations, Regex};

use super::scan::{Found, Scan};
use crate::error::{Error, Result};
use crate::record::chunk::Record;
use crate::record::{MapOutput, Mapper};

/// Text with groups in it: `${1}`, `${name}`; `$$` is a `$`.
#[derive(Clone, Debug)]
pub(super) struct Template {
    parts: Vec<TemplatePart>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum TemplatePart {
    Text(Vec<u8>),
    Group(usize),
}

impl Template {
    pub(super) fn parse(arg: &str, template: &str, pattern: &Regex) -> Result<Self> {
        let mut parts = Vec::new();
        let mut text = String::new();
        let mut rest = template;
        while let Some(at) = rest.find('$') {
            text.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('$') {
                text.push('$');
                rest = after;
            } else if let Some(after) = rest.strip_prefix('{') {
                let Some((name, after)) = after.split_once('}') else {
                    return Err(wrong(arg, template, "has a `${` without a `}`; a `$` alone is `$$`"));
                };
                if !text.is_empty() {
                    parts.push(TemplatePart::Text(std::mem::take(&mut text).into_bytes()));
                }
                parts.push(TemplatePart::Group(group(arg, template, name, pattern)?));
                rest = after;
            } else {
                text.push('$');
            }
        }
        text.push_str(rest);
        if !text.is_empty() {
            parts.push(TemplatePart::Text(text.into_bytes()));
        }
        Ok(Self { parts })
    }

    fn needs(&self, group: usize) -> bool {
        self.parts.contains(&TemplatePart::Group(group))
    }

    /// The text. A group that did not take part in the match is empty.
    #[inline]
    fn fill<'a>(&self, joined: &'a mut Vec<u8>, group: impl Fn(usize) -> &'a [u8]) -> &'a [u8] {
        if let [TemplatePart::Group(only)] = self.parts[..] {
            return group(only);
        }
        joined.clear();
        for part in &self.parts {
            joined.extend_from_slice(match part {
                TemplatePart::Text(text) => text,
                TemplatePart::Group(number) => group(*number),
            });
        }
        joined
    }
}

fn group(arg: &str, template: &str, name: &str, pattern: &Regex) -> Result<usize> {
    let found = match name.parse::<usize>() {
        Ok(number) => Some(number).filter(|&number| number < pattern.captures_len()),
        Err(_) => pattern.capture_names().position(|known| known == Some(name)),
    };
    found.ok_or_else(|| {
        let names: Vec<_> = pattern.capture_names().flatten().collect();
        let mut groups = format!("it has {}", pattern.captures_len() - 1);
        if !names.is_empty() {
            groups = format!("{groups}, of them with names: {}", names.join(", "));
        }
        wrong(arg, template, &format!("needs a group `{name}` that the pattern hasn't: {groups}"))
    })
}

fn wrong(arg: &str, template: &str, why: &str) -> Error {
    Error::usage(format!("argument `{arg}` of builtin `extract`, `{template}`, {why}"))
}

/// Key and value from the first match of a pattern in a record.
#[derive(Clone, Debug)]
pub struct Extract {
    pattern: Regex,
    /// Finds most matches of most patterns, and faster.
    scan: Option<Scan>,
    key: Template,
    value: Template,
    /// Whether a record without a match is a bad one.
    strict: bool,
    locations: CaptureLocations,
    key_text: Vec<u8>,
    value_text: Vec<u8>,
}

impl Extract {
    pub(super) fn new(pattern: Regex, key: Template, value: Template, strict: bool) -> Self {
        // A scan ends where nothing more is asked for.
        let scan = if key.needs(0) || value.needs(0) { None } else { Scan::new(&pattern) };
        Self {
            locations: pattern.capture_locations(),
            pattern,
            scan,
            key,
            value,
            strict,
            key_text: Vec::new(),
            value_text: Vec::new(),
        }
    }

    fn mismatch(&self) -> Result<()> {
        if self.strict { Err(Error::permanent("the pattern of `extract` doesn't match")) } else { Ok(()) }
    }
}

impl<O: MapOutput> Mapper<O> for Extract {
    fn map(&mut self, record: &Record<'_>, out: &mut O) -> Result<()> {
        let line = record.value;
        let found = self.scan.as_mut().map_or(Found::Unsure, |scan| scan.find(line));
        if self.scan.as_mut().is_some_and(Scan::is_in_vain) {
            self.scan = None;
        }
        match (found, &self.scan) {
            (Found::Match, Some(scan)) => {
                let group = |number| scan.group(line, number);
                let key = self.key.fill(&mut self.key_text, group);
                out.emit(key, self.value.fill(&mut self.value_text, group))
            }
            (Found::Nothing, _) => self.mismatch(),
            _ => {
                if self.pattern.captures_read(&mut self.locations, line).is_none() {
                    return self.mismatch();
                }
                let group =
                    |number| self.locations.get(number).map_or(&b""[..], |(from, to)| &line[from..to]);
                let key = self.key.fill(&mut self.key_text, group);
                out.emit(key, self.value.fill(&mut self.value_text, group))
            }
        }
    }
}
