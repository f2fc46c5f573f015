//! The documents of a file, and the one among them that is the job.
//!
//! ```text
//!  # a comment ┐
//!  kind: …     ┴ a document       lines before it are left empty when it is read, so that an error
//!  ---         ┐                  names the line that the user sees
//!  kind: …     ┴ another
//! ```
//!
//! The file may be anybody's: its size, the number of its documents and what its aliases repeat have limits, a
//! key that stands twice is an error as it is for `kubectl`, and the time for all of it grows with its size.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};

use super::ManifestError;
use super::nesting::is_too_deep;
use crate::v1alpha1::KIND;

/// A longer file is not a manifest: the API server takes no request that is larger.
pub const MAX_BYTES: usize = 3 << 20;
const MAX_DOCUMENTS: usize = 1000;
/// What a document may take with its aliases followed: bytes of text, and so many for each value.
const MAX_EXPANDED: usize = 64 << 20;
const PER_VALUE: usize = 16;

/// What every object has.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Head {
    #[serde(default)]
    pub(super) api_version: String,
    #[serde(default)]
    pub(super) kind: String,
}

pub(super) fn syntax(error: &serde_yaml::Error) -> ManifestError {
    ManifestError::Syntax(error.to_string())
}

/// The document that is a `MapReduceJob`, or the only one there is.
pub fn document(text: &str) -> Result<Cow<'_, str>, ManifestError> {
    if text.len() > MAX_BYTES {
        return Err(ManifestError::TooLarge(MAX_BYTES));
    }
    let documents = split(text.strip_prefix('\u{feff}').unwrap_or(text));
    if documents.len() > MAX_DOCUMENTS {
        return Err(ManifestError::TooMany { documents: documents.len(), most: MAX_DOCUMENTS });
    }
    if is_too_deep(text) {
        return Err(ManifestError::TooDeep);
    }
    let mut jobs = Vec::new();
    for document in &documents {
        // Again with the lines before it, so that the error has the right one.
        let head = document.head().or_else(|_| Document { text: &document.padded(), line: 0 }.head())?;
        if head.kind == KIND {
            jobs.push(document);
        }
    }
    match (jobs.as_slice(), documents.as_slice()) {
        ([one], _) => Ok(one.padded()),
        ([], [first, ..]) => Ok(first.padded()),
        ([], []) => Err(ManifestError::Empty),
        (several, _) => Err(ManifestError::Several(several.len())),
    }
}

/// A document of a file.
struct Document<'a> {
    text: &'a str,
    /// Lines before it.
    line: usize,
}

impl<'a> Document<'a> {
    fn head(&self) -> Result<Head, ManifestError> {
        let mut room = MAX_EXPANDED;
        let value = serde_yaml::Deserializer::from_str(self.text);
        CountedAliases(&mut room).deserialize(value).map_err(|e| syntax(&e))?;
        serde_yaml::from_str(self.text).map_err(|e| syntax(&e))
    }

    fn padded(&self) -> Cow<'a, str> {
        if self.line == 0 {
            return Cow::Borrowed(self.text);
        }
        Cow::Owned("\n".repeat(self.line) + self.text)
    }
}

/// Cuts a file where documents begin, and leaves out those that hold nothing.
fn split(text: &str) -> Vec<Document<'_>> {
    let (mut documents, mut from, mut first_line, mut at) = (Vec::new(), 0, 0, 0);
    let mut end = |from: usize, to: usize, line: usize| {
        if text[from..to].lines().any(|line| !is_nothing(line)) {
            documents.push(Document { text: &text[from..to], line });
        }
    };
    for (number, line) in text.split_inclusive('\n').enumerate() {
        if is_mark(line) {
            end(from, at, first_line);
            (from, first_line) = (at, number);
        }
        at += line.len();
    }
    end(from, at, first_line);
    documents
}

fn is_mark(line: &str) -> bool {
    line.strip_prefix("---").is_some_and(|rest| rest.chars().next().is_none_or(char::is_whitespace))
}

/// Whether a line holds no more than a mark, a comment or a directive such as `%YAML 1.2`.
fn is_nothing(line: &str) -> bool {
    let text = if is_mark(line) { &line[3..] } else { line };
    text.trim().is_empty() || text.trim_start().starts_with('#') || line.starts_with('%')
}

/// Looks at every value of a document, its aliases followed, as long as there is room, and at every key.
struct CountedAliases<'a>(&'a mut usize);

impl CountedAliases<'_> {
    fn take<E: serde::de::Error>(&mut self, bytes: usize) -> Result<(), E> {
        *self.0 = self.0.checked_sub(PER_VALUE + bytes).ok_or_else(|| {
            E::custom(format!("its aliases make it larger than {} MiB", MAX_EXPANDED >> 20))
        })?;
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for CountedAliases<'_> {
    type Value = String;

    fn deserialize<D: serde::Deserializer<'de>>(self, value: D) -> Result<String, D::Error> {
        value.deserialize_any(self)
    }
}

