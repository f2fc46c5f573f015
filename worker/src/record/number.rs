//! Numbers as text: exact integers to 128 bits, otherwise doubles whose sum is exact until it is
//! rounded once, so that it depends neither on order nor on how the values were cut into parts.
//!
//! Doubles are kept as a sum of parts that don't overlap (Shewchuk, *Adaptive Precision
//! Floating-Point Arithmetic*, 1997), and rounded half to even, as Python's `math.fsum` does.

use std::cmp::Ordering;
use std::io::Write as _;

use crate::error::{Error, Result, excerpt};

/// A value that is a number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// Digits with a sign or none.
    Integer(i128),
    /// With a point or an exponent.
    Double(f64),
}

impl Number {
    /// Reads decimal text, with spaces around it or not. None for a text that is not a number, an integer
    /// of more than 128 bits, or a double out of range.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = text.trim_ascii();
        let digits = match text {
            [b'-' | b'+', rest @ ..] => rest,
            _ => text,
        };
        if !digits.is_empty() && digits.len() <= 18 && digits.iter().all(u8::is_ascii_digit) {
            let n = digits.iter().fold(0i64, |n, digit| n * 10 + i64::from(digit - b'0'));
            return Some(Self::Integer(i128::from(if text[0] == b'-' { -n } else { n })));
        }
        if digits.iter().all(u8::is_ascii_digit) {
            return std::str::from_utf8(text).ok()?.parse().ok().map(Self::Integer);
        }
        // Rust's own parser takes "inf" and "nan" too: those are not decimal numbers.
        let decimal =
            digits.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'-' | b'+'));
        let number: f64 = if decimal { std::str::from_utf8(text).ok()?.parse().ok()? } else { return None };
        number.is_finite().then_some(Self::Double(number))
    }

    /// The number as a double, rounded where it must be.
    pub fn to_f64(self) -> f64 {
        match self {
            Self::Integer(n) => n as f64,
            Self::Double(n) => n,
        }
    }

    /// Compares by value, without rounding: 2⁵³ + 1 is more than 2⁵³ as a double.
    pub fn compare(self, other: Self) -> Ordering {
        match (self, other) {
            (Self::Integer(a), Self::Integer(b)) => a.cmp(&b),
            (Self::Double(a), Self::Double(b)) => compare_doubles(a, b),
            (Self::Integer(a), Self::Double(b)) => compare_mixed(a, b),
            (Self::Double(a), Self::Integer(b)) => compare_mixed(b, a).reverse(),
        }
    }
}

/// Neither is NaN, which no text stands for.
fn compare_doubles(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or(Ordering::Equal)
}

fn compare_mixed(a: i128, b: f64) -> Ordering {
    if b >= TWO_127 {
        return Ordering::Less;
    }
    if b < -TWO_127 {
        return Ordering::Greater;
    }
    a.cmp(&(b.trunc() as i128)).then_with(|| compare_doubles(0.0, b.fract()))
}

const TWO_64: f64 = 18_446_744_073_709_551_616.0;
const TWO_127: f64 = TWO_64 * TWO_64 / 2.0;

/// A sum without rounding. It is an error only when the whole sum is out of range, so that whether
/// there is one does not depend on the order either.
#[derive(Clone, Debug, Default)]
pub struct ExactSum {
    /// The integers' sum is `integer + carries · 2¹²⁸`.
    integer: i128,
    carries: i64,
    doubles: bool,
    /// Parts that don't overlap, smallest first.
    parts: Vec<f64>,
    /// The same for doubles from [`HUGE`] on, by 2⁶⁴ smaller: a few of them could add up to infinity.
    huge: Vec<f64>,
}

/// 2⁹⁶⁰
const HUGE: f64 = f64::from_bits((960 + 1023) << 52);

impl ExactSum {
    /// Adds a number.
    pub fn add(&mut self, number: Number) {
        match number {
            Number::Integer(n) => {
                let (sum, overflow) = self.integer.overflowing_add(n);
                self.integer = sum;
                if overflow {
                    self.carries += n.signum() as i64;
                }
            }
            Number::Double(n) => {
                self.doubles = true;
                if n.abs() < HUGE {
                    add_part(&mut self.parts, n);
                } else {
                    add_part(&mut self.huge, n / TWO_64);
                }
            }
        }
    }

    /// The sum as text.
    pub fn text(&self, out: &mut Vec<u8>) -> Result<()> {
        out.clear();
        if self.doubles {
            push_f64(out, self.to_f64()?);
        } else if self.carries == 0 {
            let _ = write!(out, "{}", self.integer);
        } else {
            return Err(Error::permanent("integers add up to more than 128 bits"));
        }
        Ok(())
    }

