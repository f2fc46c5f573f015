//! The order of keys within a partition: by bytes, or as `reduce.sort` says.
//!
//! A key that is not sorted by its bytes alone is written after a *sort key*, which makes the
//! bytes of both together sort as wanted. Everything below (prefixes, radix, merge) then only
//! compares bytes, and the key itself breaks ties:
//!
//! ```text
//!  stored key = part* key
//!  part       = text │ number, all bits turned over where the part is descending
//!  text       = bytes with 00 as 00 FF, then 00 00
//!  number     = 80 for 0, else  FF digits-before-the-point (u32, biased) decimal digits 00
//!                       or      00 …the same turned over, for a number below 0
//! ```
//!
//! Parts end themselves, so that the key is found again by reading over them.

use mapreduce_api::v1alpha1::{KeySort, SortBy, SortDirection};

use crate::error::{Error, Result};

/// How keys are sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyOrder {
    parts: Vec<SortField>,
    separator: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SortField {
    /// None: by bytes.
    numeric: Option<Numbers>,
    descending: bool,
    /// The whole key when absent.
    fields: Option<FieldRange>,
}

/// What is read as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Numbers {
    /// All that this program takes for one and writes: `+1`, `1e-7` too.
    Decimal,
    /// What GNU sort's `-n` reads.
    Gnu,
}

/// `1.2,3.4` of GNU sort: from the second byte of field 1 to the fourth of field 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FieldRange {
    first: Position,
    /// To the key's end when absent.
    last: Option<Position>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Position {
    field: usize,
    /// 0: the field's end, as the end of a range.
    byte: usize,
}

impl KeyOrder {
    /// What a manifest asks for. `separator` is what stands between a key's fields.
    pub fn new(sort: &KeySort, separator: &[u8]) -> Result<Self> {
        let descending = sort.order == SortDirection::Descending;
        let numeric = sort.by == SortBy::Numeric;
        let parts = match &sort.key_fields {
            Some(text) => parse_key_fields(text, numeric, descending)?,
            None if numeric || descending => {
                let numeric = numeric.then_some(Numbers::Decimal);
                vec![SortField { numeric, descending, fields: None }]
            }
            None => Vec::new(),
        };
        Ok(Self { parts, separator: separator.to_vec() })
    }

    /// Whether stored keys are the keys themselves.
    pub fn is_plain(&self) -> bool {
        self.parts.is_empty()
    }

    /// The stored form of a key.
    #[inline]
    pub fn encoded_key<'a>(&self, key: &'a [u8], scratch: &'a mut Vec<u8>) -> &'a [u8] {
        if self.is_plain() {
            return key;
        }
        scratch.clear();
        for part in &self.parts {
            let text = part.fields.map_or(key, |fields| fields.of(key, &self.separator));
            let from = scratch.len();
            match part.numeric {
                Some(numbers) => push_number(text, numbers, scratch),
                None => push_text(text, scratch),
            }
            if part.descending {
                scratch[from..].iter_mut().for_each(|byte| *byte = !*byte);
            }
        }
        scratch.extend_from_slice(key);
        scratch
    }

    /// The key of a stored form.
    #[inline]
    pub fn key<'a>(&self, stored: &'a [u8]) -> &'a [u8] {
        self.parts.iter().fold(stored, |rest, part| rest.get(part_len(rest, *part)..).unwrap_or_default())
    }
}

fn push_text(text: &[u8], out: &mut Vec<u8>) {
    for &byte in text {
        out.push(byte);
        if byte == 0 {
            out.push(0xff);
        }
    }
    out.extend_from_slice(&[0, 0]);
}

/// The sign, what is before the point and what after it: spaces, a minus, digits, a point, digits, and of
/// decimal numbers an exponent; anything else ends it, and without a digit it is 0.
fn push_number(text: &[u8], numbers: Numbers, out: &mut Vec<u8>) {
    let text = text.trim_ascii_start();
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] if numbers == Numbers::Decimal => (false, rest),
        _ => (false, text),
    };
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (whole, rest) = text.split_at(digits(text));
    let (fraction, rest) = match rest {
        [b'.', rest @ ..] => rest.split_at(digits(rest)),
        _ => (&b""[..], rest),
    };
    let exponent = if numbers == Numbers::Decimal { exponent(rest) } else { 0 };
    let whole = &whole[whole.iter().take_while(|&&byte| byte == b'0').count()..];
    let kept = fraction.iter().rposition(|&byte| byte != b'0').map_or(0, |at| at + 1);
    let fraction = &fraction[..kept];
    if whole.is_empty() && fraction.is_empty() {
        out.push(0x80);
        return;
    }
    let from = out.len();
    // Zeros after the point before the first digit make the magnitude smaller.
    let zeros = if whole.is_empty() { fraction.iter().take_while(|&&byte| byte == b'0').count() } else { 0 };
    let magnitude = (whole.len() as i64 - zeros as i64).saturating_add(exponent) + (1 << 31);
    let magnitude = magnitude.clamp(0, u32::MAX.into()) as u32;
    let significant = if fraction.is_empty() {
        &whole[..whole.iter().rposition(|&byte| byte != b'0').map_or(0, |at| at + 1)]
    } else {
        whole
    };
    out.push(0xff);
    out.extend_from_slice(&magnitude.to_be_bytes());
    out.extend_from_slice(significant);
    out.extend_from_slice(&fraction[zeros..]);
    out.push(0);
    if negative {
        out[from..].iter_mut().for_each(|byte| *byte = !*byte);
    }
}

