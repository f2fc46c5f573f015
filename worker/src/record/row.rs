//! A row of a table, as a JSON object.

/// Where a row is in the bytes of its chunk.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// The number in the object, from 1 on.
    pub(crate) number: u64,
    /// Where in the object's content it begins.
    pub(crate) offset: u64,
    /// The key column's value.
    pub(crate) key: Option<(usize, usize)>,
    /// The JSON object.
    pub(crate) value: (usize, usize),
    /// Why it is a bad record.
    pub(crate) bad: Option<Box<str>>,
}
