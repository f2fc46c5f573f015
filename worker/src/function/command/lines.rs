//! A command's output: lines of `key TAB value`.

use crate::error::Result;
use crate::function::process::Take;
use crate::record::emit::emit_each;
use crate::record::{Emit, Pair};

/// Emits the lines of an output. A line without a TAB is a key with an empty value.
pub(super) struct OutputLines<'a>(pub(super) &'a mut dyn Emit);

impl Take for OutputLines<'_> {
    fn take(&mut self, bytes: &[u8], seen: usize, end: bool) -> Result<usize> {
        let mut from = 0;
        // What was left is the beginning of a line: to look through it again each time would make a long line slow.
        let lines = memchr::memchr_iter(b'\n', &bytes[seen..]).map(|at| {
            let end = seen + at;
            let start = std::mem::replace(&mut from, end + 1);
            Ok(pair(&bytes[start..end]))
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
    use super::{OutputLines, Take as _};
    use crate::error::Result;
    use crate::record::Emit;

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
        let taken = OutputLines(&mut pairs).take(b"a\tb\tc\nd\n\n\te\nf\tg", 0, false).unwrap();
        assert_eq!(taken, b"a\tb\tc\nd\n\n\te\n".len());
        assert_eq!(pairs.0, ["a=b\\tc", "d=", "=", "=e"]);
    }

    #[test]
    fn the_last_line_needs_no_newline() {
        let mut pairs = Pairs::default();
        assert_eq!(OutputLines(&mut pairs).take(b"a\tb\nc\td", 0, true).unwrap(), 7);
        assert_eq!(OutputLines(&mut pairs).take(b"", 0, true).unwrap(), 0);
        assert_eq!(pairs.0, ["a=b", "c=d"]);
    }

    #[test]
    fn a_line_that_comes_in_pieces_is_one() {
        let mut pairs = Pairs::default();
        let mut lines = OutputLines(&mut pairs);
        assert_eq!(lines.take(b"a\tlo", 0, false).unwrap(), 0);
        assert_eq!(lines.take(b"a\tlong line\nb", 4, false).unwrap(), 12);
        assert_eq!(lines.take(b"b", 1, true).unwrap(), 1);
        assert_eq!(pairs.0, ["a=long line", "b="]);
    }
}
