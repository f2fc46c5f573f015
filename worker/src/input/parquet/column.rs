//! The values of a column with their levels, a batch at a time.

use std::sync::atomic::Ordering;

use parquet::column::reader::{ColumnReader, ColumnReaderImpl, get_typed_column_reader};
use parquet::data_type::{
    BoolType, ByteArrayType, DataType, DoubleType, FixedLenByteArrayType, FloatType, Int32Type, Int64Type,
    Int96Type,
};
use parquet::errors::Result;

use super::pages::PageLevels;

/// Rows of a batch, as long as they aren't many values each.
const BATCH_ROWS: usize = 1024;
/// About the most bytes of a batch.
const BATCH_BYTES: usize = 1 << 20;
/// About the most values of a batch.
const BATCH_VALUES: usize = 16 << 10;

/// A column, at one of its values.
pub(super) struct Column {
    values: ColumnBatch,
    defs: Vec<i16>,
    reps: Vec<i16>,
    max_def: i16,
    max_rep: i16,
    /// Which of the batch's levels it is at, and which of its values: there are none for nulls.
    at: usize,
    value_at: usize,
    /// Levels of the batch; 0 after the last one.
    levels: usize,
    rows: usize,
    /// Rows of a batch at most.
    most_rows: usize,
    /// How many levels a page has that is gone to, and how many of the current one are still to be read, where those are
    /// rows.
    page: PageLevels,
    left_in_page: usize,
    /// Whether more was asked for than there is.
    is_short: bool,
}

/// Values as they are stored.
pub(super) enum ColumnBatch {
    Bool(Batch<BoolType>),
    Int32(Batch<Int32Type>),
    Int64(Batch<Int64Type>),
    Int96(Batch<Int96Type>),
    Float(Batch<FloatType>),
    Double(Batch<DoubleType>),
    Bytes(Batch<ByteArrayType>),
    Fixed(Batch<FixedLenByteArrayType>),
}

pub(super) struct Batch<T: DataType> {
    reader: ColumnReaderImpl<T>,
    values: Vec<T::T>,
}

impl<T: DataType> Batch<T> {
    fn new(reader: ColumnReader) -> Self {
        Self { reader: get_typed_column_reader(reader), values: Vec::new() }
    }

    /// Reads the values of some rows: how many levels and values there were.
    fn read(&mut self, rows: usize, defs: &mut Vec<i16>, reps: &mut Vec<i16>) -> Result<(usize, usize)> {
        self.values.clear();
        defs.clear();
        reps.clear();
        loop {
            let (read, values, levels) =
                self.reader.read_records(rows, Some(&mut *defs), Some(&mut *reps), &mut self.values)?;
            if levels > 0 || values > 0 || read == 0 {
                return Ok((levels, values));
            }
        }
    }

    pub(super) fn get(&self, at: usize) -> Option<&T::T> {
        self.values.get(at)
    }
}

impl Column {
    /// A column at its first value. A row of it has about so many bytes, and its pages say how many levels they have.
    pub(super) fn new(
        reader: ColumnReader,
        max_def: i16,
        max_rep: i16,
        row_bytes: usize,
        page: PageLevels,
    ) -> Result<Self> {
        let most_rows = (BATCH_BYTES / row_bytes.max(1)).clamp(1, BATCH_ROWS);
        let values = match &reader {
            ColumnReader::BoolColumnReader(_) => ColumnBatch::Bool(Batch::new(reader)),
            ColumnReader::Int32ColumnReader(_) => ColumnBatch::Int32(Batch::new(reader)),
            ColumnReader::Int64ColumnReader(_) => ColumnBatch::Int64(Batch::new(reader)),
            ColumnReader::Int96ColumnReader(_) => ColumnBatch::Int96(Batch::new(reader)),
            ColumnReader::FloatColumnReader(_) => ColumnBatch::Float(Batch::new(reader)),
            ColumnReader::DoubleColumnReader(_) => ColumnBatch::Double(Batch::new(reader)),
            ColumnReader::ByteArrayColumnReader(_) => ColumnBatch::Bytes(Batch::new(reader)),
            ColumnReader::FixedLenByteArrayColumnReader(_) => ColumnBatch::Fixed(Batch::new(reader)),
        };
        let mut column = Self {
            values,
            defs: Vec::new(),
            reps: Vec::new(),
            max_def,
            max_rep,
            at: 0,
            value_at: 0,
            levels: 0,
            rows: if max_rep > 0 { most_rows.div_ceil(32) } else { most_rows },
            most_rows,
            page,
            left_in_page: 0,
            is_short: false,
        };
        column.fill()?;
        Ok(column)
    }

    fn fill(&mut self) -> Result<()> {
        // Values keep their page in memory: only those of one are asked for at once, or the first of the next one.
        let rows = if self.max_rep == 0 { self.rows.min(self.left_in_page.max(1)) } else { self.rows };
        let (defs, reps) = (&mut self.defs, &mut self.reps);
        let (levels, values) = match &mut self.values {
            ColumnBatch::Bool(batch) => batch.read(rows, defs, reps),
            ColumnBatch::Int32(batch) => batch.read(rows, defs, reps),
            ColumnBatch::Int64(batch) => batch.read(rows, defs, reps),
            ColumnBatch::Int96(batch) => batch.read(rows, defs, reps),
            ColumnBatch::Float(batch) => batch.read(rows, defs, reps),
            ColumnBatch::Double(batch) => batch.read(rows, defs, reps),
            ColumnBatch::Bytes(batch) => batch.read(rows, defs, reps),
            ColumnBatch::Fixed(batch) => batch.read(rows, defs, reps),
        }?;
        let there = match self.page.swap(0, Ordering::Relaxed) {
            0 => self.left_in_page,
            new => new,
        };
        self.left_in_page = there.saturating_sub(rows);
        (self.at, self.value_at) = (0, 0);
        // Without levels each value is one.
        self.levels = if self.max_def == 0 { values } else { levels.min(self.defs.len()) };
        if self.max_rep > 0 {
            self.levels = self.levels.min(self.reps.len());
            self.rows = (BATCH_VALUES * rows / self.levels.max(1)).clamp(1, self.most_rows);
        }
        Ok(())
    }

    /// Whether there is no value any more.
    pub(super) fn is_at_end(&self) -> bool {
        self.levels == 0
    }

    /// Whether it is at the first value of a row, or at its end, and was never asked for more than it has.
    pub(super) fn is_between_rows(&self) -> bool {
        !self.is_short && self.rep() == 0
    }

    pub(super) fn def(&self) -> i16 {
        if self.max_def == 0 { 0 } else { self.defs.get(self.at).copied().unwrap_or_default() }
    }

    pub(super) fn rep(&self) -> i16 {
        if self.max_rep == 0 { 0 } else { self.reps.get(self.at).copied().unwrap_or_default() }
    }

    /// The values, and which of them it is at.
    pub(super) fn value(&self) -> (&ColumnBatch, usize) {
        (&self.values, self.value_at)
    }

    /// Goes to the next value.
    pub(super) fn advance(&mut self) -> Result<()> {
        if self.is_at_end() {
            self.is_short = true;
            return Ok(());
        }
        if self.max_def == 0 || self.def() == self.max_def {
            self.value_at += 1;
        }
        self.at += 1;
        if self.at == self.levels { self.fill() } else { Ok(()) }
    }
}
