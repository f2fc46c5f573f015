//! A fast way to the groups of most matches.
//!
//! A pattern such as `^\S+ - \[([^\]]*)\] "(?:GET|POST) (\S+)` needs no automaton: the path that a
//! backtracking matcher tries first (a run as long as it can be, the first branch that begins here)
//! is the right one for nearly every record. Where that path leads to the end, it is the match, by
//! the definition of leftmost-first. Where it doesn't, or meets bytes whose class it can't tell
//! without decoding them, the answer is [`Found::Unsure`], and the regex itself decides.

mod compile;

use memchr::memmem::Finder;
use regex::bytes::Regex;
use regex_syntax::hir::{HirKind, Look};

use self::compile::compile_all;

/// What a scan says of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The pattern matches, with the groups that the scan has.
    Match,
    /// The pattern doesn't match.
    Nothing,
    /// Ask the regex.
    Unsure,
}

/// A compiled pattern and the groups of its last match.
#[derive(Clone, Debug)]
pub(super) struct Scan {
    steps: Vec<ScanStep>,
    /// Where a match may begin, but for the start of the text.
    prefix: Option<Finder<'static>>,
    /// Start and end of each group.
    slots: Vec<usize>,
    /// Texts since the scan last showed whether it is worth its while, and how many were found.
    tries: u32,
    found: u32,
}

/// Texts after which a scan that finds less than half of them is given up.
const TRIAL: u32 = 1 << 10;

#[derive(Clone, Debug)]
enum ScanStep {
    Literal(Box<[u8]>),
    /// As many bytes of a class as there are, up to `max`.
    Run {
        class: Box<ByteClass>,
        min: usize,
        max: usize,
    },
    /// As few bytes of a class as there are before a text.
    Until {
        class: Box<ByteClass>,
        min: usize,
        text: Box<[u8]>,
    },
    /// The position goes into a slot.
    Mark(usize),
    /// The end of the text.
    End,
    /// The first branch that can begin here.
    Branches(Vec<Vec<Self>>),
    /// These steps if they can begin here.
    Optional(Vec<Self>),
}

/// Whether a byte is in a class: `IN`, `OUT`, or `UNSURE` for one of several bytes of a character.
type ByteClass = [u8; 256];
const OUT: u8 = 0;
const IN: u8 = 1;
const UNSURE: u8 = 2;

const UNSET: usize = usize::MAX;

impl Scan {
    /// None for a pattern that this way does not suit.
    pub(super) fn new(pattern: &Regex) -> Option<Self> {
        let hir = regex_syntax::ParserBuilder::new().utf8(false).build().parse(pattern.as_str()).ok()?;
        let parts = match hir.kind() {
            HirKind::Concat(parts) => &parts[..],
            _ => std::slice::from_ref(&hir),
        };
        let (anchored, parts) = match parts {
            [first, rest @ ..] if *first.kind() == HirKind::Look(Look::Start) => (true, rest),
            _ => (false, parts),
        };
        let mut steps = Vec::new();
        compile_all(parts, &mut steps)?;
        // What may be empty at the end changes no group.
        while let Some(ScanStep::Run { min: 0, .. }) = steps.last() {
            steps.pop();
        }
        let first = steps.iter().find(|step| !matches!(step, ScanStep::Mark(_)));
        let prefix = match first {
            _ if anchored => None,
            Some(ScanStep::Literal(text)) => Some(Finder::new(text).into_owned()),
            _ => None,
        };
        Some(Self { steps, prefix, slots: vec![UNSET; 2 * pattern.captures_len()], tries: 0, found: 0 })
    }

    /// Whether the regex had to be asked so often that asking it at once is faster: a run that takes
    /// what has to come after it, as in `(.*) x`, makes the first path fail at every text.
    pub(super) fn is_in_vain(&mut self) -> bool {
        if self.tries < TRIAL {
            return false;
        }
        let in_vain = self.found * 2 < self.tries;
        (self.tries, self.found) = (0, 0);
        in_vain
    }

