//! Decimals as JSON numbers, with all digits of their scale.

use std::io::Write as _;

/// Writes a whole number with a point before the last `scale` digits.
pub(super) fn push(out: &mut Vec<u8>, number: i128, scale: usize) {
    if number < 0 {
        out.push(b'-');
    }
    push_digits(out, number.unsigned_abs().to_string().as_bytes(), scale);
}

/// Writes a number of any size, its bytes as two's complement from the highest on.
pub(super) fn push_bytes(out: &mut Vec<u8>, bytes: &[u8], scale: usize) {
    let is_negative = bytes.first().is_some_and(|first| *first >= 0x80);
    let fill = if is_negative { 0xff } else { 0 };
    if let Some(few) = bytes.len().checked_sub(16).map_or(Some(bytes), |more| {
        let (high, low) = bytes.split_at(more);
        let fits = high.iter().all(|byte| *byte == fill) && (low[0] >= 0x80) == is_negative;
        fits.then_some(low)
    }) {
        let mut whole = [fill; 16];
        whole[16 - few.len()..].copy_from_slice(few);
        return push(out, i128::from_be_bytes(whole), scale);
    }
    if is_negative {
        out.push(b'-');
    }
    push_digits(out, &digits(magnitude(bytes, is_negative)), scale);
}

/// The number without its sign, in base 2³² from the lowest digit on.
fn magnitude(bytes: &[u8], is_negative: bool) -> Vec<u32> {
    let mut carry = is_negative;
    let low_first = bytes.rchunks(4).map(|chunk| {
        let fill = if is_negative { 0xff } else { 0 };
        let mut limb = [fill; 4];
        limb[4 - chunk.len()..].copy_from_slice(chunk);
        let limb = u32::from_be_bytes(limb);
        if !is_negative {
            return limb;
        }
        let (limb, overflows) = (!limb).overflowing_add(u32::from(carry));
        carry = overflows;
        limb
    });
    low_first.collect()
}

/// The decimal digits of a number in base 2³².
fn digits(mut limbs: Vec<u32>) -> Vec<u8> {
    const BILLION: u64 = 1_000_000_000;
    let mut groups = Vec::new();
    while limbs.last().is_some() {
        let mut rest = 0;
        for limb in limbs.iter_mut().rev() {
            let number = rest << 32 | u64::from(*limb);
            *limb = (number / BILLION) as u32;
            rest = number % BILLION;
        }
        groups.push(rest);
        while limbs.last() == Some(&0) {
            limbs.pop();
        }
    }
    let mut text = Vec::new();
    for group in groups.iter().rev() {
        // Writing to a vector can't fail.
        let _ = write!(text, "{group:09}");
    }
    let zeros = text.iter().take_while(|digit| **digit == b'0').count();
    text.drain(..zeros.min(text.len().saturating_sub(1)));
    text
}

fn push_digits(out: &mut Vec<u8>, digits: &[u8], scale: usize) {
    match digits.len().checked_sub(scale) {
        Some(point) if point > 0 => {
            out.extend_from_slice(&digits[..point]);
            if scale > 0 {
                out.push(b'.');
                out.extend_from_slice(&digits[point..]);
            }
        }
        _ => {
            out.extend_from_slice(b"0.");
            out.extend(std::iter::repeat_n(b'0', scale - digits.len()));
            out.extend_from_slice(digits);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{digits, magnitude, push, push_bytes};

    fn text(number: i128, scale: usize) -> String {
        let mut out = Vec::new();
        push(&mut out, number, scale);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_decimal_is_a_json_number_with_its_scale() {
        for (number, scale, expected) in [
            (12, 0, "12"),
            (-1230, 2, "-12.30"),
            (0, 0, "0"),
            (0, 3, "0.000"),
            (7, 2, "0.07"),
            (-7, 1, "-0.7"),
            (i128::MIN, 38, "-1.70141183460469231731687303715884105728"),
        ] {
            assert_eq!(text(number, scale), expected);
        }
        let mut out = Vec::new();
        // 2²⁵⁵ - 1 and its negative less one, as pyarrow's decimal256 has them at most.
        push_bytes(&mut out, &[&[0x7f][..], &[0xff; 31]].concat(), 0);
        out.push(b' ');
        push_bytes(&mut out, &[&[0x80][..], &[0; 31]].concat(), 10);
        let whole = "57896044618658097711785492504343953926634992332820282019728792003956564819967";
        let less = "5789604461865809771178549250434395392663499233282028201972879200395.6564819968";
        assert_eq!(String::from_utf8(out).unwrap(), format!("{whole} -{less}"));
    }

    proptest! {
        #[test]
        fn bytes_of_any_number_are_the_number(number in any::<i128>(), shift in 0u32..120, more in 0usize..9, scale in 0usize..50) {
            let number = number >> shift;
            let bytes = number.to_be_bytes();
            let fill = bytes[0] >> 7;
            let keep = bytes.windows(2).take_while(|two| two[0] == fill * 0xff && two[1] >> 7 == fill).count();
            let long = [&vec![fill * 0xff; more][..], &bytes].concat();
            let expected = text(number, scale);
            for bytes in [&bytes[keep..], &bytes, &long] {
                let mut out = Vec::new();
                push_bytes(&mut out, bytes, scale);
                prop_assert_eq!(std::str::from_utf8(&out).unwrap(), &expected);
                let slow = digits(magnitude(bytes, number < 0));
                prop_assert_eq!(String::from_utf8(slow).unwrap(), number.unsigned_abs().to_string());
            }
            let json = serde_json::from_str::<serde_json::Value>(&expected);
            prop_assert!(json.is_ok());
        }
    }
}
