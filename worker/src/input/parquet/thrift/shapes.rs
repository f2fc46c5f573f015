//! The structures of Parquet that the library reads, and the kind of each of their fields.
//!
//! From the [definition](https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift); the
//! fields are in the order of their numbers, from 1 on. Those that the library doesn't read are [`Passed`].

use super::ThriftStruct;
use super::ThriftType::{Binary, Bool, Byte, Double, Int, List, Passed, Struct};

/// A structure without fields, or one whose fields aren't known.
pub(super) static OTHER: ThriftStruct = ThriftStruct { name: "structure", fields: &[] };

pub(in super::super) static FOOTER: ThriftStruct = ThriftStruct {
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
pub(super) static SCHEMA_ELEMENT: ThriftStruct = ThriftStruct {
    name: "schema element",
    fields: &[Int, Int, Int, Binary, Int, Int, Int, Int, Int, Struct(&LOGICAL_TYPE)],
};

static LOGICAL_TYPE: ThriftStruct = ThriftStruct {
    name: "logical type",
    fields: &[
        Struct(&OTHER),
        Struct(&OTHER),
        Struct(&OTHER),
        Struct(&OTHER),
        Struct(&ThriftStruct { name: "decimal type", fields: &[Int, Int] }),
        Struct(&OTHER),
        Struct(&TIME),
        Struct(&TIME),
        Passed,
        Struct(&ThriftStruct { name: "integer type", fields: &[Byte, Bool] }),
        Struct(&OTHER),
        Struct(&OTHER),
        Struct(&OTHER),
        Struct(&OTHER),
        Struct(&OTHER),
        Struct(&ThriftStruct { name: "variant type", fields: &[Byte] }),
        Struct(&ThriftStruct { name: "geometry type", fields: &[Binary] }),
        Struct(&ThriftStruct { name: "geography type", fields: &[Binary, Int] }),
        Struct(&OTHER),
    ],
};

static TIME: ThriftStruct = ThriftStruct { name: "time type", fields: &[Bool, Struct(&TIME_UNIT)] };
static TIME_UNIT: ThriftStruct =
    ThriftStruct { name: "time unit", fields: &[Struct(&OTHER), Struct(&OTHER), Struct(&OTHER)] };
static KEY_VALUE: ThriftStruct = ThriftStruct { name: "key and value", fields: &[Binary, Binary] };
static COLUMN_ORDER: ThriftStruct =
    ThriftStruct { name: "column order", fields: &[Struct(&OTHER), Struct(&OTHER), Struct(&OTHER)] };

static ROW_GROUP: ThriftStruct = ThriftStruct {
    name: "row group",
    fields: &[List(&Struct(&COLUMN_CHUNK)), Int, Int, List(&Struct(&SORTING_COLUMN)), Int, Passed, Int],
};

static SORTING_COLUMN: ThriftStruct = ThriftStruct { name: "sorting column", fields: &[Int, Bool, Bool] };

static COLUMN_CHUNK: ThriftStruct = ThriftStruct {
    name: "column chunk",
    fields: &[Binary, Int, Struct(&COLUMN_METADATA), Int, Int, Int, Int],
};

static COLUMN_METADATA: ThriftStruct = ThriftStruct {
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

static STATISTICS: ThriftStruct =
    ThriftStruct { name: "statistics", fields: &[Binary, Binary, Int, Int, Binary, Binary, Bool, Bool, Int] };
static PAGE_ENCODING: ThriftStruct = ThriftStruct { name: "page encoding", fields: &[Int, Int, Int] };
static SIZE_STATISTICS: ThriftStruct =
    ThriftStruct { name: "size statistics", fields: &[Int, List(&Int), List(&Int)] };
static GEO_STATISTICS: ThriftStruct =
    ThriftStruct { name: "geospatial statistics", fields: &[Struct(&BOUNDING_BOX), List(&Int)] };
static BOUNDING_BOX: ThriftStruct = ThriftStruct { name: "bounding box", fields: &[Double; 8] };

/// Statistics in it are passed over.
pub(in super::super) static PAGE_HEADER: ThriftStruct = ThriftStruct {
    name: "page header",
    fields: &[
        Int,
        Int,
        Int,
        Int,
        Struct(&ThriftStruct { name: "data page", fields: &[Int, Int, Int, Int] }),
        Struct(&OTHER),
        Struct(&ThriftStruct { name: "dictionary page", fields: &[Int, Int, Bool] }),
        Struct(&ThriftStruct { name: "data page", fields: &[Int, Int, Int, Int, Int, Int, Bool] }),
    ],
};

/// Whether a field says how the file, or a column of it, is encrypted.
pub(super) fn says_encrypted(shape: &ThriftStruct, id: i16) -> bool {
    let holds = std::ptr::eq(shape, &raw const FOOTER) || std::ptr::eq(shape, &raw const COLUMN_CHUNK);
    holds && id == 8
}
