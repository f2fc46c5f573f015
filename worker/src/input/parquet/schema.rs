//! What a column's values are as JSON, and at which levels they are there.
//!
//! A file has columns of plain values alone. To each value belong two numbers: the *definition level* says how many
//! of the optional and repeated groups around it are there, the *repetition level* at which of the repeated groups a
//! new element begins, 0 for a new row. A tree of [`Node`]s says what a level means:
//!
//! ```text
//!  optional group tags (LIST)     Node { def: 1, List { rep: 1, def: 2, element } }      0: null   1: []
//!    repeated group list
//!      optional binary element    Node { def: 3, Value }                                 2: [null] 3: ["x"]
//! ```

use std::ops::Range;

use parquet::basic::{ConvertedType, LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::schema::types::Type;

use crate::record::json::push_string;

/// More digits after the point than any writer gives a decimal: each of them is written for each value.
const MAX_SCALE: i32 = 1000;

/// A value, or values in values.
pub(super) struct Node {
    /// From which definition level on it is there; below, it is `null`.
    pub(super) def: i16,
    /// The columns of its values.
    pub(super) columns: Range<usize>,
    pub(super) shape: NodeShape,
}

pub(super) enum NodeShape {
    Value(ValueKind),
    /// Members, each with the text that begins it: `"name":`.
    Struct(Vec<(Vec<u8>, Node)>),
    List(Repeated, Box<Node>),
    /// A key and a value.
    Map(Repeated, Box<[Node; 2]>),
}

/// The levels of elements.
#[derive(Clone, Copy)]
pub(super) struct Repeated {
    /// From which definition level on there is an element.
    pub(super) def: i16,
    /// The repetition level of a further one.
    pub(super) rep: i16,
}

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ValueKind {
    Bool,
    Int,
    Unsigned,
    Float,
    Double,
    Float16,
    Decimal {
        scale: usize,
    },
    Date,
    Time {
        a_second: i64,
    },
    Timestamp {
        a_second: i64,
        utc: bool,
    },
    /// A timestamp of a Julian day and nanoseconds.
    Int96,
    Interval,
    Uuid,
    Text,
    Binary,
    /// Nothing but nulls.
    Null,
}

/// A column of the file's schema, whose values begin with the column `first`; `first` goes past them.
pub(super) fn node(field: &Type, first: &mut usize) -> Result<Node, String> {
    Levels { def: 0, rep: 0 }.node(field, first)
}

/// The levels of what is around a node.
#[derive(Clone, Copy)]
struct Levels {
    def: i16,
    rep: i16,
}

impl Levels {
    fn node(self, field: &Type, first: &mut usize) -> Result<Node, String> {
        let from = *first;
        let (def, shape) = match repetition(field) {
            Repetition::REQUIRED => (self.def, self.shape(field, first)?),
            Repetition::OPTIONAL => {
                let inner = Self { def: self.def + 1, ..self };
                (inner.def, inner.shape(field, first)?)
            }
            // Outside of a list or map a repeated field is a list by itself.
            Repetition::REPEATED => (self.def, self.list(field, first, Self::element)?),
        };
        if *first == from {
            return Err(format!("the group `{}` has no columns", field.name()));
        }
        Ok(Node { def, columns: from..*first, shape })
    }

    /// A list of what `element` makes of a repeated field.
    fn list(
        self,
        repeated: &Type,
        first: &mut usize,
        element: impl FnOnce(Self, &Type, &mut usize) -> Result<Node, String>,
    ) -> Result<NodeShape, String> {
        let inner = Self { def: self.def + 1, rep: self.rep + 1 };
        let element = element(inner, repeated, first)?;
        Ok(NodeShape::List(Repeated { def: inner.def, rep: inner.rep }, Box::new(element)))
    }

    /// A repeated field that is the element itself.
    fn element(self, field: &Type, first: &mut usize) -> Result<Node, String> {
        let from = *first;
        let shape = self.shape(field, first)?;
        Ok(Node { def: self.def, columns: from..*first, shape })
    }

    fn shape(self, field: &Type, first: &mut usize) -> Result<NodeShape, String> {
        if field.is_primitive() {
            *first += 1;
            return kind(field).map(NodeShape::Value);
        }
        let info = field.get_basic_info();
        let is = |logical, converted| {
            info.logical_type_ref() == Some(&logical) || info.converted_type() == converted
        };
        let only = match field.get_fields() {
            [only] if repetition(only) == Repetition::REPEATED => Some(only),
            _ => None,
        };
        let is_map =
            is(LogicalType::Map, ConvertedType::MAP) || info.converted_type() == ConvertedType::MAP_KEY_VALUE;
        match only {
            Some(repeated) if is(LogicalType::List, ConvertedType::LIST) => {
                if repeated.is_primitive() || is_element(repeated) {
                    return self.list(repeated, first, Self::element);
                }
                self.list(repeated, first, |inner, repeated, first| {
                    inner.node(&repeated.get_fields()[0], first)
                })
            }
            Some(repeated) if is_map && repeated.is_group() => {
                let inner = Self { def: self.def + 1, rep: self.rep + 1 };
                let levels = Repeated { def: inner.def, rep: inner.rep };
                match repeated.get_fields() {
                    [key, value] => {
                        let nodes = [inner.node(key, first)?, inner.node(value, first)?];
                        Ok(NodeShape::Map(levels, Box::new(nodes)))
                    }
                    // Keys alone are a set.
                    [key] => Ok(NodeShape::List(levels, Box::new(inner.node(key, first)?))),
                    _ => Err(format!("the map `{}` has not two columns", field.name())),
                }
            }
            _ => {
                let member = |member: &std::sync::Arc<Type>| {
                    let mut name = Vec::new();
                    push_string(&mut name, member.name());
                    name.push(b':');
                    Ok((name, self.node(member, first)?))
                };
                field.get_fields().iter().map(member).collect::<Result<_, String>>().map(NodeShape::Struct)
            }
        }
    }
}

fn repetition(field: &Type) -> Repetition {
    let info = field.get_basic_info();
    if info.has_repetition() { info.repetition() } else { Repetition::REQUIRED }
}

/// Whether a list's repeated group is its element, as older writers have it, and not a group around that.
fn is_element(repeated: &Type) -> bool {
    match repeated.get_fields() {
        [only] => {
            let name = repeated.name();
            repetition(only) == Repetition::REPEATED || name == "array" || name.ends_with("_tuple")
        }
        _ => true,
    }
}

fn unit(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::MILLIS => 1000,
        TimeUnit::MICROS => 1_000_000,
        TimeUnit::NANOS => 1_000_000_000,
    }
}

