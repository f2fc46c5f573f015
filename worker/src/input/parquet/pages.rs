//! Pages on their way to the library's decoders, which take a page's header at its word: a dictionary that says it
//! has four thousand million values has room made for them, and that ends the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};

/// The pages of a column, checked.
///
/// A look at the next page reads it: were the library to look at its header alone, it would ask for the bytes after
/// that as it asks for a header, and [`super::ranges`] would take them for one.
pub(super) struct CheckedPages {
    pages: Box<dyn PageReader>,
    next: Option<Page>,
    /// Levels of the page that was given last.
    levels: PageLevels,
}

/// How many levels the page has that a column has gone to.
pub(super) type PageLevels = Arc<AtomicUsize>;

impl CheckedPages {
    pub(super) fn new(pages: Box<dyn PageReader>, levels: &PageLevels) -> Self {
        Self { pages, next: None, levels: Arc::clone(levels) }
    }
}

impl Iterator for CheckedPages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl PageReader for CheckedPages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let page = match self.next.take() {
            Some(page) => Some(page),
            None => self.pages.get_next_page()?.map(checked).transpose()?,
        };
        if let Some(page) = page.as_ref().filter(|page| page.is_data_page()) {
            self.levels.store(page.num_values() as usize, Ordering::Relaxed);
        }
        Ok(page)
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.next = self.get_next_page()?;
        Ok(self.next.as_ref().map(|page| match page {
            Page::DataPage { num_values, .. } => {
                PageMetadata { num_rows: None, num_levels: Some(*num_values as usize), is_dict: false }
            }
            Page::DataPageV2 { num_values, num_rows, .. } => PageMetadata {
                num_rows: Some(*num_rows as usize),
                num_levels: Some(*num_values as usize),
                is_dict: false,
            },
            Page::DictionaryPage { .. } => PageMetadata { num_rows: None, num_levels: None, is_dict: true },
        }))
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.get_next_page().map(drop)
    }
}

/// A page, unless it is a dictionary with more values than bytes: each has one at least.
fn checked(page: Page) -> Result<Page> {
    match &page {
        Page::DictionaryPage { buf, num_values, .. } if *num_values as usize > buf.len() => {
            let bytes = buf.len();
            Err(ParquetError::General(format!("a dictionary of {num_values} values has {bytes} bytes")))
        }
        _ => Ok(page),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use parquet::basic::Encoding;
    use parquet::column::page::Page;

    use super::checked;

    #[test]
    fn a_dictionary_that_says_it_has_more_values_than_bytes_is_an_error() {
        let dictionary = |num_values| Page::DictionaryPage {
            buf: Bytes::from_static(b"\x01\0\0\0a"),
            num_values,
            encoding: Encoding::PLAIN,
            is_sorted: false,
        };
        checked(dictionary(1)).unwrap();
        let error = checked(dictionary(u32::MAX)).unwrap_err().to_string();
        assert!(error.contains("a dictionary of 4294967295 values has 5 bytes"), "{error}");
    }
}