/// The exponent of a number that goes on with `e-7`.
fn exponent(text: &[u8]) -> i64 {
    let [b'e' | b'E', text @ ..] = text else { return 0 };
    let (sign, text) = match text {
        [b'-', rest @ ..] => (-1, rest),
        [b'+', rest @ ..] => (1, rest),
        _ => (1, text),
    };
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit());
    // Larger ones are all the same: no number that can be added up has one.
    sign * digits.fold(0, |n, digit| (n * 10 + i64::from(digit - b'0')).min(1 << 30))
}

/// Bytes of the part that `stored` begins with.
fn part_len(stored: &[u8], part: SortField) -> usize {
    let turned = |byte: u8| if part.descending { !byte } else { byte };
    let Some(&first) = stored.first() else { return 0 };
    if part.numeric.is_none() {
        let mut at = 0;
        while at + 1 < stored.len() {
            match (turned(stored[at]), turned(stored[at + 1])) {
                (0, 0) => return at + 2,
                (0, _) => at += 2,
                _ => at += 1,
            }
        }
        return stored.len();
    }
    let end = match turned(first) {
        0x80 => return 1,
        0xff => 0,
        _ => 0xff,
    };
    let digits = stored.get(5..).unwrap_or_default();
    digits.iter().position(|&byte| turned(byte) == end).map_or(stored.len(), |at| 5 + at + 1)
}

impl FieldRange {
    /// The range's bytes; fields that there aren't are empty.
    fn of<'a>(&self, key: &'a [u8], separator: &[u8]) -> &'a [u8] {
        let from = self.first.start(key, separator);
        let to = self.last.map_or(key.len(), |last| last.end(key, separator));
        key.get(from..to.max(from)).unwrap_or_default()
    }
}

impl Position {
    fn field(self, key: &[u8], separator: &[u8]) -> std::ops::Range<usize> {
        let mut from = 0;
        for _ in 1..self.field {
            match memchr::memmem::find(&key[from..], separator) {
                Some(at) => from += at + separator.len(),
                None => return key.len()..key.len(),
            }
        }
        from..memchr::memmem::find(&key[from..], separator).map_or(key.len(), |at| from + at)
    }

    fn start(self, key: &[u8], separator: &[u8]) -> usize {
        let field = self.field(key, separator);
        (field.start + self.byte.max(1) - 1).min(key.len())
    }

    fn end(self, key: &[u8], separator: &[u8]) -> usize {
        let field = self.field(key, separator);
        // Past the field's end a position goes on, as in GNU sort.
        if self.byte == 0 { field.end } else { (field.start + self.byte).min(key.len()) }
    }
}

/// Reads `-k1,1 -k2,2nr`: positions as GNU sort writes them, with `n` and `r`.
fn parse_key_fields(text: &str, numeric: bool, descending: bool) -> Result<Vec<SortField>> {
    let bad = |what: &str| {
        Error::usage(format!(
            "spec.reduce.sort.keyFields: `{what}` is not a key of GNU sort: write as in -k1,1 -k2,2nr"
        ))
    };
    let mut parts = Vec::new();
    let mut words = text.split_whitespace();
    while let Some(word) = words.next() {
        let spec = match word.strip_prefix("-k") {
            Some("") => words.next().ok_or_else(|| bad(word))?,
            Some(spec) => spec,
            None => return Err(bad(word)),
        };
        let (first, last) = spec.split_once(',').map_or((spec, None), |(first, last)| (first, Some(last)));
        let (first, first_options) = position(first).ok_or_else(|| bad(spec))?;
        let (last, last_options) = match last {
            Some(last) => position(last).map(|(at, options)| (Some(at), options)).ok_or_else(|| bad(spec))?,
            None => (None, ""),
        };
        if first.byte == 0 && spec.contains('.') && spec.split(',').next().is_some_and(|s| s.contains('.')) {
            return Err(bad(spec));
        }
        let options = [first_options, last_options].concat();
        if options.chars().any(|option| !matches!(option, 'n' | 'r')) {
            return Err(bad(spec));
        }
        // A key's own options stand in the place of the general ones, as in GNU sort.
        let own = !options.is_empty();
        parts.push(SortField {
            numeric: if own { options.contains('n') } else { numeric }.then_some(Numbers::Gnu),
            descending: if own { options.contains('r') } else { descending },
            fields: Some(FieldRange { first, last }),
        });
    }
    if parts.is_empty() { Err(bad(text)) } else { Ok(parts) }
}