    /// Looks for the first match.
    #[inline]
    pub(super) fn find(&mut self, text: &[u8]) -> Found {
        let found = self.look(text);
        self.tries += 1;
        self.found += u32::from(found != Found::Unsure);
        found
    }

    #[inline]
    fn look(&mut self, text: &[u8]) -> Found {
        self.slots.fill(UNSET);
        let start = match &self.prefix {
            None => 0,
            Some(prefix) => match prefix.find(text) {
                Some(at) => at,
                None => return Found::Nothing,
            },
        };
        match walk(&self.steps, text, start, &mut self.slots) {
            Some(_) => Found::Match,
            None => Found::Unsure,
        }
    }

    /// A group of the last match, empty where it took no part.
    #[inline]
    pub(super) fn group<'a>(&self, text: &'a [u8], number: usize) -> &'a [u8] {
        let (from, to) = (self.slots[2 * number], self.slots[2 * number + 1]);
        if to == UNSET { b"" } else { &text[from..to] }
    }
}

/// Takes the steps from `at` on; where they end. None where the first path ends before.
fn walk(steps: &[ScanStep], text: &[u8], mut at: usize, slots: &mut [usize]) -> Option<usize> {
    for step in steps {
        match step {
            ScanStep::Literal(literal) => {
                if !text[at..].starts_with(literal) {
                    return None;
                }
                at += literal.len();
            }
            ScanStep::Run { class, min, max } => {
                let most = text.len().min(at.saturating_add(*max));
                let length = text[at..most].iter().position(|&byte| class[usize::from(byte)] != IN);
                let end = length.map_or(most, |length| at + length);
                if end < most && class[usize::from(text[end])] == UNSURE || end - at < *min {
                    return None;
                }
                at = end;
            }
            ScanStep::Until { class, min, text: literal } => {
                let from = at;
                while at - from < *min || !text[at..].starts_with(literal) {
                    if class[usize::from(*text.get(at)?)] != IN {
                        return None;
                    }
                    at += 1;
                }
            }
            ScanStep::Mark(slot) => slots[*slot] = at,
            ScanStep::End => {
                if at < text.len() {
                    return None;
                }
            }
            ScanStep::Branches(branches) => {
                let mut taken = None;
                for branch in branches {
                    if begins(branch, text, at)? {
                        taken = Some(walk(branch, text, at, slots)?);
                        break;
                    }
                }
                at = taken?;
            }
            ScanStep::Optional(steps) => {
                if begins(steps, text, at)? {
                    at = walk(steps, text, at, slots)?;
                }
            }
        }
    }
    Some(at)
}

