//! Texts of two bytes a character, which are refused.

/// Why a text of two bytes a character is refused.
pub(crate) const UTF_16: &str = "it is UTF-16: convert it to UTF-8, as `iconv -f UTF-16 -t UTF-8` does";

/// Whether a text begins with the mark of UTF-16, of either order of bytes.
pub(crate) fn is_utf_16(text: &[u8]) -> bool {
    matches!(text, [0xff, 0xfe, ..] | [0xfe, 0xff, ..])
}
