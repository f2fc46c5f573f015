//! How deep lists and maps in brackets are, before the parser sees them: it takes time with their depth for each
//! token that is in them.

/// Deeper than any manifest, and far from what takes time.
const MAX_DEPTH: usize = 200;

/// Whether brackets are deeper in each other than the parser is given. Block scalars, which scripts are, are passed over.
pub(super) fn is_too_deep(text: &str) -> bool {
    let mut depth = 0_usize;
    let mut scalar: Option<usize> = None;
    let mut quote = None;
    for line in text.split('\n') {
        let indent = line.len() - line.trim_start_matches(' ').len();
        if depth == 0 && quote.is_none() {
            if line.trim().is_empty() || scalar.is_some_and(|parent| indent > parent) {
                continue;
            }
            scalar = block_scalar(line);
        }
        if walk(line.as_bytes(), &mut depth, &mut quote) {
            return true;
        }
    }
    false
}

/// Goes over the brackets of a line. Says whether they are too deep.
fn walk(line: &[u8], depth: &mut usize, quote: &mut Option<u8>) -> bool {
    let (mut before, mut escaped) = (b' ', false);
    for &byte in line {
        match (*quote, byte) {
            (Some(_), _) if escaped => escaped = false,
            (Some(b'"'), b'\\') => escaped = true,
            (Some(open), _) if open == byte => *quote = None,
            (None, b'#') if before == b' ' || before == b'\t' => return false,
            (None, b'\'' | b'"') if b"[{,: \t-".contains(&before) => *quote = Some(byte),
            (None, b'[' | b'{') => {
                *depth += 1;
                if *depth > MAX_DEPTH {
                    return true;
                }
            }
            (None, b']' | b'}') => *depth = depth.saturating_sub(1),
            _ => {}
        }
        before = byte;
    }
    false
}

/// The column of what a line's block scalar belongs to, where it begins one: its text is indented more.
fn block_scalar(line: &str) -> Option<usize> {
    let end = line.split(" #").next().unwrap_or_default().trim_end();
    let head = end.trim_end_matches(|c: char| c == '+' || c == '-' || c.is_ascii_digit());
    let before = head.strip_suffix(['|', '>'])?;
    let (mut column, mut item, mut rest) = (0, None, before);
    loop {
        let spaces = rest.len() - rest.trim_start_matches(' ').len();
        (column, rest) = (column + spaces, &rest[spaces..]);
        match rest.strip_prefix("- ") {
            Some(behind) => (item, column, rest) = (Some(column), column + 2, behind),
            None if rest.is_empty() => return item,
            None => return rest.trim_end().ends_with([':', '-', '?']).then_some(column),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_DEPTH, is_too_deep};

    #[test]
    fn brackets_are_counted_where_they_are_brackets() {
        let many = "[".repeat(MAX_DEPTH + 1);
        for deep in [
            many.clone(),
            "{a: ".repeat(MAX_DEPTH + 1),
            "[1,\n".repeat(MAX_DEPTH + 1),
            "[']', ".repeat(MAX_DEPTH + 1),
            "[\"\\\"]\", ".repeat(MAX_DEPTH + 1),
            format!("- a: |\n    text\n  b: {many}"),
            format!("a: |\n  text\nb: {many}"),
            format!("a: it's\nb: {many}"),
            format!("- |\n text\n- {many}"),
        ] {
            assert!(is_too_deep(&deep), "{deep}");
        }
        for flat in [
            "[]".repeat(1000),
            format!("a: |\n  {many}\n\n  {many}\n"),
            format!("a:\n  b: >-\n    {many}\n  c: 1\n"),
            format!("- x: |2+ # a comment\n    {many}\n"),
            format!("a: '{many}'\nb: \"{many}\"\n"),
            format!("a: [ '{many}' ] # {many}\n"),
            "[".repeat(MAX_DEPTH),
        ] {
            assert!(!is_too_deep(&flat), "{flat}");
        }
    }
}