/// Gives the text of a scalar, for keys.
impl<'de> Visitor<'de> for CountedAliases<'_> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value without a tag")
    }

    fn visit_bool<E: serde::de::Error>(mut self, value: bool) -> Result<String, E> {
        self.take(0).map(|()| value.to_string())
    }

    fn visit_i64<E: serde::de::Error>(mut self, value: i64) -> Result<String, E> {
        self.take(0).map(|()| value.to_string())
    }

    fn visit_u64<E: serde::de::Error>(mut self, value: u64) -> Result<String, E> {
        self.take(0).map(|()| value.to_string())
    }

    fn visit_i128<E: serde::de::Error>(mut self, value: i128) -> Result<String, E> {
        self.take(0).map(|()| value.to_string())
    }

    fn visit_u128<E: serde::de::Error>(mut self, value: u128) -> Result<String, E> {
        self.take(0).map(|()| value.to_string())
    }

    fn visit_f64<E: serde::de::Error>(mut self, value: f64) -> Result<String, E> {
        self.take(0).map(|()| value.to_string())
    }

    fn visit_str<E: serde::de::Error>(mut self, value: &str) -> Result<String, E> {
        self.take(value.len()).map(|()| value.to_owned())
    }

    fn visit_unit<E: serde::de::Error>(mut self) -> Result<String, E> {
        self.take(0).map(|()| String::new())
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<String, E> {
        self.visit_unit()
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<String, A::Error> {
        self.take(0)?;
        while items.next_element_seed(CountedAliases(&mut *self.0))?.is_some() {}
        Ok(String::new())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut fields: A) -> Result<String, A::Error> {
        self.take(0)?;
        let mut seen = HashSet::new();
        while let Some(key) = fields.next_key_seed(CountedAliases(&mut *self.0))? {
            if let Some(twice) = seen.replace(key) {
                return Err(A::Error::custom(format!("duplicate field `{twice}`")));
            }
            fields.next_value_seed(CountedAliases(&mut *self.0))?;
        }
        Ok(String::new())
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_BYTES, document};
    use crate::manifest::Manifest;

    fn said(text: &str) -> String {
        let error = Manifest::parse(text).unwrap_err().to_string();
        assert!(!error.contains('\n'), "{error}");
        error
    }

    #[test]
    fn many_documents_are_read_in_time_that_grows_with_their_size() {
        // Looking back at all lines before each would take hours for these.
        let marks = "---\n".repeat(MAX_BYTES / 4);
        assert_eq!(said(&marks), "there is no document in it: write a MapReduceJob");
        let names = "--- {a: b}\n".repeat(MAX_BYTES / 11);
        assert!(said(&names).contains("documents, and at most 1000 are read"), "{}", said(&names));
        let names = "\n".repeat(1 << 20) + &"--- {a: b}\n".repeat(1000);
        assert!(said(&names).contains("is not a MapReduceJob"), "{}", said(&names));
        assert!(said(&"a\n".repeat(MAX_BYTES)).contains("larger than 3 MiB"));
    }

    #[test]
    fn what_aliases_repeat_has_a_limit() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let before = vec![format!("*a{}", level - 1); 9].join(", ");
            bomb += &format!("a{level}: &a{level} [{before}]\n");
        }
        assert!(said(&bomb).contains("limit") || said(&bomb).contains("aliases"), "{}", said(&bomb));
        let long = format!("a: &a '{}'\nb: [{}]\n", "x".repeat(1 << 20), ["*a"; 1000].join(", "));
        assert!(said(&long).contains("its aliases make it larger than 64 MiB"), "{}", said(&long));
    }

    #[test]
    fn nesting_has_a_limit() {
        for open in ["[", "{a: ", "[1, "] {
            assert_eq!(said(&open.repeat(MAX_BYTES / 2 / open.len())), "its brackets are nested too deep");
        }
        for open in ["- ", "? "] {
            assert!(!said(&open.repeat(10_000)).is_empty());
        }
    }

    #[test]
    fn a_key_that_stands_twice_is_refused_wherever_it_is() {
        for (text, line) in [
            ("a: {b: 1,\n b: 2}\n", "line"),
            ("a:\n  - b: 1\n    b: 2\n", "line"),
            ("x: y\n---\na:\n  b: 1\n  b: 2\n", "line"),
        ] {
            let error = said(text);
            assert!(error.contains("duplicate field `b`") && error.contains(line), "{error}");
        }
    }

    #[test]
    fn marks_comments_and_a_byte_order_mark_are_taken_as_yaml_has_them() {
        let job = "apiVersion: mapreduce.dev/v1alpha1\nkind: MapReduceJob\n";
        for text in [
            format!("\u{feff}{job}"),
            format!("\u{feff}---\n{job}"),
            format!("--- # the job\n{job}...\n"),
            format!("---\r\n{}", job.replace('\n', "\r\n")),
            format!("%YAML 1.1\n---\n{job}"),
            "--- {apiVersion: mapreduce.dev/v1alpha1, kind: MapReduceJob}\n--- # nothing\n".to_owned(),
        ] {
            let found = document(&text).unwrap();
            assert!(found.contains("MapReduceJob"), "{text}");
            assert!(said(&text).contains("missing field `metadata`"), "{text}: {}", said(&text));
        }
        for nothing in ["", "\n\n", "# no more\n", "---\n", "\u{feff}"] {
            assert_eq!(said(nothing), "there is no document in it: write a MapReduceJob");
        }
        for bad in ["a: b\0\n", "a:\n\tb: c\n", "a: !tag b\n", "a: *b\n", "- a\n", "text", "a: \u{1b}\n"] {
            assert!(!said(bad).is_empty());
        }
    }
}