    /// The sum as a double, rounded once.
    pub fn to_f64(&self) -> Result<f64> {
        let mut parts = self.parts.clone();
        let mut add = |x: f64| {
            if x.is_finite() {
                add_part(&mut parts, x);
            }
        };
        // 43 bits at a time, an integer is a sum of doubles.
        let mut left = self.integer.unsigned_abs();
        let mut unit = if self.integer < 0 { -1.0 } else { 1.0 };
        while left > 0 {
            add(unit * (left & ((1 << 43) - 1)) as f64);
            left >>= 43;
            unit *= (1u64 << 43) as f64;
        }
        add((self.carries >> 32) as f64 * (1u64 << 32) as f64 * TWO_64 * TWO_64);
        add((self.carries & 0xffff_ffff) as f64 * TWO_64 * TWO_64);
        self.huge.iter().for_each(|part| add(part * TWO_64));
        let sum = round(&parts);
        if sum.is_finite() && self.huge.iter().all(|part| (part * TWO_64).is_finite()) {
            return Ok(sum);
        }
        Err(Error::permanent("doubles add up to more than a double can be"))
    }

    /// The sum as texts whose own sum is exactly this one: the values that a combiner emits.
    pub fn each_text(&self, text: &mut Vec<u8>, mut emit: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut say = |what: std::fmt::Arguments<'_>| {
            text.clear();
            let _ = text.write_fmt(what);
            emit(text)
        };
        let mut whole = Self { integer: self.integer, carries: self.carries, ..Self::default() };
        while whole.carries != 0 {
            let step = if whole.carries > 0 { i128::MAX } else { -i128::MAX };
            say(format_args!("{step}"))?;
            whole.add(Number::Integer(-step));
        }
        if whole.integer != 0 || !self.doubles {
            say(format_args!("{}", whole.integer))?;
        }
        if self.doubles {
            // The exponent tells a double from an integer: 6e0.
            let none = self.parts.is_empty() && self.huge.is_empty();
            for part in if none { &[0.0] } else { &self.parts[..] } {
                say(format_args!("{part:e}"))?;
            }
            for part in &self.huge {
                let (mut piece, mut times) = (*part, 1);
                while !(piece * TWO_64).is_finite() {
                    (piece, times) = (piece / 2.0, times * 2);
                }
                for _ in 0..times {
                    say(format_args!("{:e}", piece * TWO_64))?;
                }
            }
        }
        Ok(())
    }
}

fn add_part(parts: &mut Vec<f64>, mut x: f64) {
    let mut kept = 0;
    for i in 0..parts.len() {
        let mut y = parts[i];
        if x.abs() < y.abs() {
            std::mem::swap(&mut x, &mut y);
        }
        let high = x + y;
        let low = y - (high - x);
        if low != 0.0 {
            parts[kept] = low;
            kept += 1;
        }
        x = high;
    }
    parts.truncate(kept);
    if x != 0.0 {
        parts.push(x);
    }
}

#[allow(clippy::float_cmp, reason = "whether a rounding error is exactly zero is the question")]
fn round(parts: &[f64]) -> f64 {
    let mut rest = parts.iter().rev().copied();
    let Some(mut high) = rest.next() else { return 0.0 };
    let mut low = 0.0;
    for y in rest.by_ref() {
        let x = high;
        high = x + y;
        low = y - (high - x);
        if low != 0.0 {
            break;
        }
    }
    // Halfway cases are decided by the next part's sign.
    if let Some(next) = rest.next()
        && ((low < 0.0 && next < 0.0) || (low > 0.0 && next > 0.0))
    {
        let y = low * 2.0;
        let x = high + y;
        if y == x - high {
            high = x;
        }
    }
    high
}

/// Appends a double as ECMAScript writes it: `6`, `0.1`, `1e+21`.
pub fn push_f64(out: &mut Vec<u8>, n: f64) {
    out.extend_from_slice(ryu_js::Buffer::new().format(n).as_bytes());
}

/// The error for a value that had to be a number.
pub(crate) fn not_a_number(key: &[u8], value: &[u8]) -> Error {
    bad_value(key, value, "is not a number")
}

/// The error for a value that a function doesn't take.
pub(crate) fn bad_value(key: &[u8], value: &[u8], why: &str) -> Error {
    Error::permanent(format!("`{}`, a value of key `{}`, {why}", excerpt(value), excerpt(key)))
}

