//! The structures of Parquet that the library reads, and the kind of each of their fields.
//!
//! From the [definition](https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift); the
//! fields are in the order of their numbers, from 1 on. Those that the library doesn't read are [`Kind::Passed`].

use super::{Kind, Shape};

const PASSED: Kind = Kind::Passed;
const BOOL: Kind = Kind::Bool;
const BYTE: Kind = Kind::Byte;
const INT: Kind = Kind::Int;
const DOUBLE: Kind = Kind::Double;
const BINARY: Kind = Kind::Binary;
const INTS: Kind = Kind::List(&Kind::Int);

const fn one(shape: &'static Shape) -> Kind {
    Kind::Struct(shape)
}

/// A structure without fields, or one whose fields aren't known.
pub(super) static OTHER: Shape = Shape { name: "structure", fields: &[] };

pub(in super::super) static FOOTER: Shape = Shape {
    name: "footer",
    fields: &[
        INT,
        Kind::List(&Kind::Struct(&SCHEMA_ELEMENT)),
        INT,
        Kind::List(&Kind::Struct(&ROW_GROUP)),
        Kind::List(&Kind::Struct(&KEY_VALUE)),
        BINARY,
        Kind::List(&Kind::Struct(&COLUMN_ORDER)),
    ],
};

static SCHEMA_ELEMENT: Shape = Shape {
    name: "schema element",
    fields: &[INT, INT, INT, BINARY, INT, INT, INT, INT, INT, one(&LOGICAL_TYPE)],
};

static LOGICAL_TYPE: Shape = Shape {
    name: "logical type",
    fields: &[
        one(&OTHER),
        one(&OTHER),
        one(&OTHER),
        one(&OTHER),
        one(&Shape { name: "decimal type", fields: &[INT, INT] }),
        one(&OTHER),
        one(&TIME),
        one(&TIME),
        PASSED,
        one(&Shape { name: "integer type", fields: &[BYTE, BOOL] }),
        one(&OTHER),
        one(&OTHER),
        one(&OTHER),
        one(&OTHER),
        one(&OTHER),
        one(&Shape { name: "variant type", fields: &[BYTE] }),
        one(&Shape { name: "geometry type", fields: &[BINARY] }),
        one(&Shape { name: "geography type", fields: &[BINARY, INT] }),
        one(&OTHER),
    ],
};

static TIME: Shape = Shape { name: "time type", fields: &[BOOL, one(&TIME_UNIT)] };
static TIME_UNIT: Shape = Shape { name: "time unit", fields: &[one(&OTHER), one(&OTHER), one(&OTHER)] };
static KEY_VALUE: Shape = Shape { name: "key and value", fields: &[BINARY, BINARY] };
static COLUMN_ORDER: Shape = Shape { name: "column order", fields: &[one(&OTHER), one(&OTHER), one(&OTHER)] };

static ROW_GROUP: Shape = Shape {
    name: "row group",
    fields: &[
        Kind::List(&Kind::Struct(&COLUMN_CHUNK)),
        INT,
        INT,
        Kind::List(&Kind::Struct(&SORTING_COLUMN)),
        INT,
        PASSED,
        INT,
    ],
};

static SORTING_COLUMN: Shape = Shape { name: "sorting column", fields: &[INT, BOOL, BOOL] };

static COLUMN_CHUNK: Shape =
    Shape { name: "column chunk", fields: &[BINARY, INT, one(&COLUMN_METADATA), INT, INT, INT, INT] };

static COLUMN_METADATA: Shape = Shape {
    name: "column metadata",
    fields: &[
        INT,
        INTS,
        PASSED,
        INT,
        INT,
        INT,
        INT,
        PASSED,
        INT,
        INT,
        INT,
        one(&STATISTICS),
        Kind::List(&Kind::Struct(&PAGE_ENCODING)),
        INT,
        INT,
        one(&SIZE_STATISTICS),
        one(&GEO_STATISTICS),
    ],
};

static STATISTICS: Shape =
    Shape { name: "statistics", fields: &[BINARY, BINARY, INT, INT, BINARY, BINARY, BOOL, BOOL, INT] };
static PAGE_ENCODING: Shape = Shape { name: "page encoding", fields: &[INT, INT, INT] };
static SIZE_STATISTICS: Shape = Shape { name: "size statistics", fields: &[INT, INTS, INTS] };
static GEO_STATISTICS: Shape = Shape { name: "geospatial statistics", fields: &[one(&BOUNDING_BOX), INTS] };
static BOUNDING_BOX: Shape = Shape { name: "bounding box", fields: &[DOUBLE; 8] };

/// Statistics in it are passed over.
pub(in super::super) static PAGE_HEADER: Shape = Shape {
    name: "page header",
    fields: &[
        INT,
        INT,
        INT,
        INT,
        one(&Shape { name: "data page", fields: &[INT, INT, INT, INT] }),
        one(&OTHER),
        one(&Shape { name: "dictionary page", fields: &[INT, INT, BOOL] }),
        one(&Shape { name: "data page", fields: &[INT, INT, INT, INT, INT, INT, BOOL] }),
    ],
};
