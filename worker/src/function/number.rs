//! Numbers as text: exact integers to 128 bits, otherwise doubles whose sum is exact until it is
//! rounded once, so that it depends neither on order nor on how the values were cut into parts.
//!
//! Doubles are kept as a sum of parts that don't overlap (Shewchuk, *Adaptive Precision
//! Floating-Point Arithmetic*, 1997), and rounded half to even, as Python's `math.fsum` does.

use std::io::Write as _;

use crate::error::{Error, Result};

/// A value that is a number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// Digits with a sign or none.
    Integer(i128),
    /// With a point or an exponent.
    Double(f64),
}

impl Number {
    /// Reads decimal text, with spaces around it or not. None for a text that is no number, an integer
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
        // Rust's own parser takes "inf" and "nan" too: those are no decimal numbers.
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
}

/// A sum without rounding.
#[derive(Clone, Debug, Default)]
pub struct ExactSum {
    integer: i128,
    overflow: bool,
    doubles: bool,
    /// Parts that don't overlap, smallest first.
    parts: Vec<f64>,
}

impl ExactSum {
    /// Adds a number.
    pub fn add(&mut self, number: Number) {
        match number {
            Number::Integer(n) => match self.integer.checked_add(n) {
                Some(sum) => self.integer = sum,
                None => self.overflow = true,
            },
            Number::Double(n) => {
                self.doubles = true;
                add_part(&mut self.parts, n);
            }
        }
    }

    /// The sum as text.
    pub fn text(&self, out: &mut Vec<u8>) -> Result<()> {
        out.clear();
        if self.overflow {
            return Err(Error::permanent("integers add up to more than 128 bits"));
        }
        if self.doubles {
            push_f64(out, self.to_f64());
        } else {
            let _ = write!(out, "{}", self.integer);
        }
        Ok(())
    }

    /// The sum as a double, rounded once.
    pub fn to_f64(&self) -> f64 {
        let mut parts = self.parts.clone();
        // 43 bits at a time, an integer is a sum of doubles.
        let mut left = self.integer.unsigned_abs();
        let sign = if self.integer < 0 { -1.0 } else { 1.0 };
        let mut unit = 1.0;
        while left > 0 {
            add_part(&mut parts, sign * unit * (left & ((1 << 43) - 1)) as f64);
            left >>= 43;
            unit *= (1u64 << 43) as f64;
        }
        round(&parts)
    }

    /// The sum as texts whose own sum is exactly this one: the values that a combiner emits.
    pub fn each_text(&self, text: &mut Vec<u8>, mut emit: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        if self.overflow {
            return Err(Error::permanent("integers add up to more than 128 bits"));
        }
        if self.integer != 0 || !self.doubles {
            text.clear();
            let _ = write!(text, "{}", self.integer);
            emit(text)?;
        }
        if self.doubles {
            // The exponent tells a double from an integer: 6e0.
            for part in if self.parts.is_empty() { &[0.0] } else { &self.parts[..] } {
                text.clear();
                let _ = write!(text, "{part:e}");
                emit(text)?;
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{ExactSum, Number, push_f64};

    fn sum(values: &[&str]) -> String {
        let mut sum = ExactSum::default();
        values.iter().for_each(|value| sum.add(Number::parse(value.as_bytes()).unwrap()));
        let mut text = Vec::new();
        sum.text(&mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn integers_are_exact_to_128_bits_and_an_error_beyond() {
        let most = i128::MAX.to_string();
        assert_eq!(sum(&[" 1 ", "-3", "+2"]), "0");
        assert_eq!(sum(&[&most, "-1"]), (i128::MAX - 1).to_string());
        let mut over = ExactSum::default();
        [&most[..], "1"].iter().for_each(|n| over.add(Number::parse(n.as_bytes()).unwrap()));
        assert!(over.text(&mut Vec::new()).is_err());
        assert_eq!(Number::parse(b"170141183460469231731687303715884105728"), None);
    }

    #[test]
    fn doubles_are_added_without_rounding_in_between() {
        assert_eq!(sum(&["0.1"; 10]), "1");
        assert_eq!(sum(&["1e100", "1", "-1e100"]), "1");
        assert_eq!(sum(&["2.5", "3.5"]), "6");
        assert_eq!(sum(&["9007199254740993", "0.0"]), "9007199254740992");
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
                prop_oneof![(-1e18f64..1e18).prop_map(|x| format!("{x:e}")), any::<i64>().prop_map(|n| n.to_string())], 1..30),
            cut in 0usize..30,
        ) {
            let whole = sum(&values.iter().map(String::as_str).collect::<Vec<_>>());
            values.reverse();
            let cut = cut.min(values.len());
            let mut parts: Vec<String> = Vec::new();
            for half in [&values[..cut], &values[cut..]] {
                let mut sum = ExactSum::default();
                half.iter().for_each(|value| sum.add(Number::parse(value.as_bytes()).unwrap()));
                sum.each_text(&mut Vec::new(), |text| {
                    parts.push(String::from_utf8(text.to_vec()).unwrap());
                    Ok(())
                }).unwrap();
            }
            prop_assert_eq!(sum(&parts.iter().map(String::as_str).collect::<Vec<_>>()), whole);
        }
    }
}