/// Appends a number as decimal text.
pub fn push_i64(out: &mut Vec<u8>, n: i64) {
    let mut digits = [0; 20];
    let (mut at, mut left) = (digits.len(), n.unsigned_abs());
    loop {
        at -= 1;
        digits[at] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    if n < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{ExactSum, Number, push_f64};

    fn sum(values: &[&str]) -> String {
        sum_or_error(values).unwrap()
    }

    fn sum_or_error(values: &[&str]) -> Result<String, String> {
        let mut sum = ExactSum::default();
        for value in values {
            sum.add(Number::parse(value.as_bytes()).unwrap());
        }
        let mut text = Vec::new();
        sum.text(&mut text).map_err(|error| error.to_string())?;
        Ok(String::from_utf8(text).unwrap())
    }

    #[test]
    fn integers_are_exact_to_128_bits_and_an_error_beyond() {
        let most = i128::MAX.to_string();
        assert_eq!(sum(&[" 1 ", "-3", "+2"]), "0");
        assert_eq!(sum(&[&most, "-1"]), (i128::MAX - 1).to_string());
        let mut over = ExactSum::default();
        for n in [&most[..], "1"] {
            over.add(Number::parse(n.as_bytes()).unwrap());
        }
        assert!(over.text(&mut Vec::new()).is_err());
        assert_eq!(sum(&[&most, "1", "-2"]), (i128::MAX - 1).to_string(), "whatever the order");
        assert_eq!(sum(&[&most, &most, "2", "0.0"]), "3.402823669209385e+38");
        assert_eq!(Number::parse(b"170141183460469231731687303715884105728"), None);
    }

    #[test]
    fn doubles_are_added_without_rounding_in_between() {
        assert_eq!(sum(&["0.1"; 10]), "1");
        assert_eq!(sum(&["1e100", "1", "-1e100"]), "1");
        assert_eq!(sum(&["2.5", "3.5"]), "6");
        assert_eq!(sum(&["9007199254740993", "0.0"]), "9007199254740992");
        assert_eq!(sum(&["1e308", "1e308", "-1e308", "-1e308", "3.5"]), "3.5");
        let mut over = ExactSum::default();
        for n in ["1e308", "1e308"] {
            over.add(Number::parse(n.as_bytes()).unwrap());
        }
        assert!(over.text(&mut Vec::new()).unwrap_err().to_string().contains("more than a double"));
    }

    #[test]
    fn numbers_compare_without_rounding() {
        let ascending = [
            "-1e300",
            "-170141183460469231731687303715884105728",
            "-2.5",
            "-2",
            "-0.5",
            "0",
            "0.5",
            "1",
            "9007199254740992.0",
            "9007199254740993",
            "170141183460469231731687303715884105727",
            "170141183460469231731687303715884105728.0",
            "1e300",
        ]
        .map(|text| Number::parse(text.as_bytes()).unwrap());
        for (i, a) in ascending.iter().enumerate() {
            for (j, b) in ascending.iter().enumerate() {
                assert_eq!(a.compare(*b), i.cmp(&j), "{a:?} {b:?}");
            }
        }
        assert_eq!(Number::Double(-0.0).compare(Number::Integer(0)), std::cmp::Ordering::Equal);
    }

    #[test]
    fn a_text_that_is_no_decimal_number_is_none() {
        for text in ["", " ", "-", "x", "nan", "inf", "1e999", "0x10", "1 2", "1,5", "--1", "."] {
            assert_eq!(Number::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn doubles_are_written_as_ecmascript_writes_them() {
        for (n, text) in [(6.0, "6"), (0.1, "0.1"), (1e21, "1e+21"), (-0.0, "0"), (1e-7, "1e-7")] {
            let mut out = Vec::new();
            push_f64(&mut out, n);
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }

    proptest! {
        #[test]
        fn the_sum_of_sums_is_the_sum_whatever_the_cut_and_the_order(
            mut values in proptest::collection::vec(
                prop_oneof![
                    (-1e18f64..1e18).prop_map(|x| format!("{x:e}")),
                    any::<i64>().prop_map(|n| n.to_string()),
                    any::<i128>().prop_map(|n| n.to_string()),
                    (-8e307f64..8e307).prop_map(|x| format!("{x:e}")),
                ],
                1..30),
            cut in 0usize..30,
        ) {
            let whole = sum_or_error(&values.iter().map(String::as_str).collect::<Vec<_>>());
            values.reverse();
            let cut = cut.min(values.len());
            let mut parts: Vec<String> = Vec::new();
            for half in [&values[..cut], &values[cut..]] {
                let mut sum = ExactSum::default();
                for value in half {
                    sum.add(Number::parse(value.as_bytes()).unwrap());
                }
                sum.each_text(&mut Vec::new(), |text| {
                    parts.push(String::from_utf8(text.to_vec()).unwrap());
                    Ok(())
                }).unwrap();
            }
            prop_assert_eq!(sum_or_error(&parts.iter().map(String::as_str).collect::<Vec<_>>()), whole);
        }
    }
}