/// How the values of a column are written: by its logical type, by the older converted type, by how they are stored.
fn kind(field: &Type) -> Result<ValueKind, String> {
    let info = field.get_basic_info();
    let (physical, bytes) = match field {
        Type::PrimitiveType { physical_type, type_length, .. } => (*physical_type, *type_length),
        Type::GroupType { .. } => return Err(format!("`{}` is a group", field.name())),
    };
    let decimal = |scale: i32| match usize::try_from(scale) {
        Ok(scale) if scale <= MAX_SCALE as usize => Ok(ValueKind::Decimal { scale }),
        _ => Err(format!("the decimal `{}` has a scale of {scale}", field.name())),
    };
    let is_bytes = matches!(physical, Physical::BYTE_ARRAY | Physical::FIXED_LEN_BYTE_ARRAY);
    let is_int = matches!(physical, Physical::INT32 | Physical::INT64);
    let kind = match info.logical_type_ref() {
        Some(LogicalType::String | LogicalType::Enum | LogicalType::Json) if is_bytes => {
            Some(ValueKind::Text)
        }
        Some(LogicalType::Decimal(of)) if is_bytes || is_int => Some(decimal(of.scale)?),
        Some(LogicalType::Date) if physical == Physical::INT32 => Some(ValueKind::Date),
        Some(LogicalType::Time(of)) if is_int => Some(ValueKind::Time { a_second: unit(of.unit) }),
        Some(LogicalType::Timestamp(of)) if physical == Physical::INT64 => {
            Some(ValueKind::Timestamp { a_second: unit(of.unit), utc: of.is_adjusted_to_u_t_c })
        }
        Some(LogicalType::Integer(of)) if is_int => {
            Some(if of.is_signed { ValueKind::Int } else { ValueKind::Unsigned })
        }
        Some(LogicalType::Unknown) => Some(ValueKind::Null),
        Some(LogicalType::Uuid) if bytes == 16 => Some(ValueKind::Uuid),
        Some(LogicalType::Float16) if bytes == 2 => Some(ValueKind::Float16),
        _ => None,
    };
    if let Some(kind) = kind {
        return Ok(kind);
    }
    let scale = match field {
        Type::PrimitiveType { scale, .. } => *scale,
        Type::GroupType { .. } => 0,
    };
    Ok(match (info.converted_type(), physical) {
        (ConvertedType::DECIMAL, _) if is_bytes || is_int => decimal(scale.max(0))?,
        (ConvertedType::DATE, Physical::INT32) => ValueKind::Date,
        (ConvertedType::TIME_MILLIS, Physical::INT32) => ValueKind::Time { a_second: 1000 },
        (ConvertedType::TIME_MICROS, Physical::INT64) => ValueKind::Time { a_second: 1_000_000 },
        // The definition says of these that they are in UTC.
        (ConvertedType::TIMESTAMP_MILLIS, Physical::INT64) => {
            ValueKind::Timestamp { a_second: 1000, utc: true }
        }
        (ConvertedType::TIMESTAMP_MICROS, Physical::INT64) => {
            ValueKind::Timestamp { a_second: 1_000_000, utc: true }
        }
        (
            ConvertedType::UINT_8 | ConvertedType::UINT_16 | ConvertedType::UINT_32 | ConvertedType::UINT_64,
            Physical::INT32 | Physical::INT64,
        ) => ValueKind::Unsigned,
        (ConvertedType::UTF8 | ConvertedType::ENUM | ConvertedType::JSON, _) if is_bytes => ValueKind::Text,
        (ConvertedType::INTERVAL, Physical::FIXED_LEN_BYTE_ARRAY) if bytes == 12 => ValueKind::Interval,
        (_, Physical::BOOLEAN) => ValueKind::Bool,
        (_, Physical::INT32 | Physical::INT64) => ValueKind::Int,
        (_, Physical::INT96) => ValueKind::Int96,
        (_, Physical::FLOAT) => ValueKind::Float,
        (_, Physical::DOUBLE) => ValueKind::Double,
        (_, Physical::BYTE_ARRAY | Physical::FIXED_LEN_BYTE_ARRAY) => ValueKind::Binary,
    })
}

impl Node {
    /// Whether there are bytes in it that are not text.
    pub(super) fn has_binary(&self) -> bool {
        match &self.shape {
            NodeShape::Value(kind) => *kind == ValueKind::Binary,
            NodeShape::Struct(members) => members.iter().any(|(_, member)| member.has_binary()),
            NodeShape::List(_, element) => element.has_binary(),
            NodeShape::Map(_, nodes) => nodes.iter().any(Self::has_binary),
        }
    }
}