/// `2.3nr`: field 2, byte 3, and the options.
fn position(text: &str) -> Option<(Position, &str)> {
    let number = |text: &str| {
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        (text[..end].parse::<usize>().ok(), end)
    };
    let (field, end) = number(text);
    let field = field.filter(|field| *field > 0)?;
    let rest = &text[end..];
    match rest.strip_prefix('.') {
        Some(rest) => {
            let (byte, end) = number(rest);
            Some((Position { field, byte: byte? }, &rest[end..]))
        }
        None => Some((Position { field, byte: 0 }, rest)),
    }
}

#[cfg(test)]
mod tests {
    use mapreduce_api::v1alpha1::KeySort;
    use proptest::prelude::*;

    use super::KeyOrder;

    fn order(sort: serde_json::Value) -> KeyOrder {
        KeyOrder::new(&serde_json::from_value::<KeySort>(sort).unwrap(), b"\t").unwrap()
    }

    fn sorted<'a>(by: &KeyOrder, keys: &[&'a str]) -> Vec<&'a str> {
        let mut keys = keys.to_vec();
        keys.sort_by_cached_key(|key| by.encoded_key(key.as_bytes(), &mut Vec::new()).to_vec());
        keys
    }

    #[test]
    fn numbers_sort_by_value_and_what_is_none_is_zero() {
        let by = order(serde_json::json!({"by": "Numeric"}));
        let keys = [
            "10",
            "9",
            "-3",
            "0.05",
            "0.5",
            "-0.5",
            "x",
            "100",
            "1e+21",
            "1e-7",
            "-1E3",
            "2.5e1",
            "0e5",
            "99999999999999999999",
            "-20",
            "9.5",
            "1000",
        ];
        let expected = [
            "-1E3",
            "-20",
            "-3",
            "-0.5",
            "0e5",
            "x",
            "1e-7",
            "0.05",
            "0.5",
            "9",
            "9.5",
            "10",
            "2.5e1",
            "100",
            "1000",
            "99999999999999999999",
            "1e+21",
        ];
        assert_eq!(sorted(&by, &keys), expected);
    }

    #[test]
    fn key_fields_sort_as_gnu_sort_does() {
        let by = order(serde_json::json!({"keyFields": "-k1,1 -k2,2nr"}));
        assert_eq!(
            sorted(&by, &["b\t1", "a\t2", "a\t10", "b\t30", "a"]),
            ["a\t10", "a\t2", "a", "b\t30", "b\t1"]
        );
        let by = order(serde_json::json!({"keyFields": "-k 2.2,2.3"}));
        assert_eq!(sorted(&by, &["z\txab9", "y\tybb0", "x\tzaa5"]), ["x\tzaa5", "z\txab9", "y\tybb0"]);
        let by = order(serde_json::json!({"keyFields": "-k1.1,1.4r -k2,2"}));
        assert_eq!(
            sorted(&by, &["ab\tx", "ab\tz", "ab\ty"]),
            ["ab\tz", "ab\ty", "ab\tx"],
            "past the field's end"
        );
        let by = order(serde_json::json!({"keyFields": "-k1,1n"}));
        assert_eq!(sorted(&by, &["3", "+5", "1e9", "2"]), ["+5", "1e9", "2", "3"], "no `+`, no exponent");
    }

    #[test]
    fn what_gnu_sort_would_not_take_is_refused() {
        for text in ["", "1,1", "-k", "-k0", "-kx", "-k1,1z", "-k1.0"] {
            let sort = serde_json::from_value(serde_json::json!({"keyFields": text})).unwrap();
            assert!(KeyOrder::new(&sort, b"\t").is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_key_is_found_again_and_descending_is_the_reverse(
            mut keys in proptest::collection::vec(proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(9), Just(255), Just(254), b'0'..=b'9', Just(b'-'), Just(b'.')], 0..8), 1..20),
            numeric: bool,
        ) {
            let by = if numeric { "Numeric" } else { "Bytes" };
            let ascending = order(serde_json::json!({"by": by}));
            let descending = order(serde_json::json!({"by": by, "order": "Descending"}));
            let fields = order(serde_json::json!({"by": by, "keyFields": "-k1,1nr -k2,2r -k3"}));
            for key in &keys {
                for order in [&ascending, &descending, &fields] {
                    let mut scratch = Vec::new();
                    let stored = order.encoded_key(key, &mut scratch).to_vec();
                    prop_assert_eq!(order.key(&stored), &key[..]);
                }
            }
            if !numeric {
                keys.sort();
                keys.reverse();
                let mut again = keys.clone();
                again.sort_by_cached_key(|key| descending.encoded_key(key, &mut Vec::new()).to_vec());
                prop_assert_eq!(again, keys);
            }
        }
    }
}
