//! What fuzz targets reach besides the library's interface (`fuzz/`).

pub use crate::function::builtin::groups_by_scan as scan;
pub use crate::input::frames::length_of as frame_length;
pub use crate::shuffle::index::parse_bytes as parse_index;
