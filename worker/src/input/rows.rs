//! Rows of a table as JSON objects: what Csv and Parquet input is cut into.

use std::sync::Arc;

use super::large::without_large;
use crate::record::json::push_string;
use crate::record::lines::{Lines, SLACK};
use crate::record::row::Row;

/// Rows one after the other.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) text: Vec<u8>,
    pub(super) rows: Vec<Row>,
}

impl Rows {
    pub(super) fn clear(&mut self) {
        self.text = without_large(std::mem::take(&mut self.text));
        self.text.clear();
        self.rows.clear();
    }

    /// What there is, where there are rows.
    pub(super) fn chunk(&mut self) -> Option<(Lines<'_>, &[Row])> {
        if self.rows.is_empty() {
            return None;
        }
        let bytes = self.text.len();
        self.text.resize(bytes + SLACK, 0);
        Some((Lines { bytes: &self.text[..bytes], padded: &self.text, offset: 0 }, &self.rows))
    }
}

/// The columns of a table.
#[derive(Debug)]
pub(super) struct Columns {
    names: Vec<Arc<str>>,
    /// `{"first":`, `,"second":` …
    before: Vec<Vec<u8>>,
}

impl Columns {
    /// Columns by name; an error names one that is there twice.
    pub(super) fn new(names: Vec<Arc<str>>) -> Result<Self, String> {
        let mut sorted: Vec<&Arc<str>> = names.iter().collect();
        sorted.sort_unstable();
        if let Some([twice, _]) = sorted.array_windows().find(|[one, next]| one == next) {
            return Err(format!("column `{twice}` is there twice"));
        }
        let before = names.iter().enumerate().map(|(i, name)| {
            let mut text = vec![if i == 0 { b'{' } else { b',' }];
            push_string(&mut text, name);
            text.push(b':');
            text
        });
        Ok(Self { before: before.collect(), names })
    }

    /// The columns `1`, `2`, …
    pub(super) fn numbered(count: usize) -> Self {
        let names = (1..=count).map(|i| Arc::from(i.to_string())).collect();
        Self::new(names).unwrap_or_else(|_| Self { names: Vec::new(), before: Vec::new() })
    }

    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    pub(super) fn position(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|known| **known == *name)
    }

    pub(super) fn name(&self, i: usize) -> &str {
        &self.names[i]
    }

    /// The names, for a message.
    pub(super) fn shown(&self) -> String {
        self.names.join(", ")
    }

    /// Begins column `i` of a row.
    pub(super) fn begin(&self, i: usize, text: &mut Vec<u8>) {
        text.extend_from_slice(&self.before[i]);
    }
}
