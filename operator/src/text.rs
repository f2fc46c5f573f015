//! Texts for fields of a limited size.

/// The text, or as much of it as has room in `most` bytes with a sign that something is missing.
pub fn shortened(mut text: String, most: usize) -> String {
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most - "…".len()));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::shortened;

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let text = shortened("é".repeat(1000), 1024);
        assert!(text.len() <= 1024 && text.ends_with("é…"), "{}", text.len());
        assert_eq!(shortened("short".to_owned(), 1024), "short");
    }
}
