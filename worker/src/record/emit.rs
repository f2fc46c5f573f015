//! What pairs are emitted into.

use crate::error::Result;
use crate::scratch::ScratchBytes;

/// A key and a value.
pub type Pair<'a> = (&'a [u8], &'a [u8]);

/// Takes pairs.
pub trait Emit {
    /// Takes a pair.
    fn emit(&mut self, key: &[u8], value: &[u8]) -> Result<()>;

    /// Takes pairs.
    fn emit_all(&mut self, pairs: &[Pair<'_>]) -> Result<()> {
        pairs.iter().try_for_each(|(key, value)| self.emit(key, value))
    }

    /// Takes a pair whose value is not in memory, and perhaps has not to be.
    fn emit_large(&mut self, key: &[u8], value: &ScratchBytes) -> Result<()> {
        gather(self, key, value)
    }
}

/// Emits pairs as they come, some at a time: what takes them may have to wait for memory, and waits once.
pub(crate) fn emit_each<'a>(
    pairs: impl IntoIterator<Item = Result<Pair<'a>>>,
    out: &mut dyn Emit,
) -> Result<()> {
    let (mut batch, mut count) = ([Pair::default(); 32], 0);
    for pair in pairs {
        batch[count] = pair?;
        count += 1;
        if count == batch.len() {
            out.emit_all(&batch)?;
            count = 0;
        }
    }
    out.emit_all(&batch[..count])
}

/// Emits a pair of a value that is brought into memory.
pub fn gather<E: Emit + ?Sized>(out: &mut E, key: &[u8], value: &ScratchBytes) -> Result<()> {
    let mut whole = Vec::with_capacity(usize::try_from(value.len()).unwrap_or(0));
    value.each_piece(&mut |piece| {
        whole.extend_from_slice(piece);
        Ok(())
    })?;
    out.emit(key, &whole)
}
