//! Values of columns as JSON: numbers as numbers (decimals exactly), dates and times as ISO 8601
//! writes them, in UTC; what is no number in a double, and what isn't there, is `null`.

use std::io::Write as _;

use parquet::record::{Field, Row};

use crate::record::json::push_string;
use crate::record::number::push_f64;

type Result = std::result::Result<(), String>;

/// Appends a value; an error for bytes that are no text.
pub(super) fn push(out: &mut Vec<u8>, field: &Field) -> Result {
    match field {
        Field::Bool(value) => write(out, value),
        Field::Byte(value) => write(out, value),
        Field::Short(value) => write(out, value),
        Field::Int(value) => write(out, value),
        Field::Long(value) => write(out, value),
        Field::UByte(value) => write(out, value),
        Field::UShort(value) => write(out, value),
        Field::UInt(value) => write(out, value),
        Field::ULong(value) => write(out, value),
        Field::Float16(value) => push_double(out, f64::from(f32::from(*value))),
        Field::Float(value) if value.is_finite() => write(out, value),
        Field::Null | Field::Float(_) => out.extend_from_slice(b"null"),
        Field::Double(value) => push_double(out, *value),
        // The library's own text: digits and a point.
        Field::Decimal(_) => write(out, field),
        Field::Str(text) => push_string(out, text),
        Field::Bytes(bytes) => match std::str::from_utf8(bytes.data()) {
            Ok(text) => push_string(out, text),
            Err(_) => return Err("bytes that are no UTF-8: leave it out by parquet.columns".into()),
        },
        Field::Date(days) => quoted(out, |out| push_date(out, i64::from(*days))),
        Field::TimeMillis(millis) => quoted(out, |out| push_time(out, i64::from(*millis) * 1000)),
        Field::TimeMicros(micros) => quoted(out, |out| push_time(out, *micros)),
        Field::TimestampMillis(millis) => push_timestamp(out, i128::from(*millis) * 1000),
        Field::TimestampMicros(micros) => push_timestamp(out, i128::from(*micros)),
        Field::Group(row) => return push_group(out, row),
        Field::ListInternal(list) => {
            out.push(b'[');
            for (i, element) in list.elements().iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                push(out, element)?;
            }
            out.push(b']');
        }
        Field::MapInternal(map) => {
            out.push(b'{');
            for (i, (key, value)) in map.entries().iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                match key {
                    Field::Str(name) => push_string(out, name),
                    other => {
                        let mut name = Vec::new();
                        push(&mut name, other)?;
                        push_string(out, &String::from_utf8_lossy(&name));
                    }
                }
                out.push(b':');
                push(out, value)?;
            }
            out.push(b'}');
        }
    }
    Ok(())
}

fn push_group(out: &mut Vec<u8>, row: &Row) -> Result {
    out.push(b'{');
    for (i, (name, field)) in row.get_column_iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        push_string(out, name);
        out.push(b':');
        push(out, field)?;
    }
    out.push(b'}');
    Ok(())
}

fn write(out: &mut Vec<u8>, value: impl std::fmt::Display) {
    // Writing to a vector can't fail.
    let _ = write!(out, "{value}");
}

fn push_double(out: &mut Vec<u8>, value: f64) {
    if value.is_finite() { push_f64(out, value) } else { out.extend_from_slice(b"null") }
}

fn quoted(out: &mut Vec<u8>, text: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'"');
    text(out);
    out.push(b'"');
}

const MICROS_A_DAY: i128 = 86_400_000_000;

fn push_timestamp(out: &mut Vec<u8>, micros: i128) {
    quoted(out, |out| {
        push_date(out, micros.div_euclid(MICROS_A_DAY) as i64);
        out.push(b'T');
        push_time(out, micros.rem_euclid(MICROS_A_DAY) as i64);
        out.push(b'Z');
    });
}

/// `hh:mm:ss`, and the fraction where there is one.
fn push_time(out: &mut Vec<u8>, micros: i64) {
    let (seconds, fraction) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
    let _ = write!(out, "{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    if fraction % 1000 > 0 {
        let _ = write!(out, ".{fraction:06}");
    } else if fraction > 0 {
        let _ = write!(out, ".{:03}", fraction / 1000);
    }
}

/// The date that is a number of days after 1 January 1970, in the Gregorian calendar.
fn push_date(out: &mut Vec<u8>, days: i64) {
    // Years begin in March, so that a leap day is the last of its year; 400 of them have 146,097 days.
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day = days.rem_euclid(146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + i64::from(month <= 2);
    let _ = write!(out, "{year:04}-{month:02}-{day:02}");
}

#[cfg(test)]
mod tests {
    use parquet::data_type::Decimal;
    use parquet::record::Field;

    use super::push;

    #[test]
    fn a_value_is_the_json_that_one_expects() {
        for (field, json) in [
            (Field::Null, "null"),
            (Field::Long(i64::MAX), "9223372036854775807"),
            (Field::Float(0.1), "0.1"),
            (Field::Double(1e21), "1e+21"),
            (Field::Double(f64::NAN), "null"),
            (Field::Decimal(Decimal::from_i64(-1230, 9, 2)), "-12.30"),
            (Field::Str("a\"é".into()), "\"a\\\"é\""),
            (Field::Date(0), "\"1970-01-01\""),
            (Field::Date(-1), "\"1969-12-31\""),
            (Field::Date(11_016), "\"2000-02-29\""),
            (Field::Date(20_787), "\"2026-11-30\""),
            (Field::TimeMillis(3_723_004), "\"01:02:03.004\""),
            (Field::TimestampMillis(1_790_812_802_000), "\"2026-10-01T00:00:02Z\""),
            (Field::TimestampMicros(-1), "\"1969-12-31T23:59:59.999999Z\""),
        ] {
            let mut out = Vec::new();
            push(&mut out, &field).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), json, "{field:?}");
        }
        assert!(push(&mut Vec::new(), &Field::Bytes(vec![0xff].into())).is_err());
    }
}