/// Whether steps can begin at `at`. None where only the regex can tell.
fn begins(steps: &[ScanStep], text: &[u8], at: usize) -> Option<bool> {
    for step in steps {
        match step {
            ScanStep::Mark(_) => {}
            ScanStep::Literal(literal) => return Some(text[at..].starts_with(literal)),
            ScanStep::Run { min: 0, .. } => return Some(true),
            ScanStep::Run { class, .. } => {
                let Some(&byte) = text.get(at) else { return Some(false) };
                return match class[usize::from(byte)] {
                    UNSURE => None,
                    inside => Some(inside == IN),
                };
            }
            ScanStep::Until { .. } | ScanStep::End | ScanStep::Branches(_) | ScanStep::Optional(_) => {
                return None;
            }
        }
    }
    Some(true)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use regex::bytes::Regex;

    use super::{Found, Scan};

    const PATTERNS: [&str; 16] = [
        r#"^(\S+) \S+ \[([^\]]+)\] "(?:GET|POST|PUT) ([^ ?"]*)[^"]*" (\d{3}) (\d+|-)"#,
        r#""(GET|HEAD|POST) (?P<path>[^ ?]+)"#,
        r"^([ab]*)-(?:(\d+)|x)$",
        r"(a+)b?c",
        r"^(?:(\d+) )?(\w+)",
        r"a(.*?)bc",
        r"^([^,]*),([^,]*),",
        r"(?-u)^([^ ]+) (.*)",
        r"x{2,3}(y)",
        r"^(a?)(b?)(c?)",
        r"([0-9]+)\.([0-9]+)?",
        r"(?:a|ab)(c|bcd)",
        r"^a(\s*)$",
        r"(?i)^get ([a-z]+)",
        r"(b|)a",
        r"^(.*)b",
    ];

    /// What the regex says, with the scan's answer checked against it.
    fn check(pattern: &str, text: &[u8]) -> Found {
        let regex = Regex::new(pattern).unwrap();
        let Some(mut scan) = Scan::new(&regex) else { return Found::Unsure };
        let found = scan.find(text);
        let captures = regex.captures(text);
        match found {
            Found::Match => {
                let captures = captures.unwrap_or_else(|| panic!("{pattern} has no match in {text:?}"));
                for i in 1..captures.len() {
                    let expected = captures.get(i).map_or(&b""[..], |group| group.as_bytes());
                    assert_eq!(scan.group(text, i), expected, "group {i} of {pattern} in {text:?}");
                }
            }
            Found::Nothing => assert!(captures.is_none(), "{pattern} matches {text:?}"),
            Found::Unsure => {}
        }
        found
    }

    #[test]
    fn the_patterns_of_logs_are_scanned() {
        let line = br#"10.0.0.1 - [01/Oct/2026:00:00:02 +0000] "GET /a/b?c=1 HTTP/1.1" 200 13289 "-" "x""#;
        for pattern in &PATTERNS[..2] {
            assert_eq!(check(pattern, line), Found::Match, "{pattern}");
        }
        let sizes = r#"^\S+ \S+ \S+ \[[^\]]*\] "\S+ ([^ ?]*)[^"]*" (\d+) (?:(?<bytes>\d+)|-)"#;
        let line = br#"10.0.0.1 - - [01/Oct/2026:00:00:02 +0000] "GET /a/b?c=1 HTTP/1.1" 200 13289 "-" "x""#;
        assert_eq!(check(sizes, line), Found::Match);
        assert_eq!(check(PATTERNS[1], b"no request"), Found::Nothing);
        assert_eq!(check(PATTERNS[4], "1 é".as_bytes()), Found::Unsure, "not ASCII: the regex decides");
        assert_eq!(check(r"^\w+", "é".as_bytes()), Found::Unsure);
    }

    #[test]
    fn a_pattern_that_this_way_does_not_suit_is_left_to_the_regex() {
        for pattern in [r"(?:ab)+", r"\bx", r"(a*)*", r"(?m)^x", r"a??b"] {
            assert!(Scan::new(&Regex::new(pattern).unwrap()).is_none(), "{pattern}");
        }
        let mut scan = Scan::new(&Regex::new(r"^(.*) x").unwrap()).unwrap();
        for (text, in_vain) in [("a y", true), ("a\n", true)] {
            (0..1024).for_each(|_| assert_eq!(scan.find(text.as_bytes()), Found::Unsure));
            assert_eq!(scan.is_in_vain(), in_vain);
        }
        let mut scan = Scan::new(&Regex::new(r"^(\d*) x").unwrap()).unwrap();
        for i in 0..2000 {
            scan.find(if i % 3 == 0 { b"y" } else { b"1 x" });
        }
        assert!(!scan.is_in_vain());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn a_match_is_the_one_of_the_regex(i in 0..PATTERNS.len(), text in "[abcdxy0-9 ,.\"é-]{0,12}") {
            check(PATTERNS[i], text.as_bytes());
        }

        #[test]
        fn a_match_of_any_pattern_is_the_one_of_the_regex(
            pattern in "\\^?((\\(a*|\\(\\?:b|\\([ab]|\\(c\\?)([ab]*\\??|\\|c|\\?|\\+)\\)(\\?|)|[abc](\\?|\\*|\\+|\\*\\?|)|\\[ab\\](\\+|\\*|\\{1,2\\})){1,4}\\$?",
            texts in proptest::collection::vec("[abc]{0,6}", 8),
        ) {
            if Regex::new(&pattern).is_ok() {
                for text in texts {
                    check(&pattern, text.as_bytes());
                }
            }
        }
    }
}
