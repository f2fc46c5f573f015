//! Rows of columns as JSON: numbers as numbers, decimals exactly; dates and times as ISO 8601 writes them; bytes as
//! base64; what is not a number in a double, and what isn't there, is `null`.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use parquet::data_type::{ByteArray, Int96};
use parquet::errors::{ParquetError, Result};

use super::column::{Column, ColumnBatch};
use super::schema::{Node, NodeShape, ValueKind};
use super::{decimal, time};
use crate::record::json::push_string;
use crate::record::number::push_f64;

/// Most bytes of a decimal: the digits of more take time with the square of their number.
const MAX_DECIMAL: usize = 1 << 10;

/// Writes values of a row, and goes on to the next row's.
pub(super) struct RowWriter<'a> {
    pub(super) columns: &'a mut [Column],
    /// Why the row is a bad record, once that is known.
    pub(super) bad: Option<String>,
}

impl RowWriter<'_> {
    /// Appends what a node is in this row.
    pub(super) fn write(&mut self, node: &Node, out: &mut Vec<u8>) -> Result<()> {
        let first = node.columns.start;
        if self.columns[first].def() < node.def {
            out.extend_from_slice(b"null");
            return self.pass(node);
        }
        match &node.shape {
            NodeShape::Value(kind) => {
                if let Err(why) = push_value(out, *kind, &self.columns[first]) {
                    self.bad.get_or_insert(why);
                }
                self.columns[first].advance()
            }
            NodeShape::Struct(members) => {
                for (i, (name, member)) in members.iter().enumerate() {
                    out.push(if i == 0 { b'{' } else { b',' });
                    out.extend_from_slice(name);
                    self.write(member, out)?;
                }
                out.push(b'}');
                Ok(())
            }
            NodeShape::List(levels, element) => {
                out.push(b'[');
                if self.columns[first].def() < levels.def {
                    self.pass(node)?;
                } else {
                    self.write(element, out)?;
                    while self.columns[first].rep() >= levels.rep {
                        out.push(b',');
                        self.write(element, out)?;
                    }
                }
                out.push(b']');
                Ok(())
            }
            NodeShape::Map(levels, nodes) => {
                let [key, value] = &**nodes;
                out.push(b'{');
                if self.columns[first].def() < levels.def {
                    self.pass(node)?;
                } else {
                    self.write_entry(key, value, out)?;
                    while self.columns[first].rep() >= levels.rep {
                        out.push(b',');
                        self.write_entry(key, value, out)?;
                    }
                }
                out.push(b'}');
                Ok(())
            }
        }
    }

    fn write_entry(&mut self, key: &Node, value: &Node, out: &mut Vec<u8>) -> Result<()> {
        let start = out.len();
        self.write(key, out)?;
        // A name is a string, whatever the key is.
        if out.get(start) != Some(&b'"') {
            let name = out.split_off(start);
            push_text(out, &name);
        }
        out.push(b':');
        self.write(value, out)
    }

    /// Goes on where a node is not there, or empty.
    fn pass(&mut self, node: &Node) -> Result<()> {
        self.columns[node.columns.clone()].iter_mut().try_for_each(Column::advance)
    }
}

/// Appends a value; says why it is none. Something is appended in any case.
fn push_value(out: &mut Vec<u8>, kind: ValueKind, column: &Column) -> std::result::Result<(), String> {
    let (values, at) = column.value();
    match values {
        ColumnBatch::Bool(batch) => match batch.get(at) {
            Some(value) => write(out, value),
            None => out.extend_from_slice(b"null"),
        },
        ColumnBatch::Int32(batch) => match batch.get(at) {
            Some(value) if kind == ValueKind::Unsigned => write(out, *value as u32),
            Some(value) => return push_int(out, kind, i64::from(*value)),
            None => out.extend_from_slice(b"null"),
        },
        ColumnBatch::Int64(batch) => match batch.get(at) {
            Some(value) if kind == ValueKind::Unsigned => write(out, *value as u64),
            Some(value) => return push_int(out, kind, *value),
            None => out.extend_from_slice(b"null"),
        },
        ColumnBatch::Int96(batch) => match batch.get(at).map(Int96::data) {
            Some([low, high, day]) => quoted(out, |out| {
                let nanos = (u64::from(*high) << 32 | u64::from(*low)) as i64;
                time::push_julian(out, *day as i32, nanos);
            }),
            _ => out.extend_from_slice(b"null"),
        },
        ColumnBatch::Float(batch) => match batch.get(at) {
            Some(value) if value.is_finite() => write(out, value),
            _ => out.extend_from_slice(b"null"),
        },
        ColumnBatch::Double(batch) => match batch.get(at) {
            Some(value) if value.is_finite() => push_f64(out, *value),
            _ => out.extend_from_slice(b"null"),
        },
        ColumnBatch::Bytes(batch) => return push_bytes(out, kind, batch.get(at).map(ByteArray::data)),
        ColumnBatch::Fixed(batch) => return push_bytes(out, kind, batch.get(at).map(|value| value.data())),
    }
    Ok(())
}

