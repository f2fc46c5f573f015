//! The structures of Parquet that the library reads, and the kind of each of their fields.
//!
//! From the [definition](https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift); the
//! fields are in the order of their numbers, from 1 on. Those that the library doesn't read are [`Passed`].

use super::Kind::{Binary, Bool, Byte, Double, Int, List, Passed, Struct};
use super::Shape;

/// A structure without fields, or one whose fields aren't known.
pub(super) static OTHER: Shape = Shape { name: "structure", fields: &[] };

pub(in super::super) static FOOTER: Shape = Shape {
    name: "footer",
    fields: &[
        Int,
        List(&Struct(&SCHEMA_ELEMENT)),
        Int,
        List(&Struct(&ROW_GROUP)),
        List(&Struct(&KEY_VALUE)),
        Binary,
        List(&Struct(&COLUMN_ORDER)),
    ],
};

/// The field of a schema's element that says how many of the next are in it.
pub(super) const NUM_CHILDREN: i16 = 5;
pub(super) static SCHEMA_ELEMENT: Shape = Shape {
    name: "schema element",
    fields: &[Int, Int, Int, Binary, Int, Int, Int, Int, Int, Struct(&LOGICAL_TYPE)],
};

static LOGICAL_TYPE: Shape = Shape {
    name: "logical type",
    fields: &[
        Struct(&OTHER),
        Struct(&OTHER),
        Struct(&OTHER),
        Struct(&OTHER),
        Struct(&Shape { name: "decimal type", fields: &[Int, Int] }),
        Struct(&OTHER),
        Struct(&TIME),
        Struct(&TIME),
        Passed,
        Struct(&Shape { name: "integer type", fields: &[Byte, Bool] }),
        Struct(&OTHER),
        Struct(&OTHER),
        Struct(&OTHER),
        Struct(&OTHER),
        Struct(&OTHER),
        Struct(&Shape { name: "variant type", fields: &[Byte] }),
        Struct(&Shape { name: "geometry type", fields: &[Binary] }),
        Struct(&Shape { name: "geography type", fields: &[Binary, Int] }),
        Struct(&OTHER),
    ],
};

static TIME: Shape = Shape { name: "time type", fields: &[Bool, Struct(&TIME_UNIT)] };
static TIME_UNIT: Shape =
    Shape { name: "time unit", fields: &[Struct(&OTHER), Struct(&OTHER), Struct(&OTHER)] };
static KEY_VALUE: Shape = Shape { name: "key and value", fields: &[Binary, Binary] };
static COLUMN_ORDER: Shape =
    Shape { name: "column order", fields: &[Struct(&OTHER), Struct(&OTHER), Struct(&OTHER)] };

static ROW_GROUP: Shape = Shape {
    name: "row group",
    fields: &[List(&Struct(&COLUMN_CHUNK)), Int, Int, List(&Struct(&SORTING_COLUMN)), Int, Passed, Int],
};

static SORTING_COLUMN: Shape = Shape { name: "sorting column", fields: &[Int, Bool, Bool] };

static COLUMN_CHUNK: Shape =
    Shape { name: "column chunk", fields: &[Binary, Int, Struct(&COLUMN_METADATA), Int, Int, Int, Int] };

static COLUMN_METADATA: Shape = Shape {
    name: "column metadata",
    fields: &[
        Int,
        List(&Int),
        Passed,
        Int,
        Int,
        Int,
        Int,
        Passed,
        Int,
        Int,
        Int,
        Struct(&STATISTICS),
        List(&Struct(&PAGE_ENCODING)),
        Int,
        Int,
        Struct(&SIZE_STATISTICS),
        Struct(&GEO_STATISTICS),
    ],
};

static STATISTICS: Shape =
    Shape { name: "statistics", fields: &[Binary, Binary, Int, Int, Binary, Binary, Bool, Bool, Int] };
static PAGE_ENCODING: Shape = Shape { name: "page encoding", fields: &[Int, Int, Int] };
static SIZE_STATISTICS: Shape = Shape { name: "size statistics", fields: &[Int, List(&Int), List(&Int)] };
static GEO_STATISTICS: Shape =
    Shape { name: "geospatial statistics", fields: &[Struct(&BOUNDING_BOX), List(&Int)] };
static BOUNDING_BOX: Shape = Shape { name: "bounding box", fields: &[Double; 8] };

/// Statistics in it are passed over.
pub(in super::super) static PAGE_HEADER: Shape = Shape {
    name: "page header",
    fields: &[
        Int,
        Int,
        Int,
        Int,
        Struct(&Shape { name: "data page", fields: &[Int, Int, Int, Int] }),
        Struct(&OTHER),
        Struct(&Shape { name: "dictionary page", fields: &[Int, Int, Bool] }),
        Struct(&Shape { name: "data page", fields: &[Int, Int, Int, Int, Int, Int, Bool] }),
    ],
};

/// Whether a field says how the file, or a column of it, is encrypted.
pub(super) fn says_encrypted(shape: &Shape, id: i16) -> bool {
    let holds = std::ptr::eq(shape, &raw const FOOTER) || std::ptr::eq(shape, &raw const COLUMN_CHUNK);
    holds && id == 8
}
