//! A command's output: lines of `key TAB value`.

use crate::error::Result;
use crate::function::process::Take;
use crate::function::{Emit, Pair, emit_each};

/// Emits the lines of an output. A line without a TAB is a key with an empty value.
pub(super) struct Lines<'a>(pub(super) &'a mut dyn Emit);

impl Take for Lines<'_> {
    fn take(&mut self, bytes: &[u8], end: bool) -> Result<usize> {
        let mut from = 0;
        let lines = memchr::memchr_iter(b'\n', bytes).map(|at| {
            let start = std::mem::replace(&mut from, at + 1);
            Ok(pair(&bytes[start..at]))
        });
        emit_each(lines, self.0)?;
        if end && from < bytes.len() {
            emit_each([Ok(pair(&bytes[from..]))], self.0)?;
            from = bytes.len();
        }
        Ok(from)
    }
}

#[inline]
fn pair(line: &[u8]) -> Pair<'_> {
    match memchr::memchr(b'\t', line) {
        Some(at) => (&line[..at], &line[at + 1..]),
        None => (line, b""),
    }
}

#[cfg(test)]
mod tests {
    use super::{Lines, Take as _};
    use crate::error::Result;
    use crate::function::Emit;

    #[derive(Default)]
    struct Pairs(Vec<String>);

    impl Emit for Pairs {
        fn emit(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
            self.0.push(format!("{}={}", key.escape_ascii(), value.escape_ascii()));
            Ok(())
        }
    }

    #[test]
    fn the_first_tab_ends_the_key_and_a_line_without_one_is_a_key() {
        let mut pairs = Pairs::default();
        let taken = Lines(&mut pairs).take(b"a\tb\tc\nd\n\n\te\nf\tg", false).unwrap();
        assert_eq!(taken, b"a\tb\tc\nd\n\n\te\n".len());
        assert_eq!(pairs.0, ["a=b\\tc", "d=", "=", "=e"]);
    }

    #[test]
    fn the_last_line_needs_no_newline() {
        let mut pairs = Pairs::default();
        assert_eq!(Lines(&mut pairs).take(b"a\tb\nc\td", true).unwrap(), 7);
        assert_eq!(Lines(&mut pairs).take(b"", true).unwrap(), 0);
        assert_eq!(pairs.0, ["a=b", "c=d"]);
    }
}