fn push_int(out: &mut Vec<u8>, kind: ValueKind, value: i64) -> std::result::Result<(), String> {
    match kind {
        ValueKind::Decimal { scale } => decimal::push(out, value.into(), scale),
        ValueKind::Date => quoted(out, |out| time::push_date(out, value)),
        ValueKind::Time { a_second } => {
            let mut is_time = true;
            quoted(out, |out| is_time = time::push_time(out, value, a_second));
            if !is_time {
                return Err(format!("{value} is not a time of day"));
            }
        }
        ValueKind::Timestamp { a_second, utc } => quoted(out, |out| {
            time::push_timestamp(out, value, a_second);
            if utc {
                out.push(b'Z');
            }
        }),
        _ => write(out, value),
    }
    Ok(())
}

fn push_bytes(out: &mut Vec<u8>, kind: ValueKind, value: Option<&[u8]>) -> std::result::Result<(), String> {
    let Some(value) = value else {
        out.extend_from_slice(b"null");
        return Ok(());
    };
    match (kind, value) {
        (ValueKind::Text, _) => match std::str::from_utf8(value) {
            Ok(text) => push_string(out, text),
            Err(error) => {
                push_text(out, value);
                return Err(format!("its text is not valid UTF-8: {error}"));
            }
        },
        (ValueKind::Decimal { .. }, _) if value.len() > MAX_DECIMAL => {
            out.extend_from_slice(b"null");
            return Err(format!("its decimal has {} bytes", value.len()));
        }
        (ValueKind::Decimal { scale }, _) => decimal::push_bytes(out, value, scale),
        (ValueKind::Float16, &[low, high]) => match f64::from(half(u16::from_le_bytes([low, high]))) {
            value if value.is_finite() => push_f64(out, value),
            _ => out.extend_from_slice(b"null"),
        },
        (ValueKind::Uuid, _) if value.len() == 16 => quoted(out, |out| {
            for (i, byte) in value.iter().enumerate() {
                if matches!(i, 4 | 6 | 8 | 10) {
                    out.push(b'-');
                }
                write(out, format_args!("{byte:02x}"));
            }
        }),
        (ValueKind::Interval, &[a, b, c, d, e, f, g, h, i, j, k, l]) => quoted(out, |out| {
            let number = u32::from_le_bytes;
            time::push_interval(out, number([a, b, c, d]), number([e, f, g, h]), number([i, j, k, l]));
        }),
        _ => quoted(out, |out| out.extend_from_slice(STANDARD.encode(value).as_bytes())),
    }
    Ok(())
}

/// A JSON string of bytes that are not all UTF-8: those that aren't stay as they are.
fn push_text(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    for chunk in bytes.utf8_chunks() {
        let start = out.len();
        push_string(out, chunk.valid());
        // Without the quotes around each.
        out.pop();
        out.remove(start);
        out.extend_from_slice(chunk.invalid());
    }
    out.push(b'"');
}

/// The number that is stored in 16 bits: a sign, 5 bits of exponent, 10 of fraction.
fn half(bits: u16) -> f32 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f32::from(bits & 0x3ff));
    match exponent {
        0 => sign * fraction * 2f32.powi(-24),
        0x1f if fraction == 0.0 => sign * f32::INFINITY,
        0x1f => f32::NAN,
        _ => sign * (1.0 + fraction / 1024.0) * 2f32.powi(exponent - 15),
    }
}

fn write(out: &mut Vec<u8>, value: impl std::fmt::Display) {
    // Writing to a vector can't fail.
    let _ = write!(out, "{value}");
}

fn quoted(out: &mut Vec<u8>, text: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'"');
    text(out);
    out.push(b'"');
}

/// The error of a column whose values don't go with those beside it.
pub(super) fn uneven() -> ParquetError {
    ParquetError::General("its columns are not of the same length".to_owned())
}
