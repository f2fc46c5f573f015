//! Functions that go on without bad records: `spec.skipBadRecords`.

use crate::error::{Error, Result};
use crate::record::chunk::Chunk;
use crate::record::functions::at_record;
use crate::record::skipped::{Skipping, shown};
use crate::record::{Emit, MapOutput, Mapper, Reducer, Values};

/// Maps the records of a chunk one by one, and leaves out those that are bad. Says how many there were.
pub fn map_careful<O: MapOutput>(
    function: &mut dyn Mapper<O>,
    chunk: &Chunk<'_>,
    skipping: &Skipping,
    out: &mut O,
) -> Result<u64> {
    let mut count = 0;
    chunk.each_or_bad(|found| {
        let record = match found {
            Ok(record) => record,
            Err(bad) => return skipping.leave_out(&bad.error, bad.text),
        };
        count += 1;
        let Err(mut error) = function.map(&record, out) else { return Ok(()) };
        if function.complains_at_once() {
            error = at_record(error, chunk, record.offset);
        }
        if error.is_bad_record() {
            skipping.leave_out_record(&error, record.key, record.value)
        } else {
            Err(error)
        }
    })?;
    Ok(count)
}

/// A reduce or combine function whose bad values are left out.
pub(super) struct SkippingReducer {
    inner: Box<dyn Reducer>,
    skipping: Skipping,
}

impl SkippingReducer {
    /// The function as it is, where bad values are errors.
    pub(super) fn wrap(inner: Box<dyn Reducer>, skipping: Option<&Skipping>) -> Box<dyn Reducer> {
        match skipping {
            Some(skipping) => Box::new(Self { inner, skipping: skipping.clone() }),
            None => inner,
        }
    }
}

impl Reducer for SkippingReducer {
    fn reduce(&mut self, key: &[u8], values: &mut dyn Values, out: &mut dyn Emit) -> Result<()> {
        let mut values = GoodValues { values, last: Vec::new(), skipping: &self.skipping };
        self.inner.reduce(key, &mut values, out)
    }

    fn finish(&mut self, out: &mut dyn Emit) -> Result<()> {
        self.inner.finish(out)
    }
}

/// Values of which the last may turn out to be bad.
struct GoodValues<'a> {
    values: &'a mut dyn Values,
    /// As much of the last one as is shown.
    last: Vec<u8>,
    skipping: &'a Skipping,
}

impl Values for GoodValues<'_> {
    fn next(&mut self) -> Result<Option<&[u8]>> {
        let Self { values, last, .. } = self;
        let Some(value) = values.next()? else { return Ok(None) };
        last.clear();
        last.extend_from_slice(shown(value));
        Ok(Some(value))
    }

    fn bad(&mut self, error: Error) -> Result<()> {
        self.skipping.leave_out(&error, &self.last)
    }
}
