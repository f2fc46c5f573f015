use super::{DEEPEST, FOOTER, PAGE_HEADER, check as check_as, shapes};

/// Of a structure that isn't Parquet's.
fn check(bytes: &[u8]) -> Result<(), String> {
    check_as(bytes, &shapes::OTHER)
}

/// A page's header: kind 0, 100 bytes, 50 stored, and as field 5 four values and three encodings, and as field 6 of
/// that, which isn't known, a text.
const HEADER: [u8; 22] =
    [0x15, 0, 0x15, 200, 1, 0x15, 100, 0x2c, 0x15, 8, 0x15, 0, 0x15, 6, 0x15, 6, 0x28, 1, b'x', 0, 0, 77];

#[test]
fn what_a_page_header_holds_is_passed_over() {
    check_as(&HEADER, &PAGE_HEADER).unwrap();
    let list_set_map = [0x19, 0x23, 1, 2, 0x1a, 0x18, 1, b'x', 0x1b, 1, 0x86, 1, b'k', 2, 0x1b, 0, 0];
    check(&list_set_map).unwrap();
    (0..HEADER.len()).for_each(|cut| check_as(&HEADER[..cut], &PAGE_HEADER).unwrap());
}

#[test]
fn a_field_of_another_type_is_an_error_that_names_it() {
    let with = |at: usize, byte| {
        let mut header = HEADER;
        header[at] = byte;
        check_as(&header, &PAGE_HEADER)
    };
    assert_eq!(with(0, 0x18).unwrap_err(), "field 1 of the page header is of type 8");
    assert_eq!(with(7, 0x29).unwrap_err(), "field 5 of the page header is of type 9");
    assert_eq!(with(8, 0x1c).unwrap_err(), "field 1 of the data page is of type 12");
    // A number of another width is written alike.
    with(2, 0x16).unwrap();
    // A number of its own for the field: -2, which isn't known, and 3.
    check_as(&[0x08, 3, 0, 0], &PAGE_HEADER).unwrap();
    assert_eq!(
        check_as(&[0x08, 6, 0, 0], &PAGE_HEADER).unwrap_err(),
        "field 3 of the page header is of type 8"
    );
    // A footer with a schema of one element, whose third field is a text.
    let footer = [0x15, 2, 0x19, 0x1c, 0x38, 1, b'x', 0, 0];
    assert_eq!(check_as(&footer, &FOOTER).unwrap_err(), "field 3 of the schema element is of type 8");
}

#[test]
fn a_collection_that_can_not_be_there_is_an_error() {
    let many = [0xff, 0xff, 0xff, 0xff, 7];
    for (kind, says) in [(7, "2147483647 values are in"), (2, "2147483647 values"), (12, "2147483647 values")]
    {
        let bytes = [&[0x19, 0xf0 | kind][..], &many, &[0; 9]].concat();
        let error = check(&bytes).unwrap_err();
        assert!(error.contains(says), "{error}");
    }
    assert!(check(&[0x19, 0x21, 0, 0, 0]).unwrap_err().contains("truth values"));
    let map = [&[0x1b][..], &many, &[0x88, 0]].concat();
    assert!(check(&map).unwrap_err().contains("2147483647 values"));
    // A structure in the deepest list.
    let deepest = [&[0x19; DEEPEST as usize][..], &[0x1c; 40]].concat();
    assert!(check(&deepest).unwrap_err().contains("deep"));
    assert!(check(&[0x1c; 100]).unwrap_err().contains(&format!("{DEEPEST} deep")));
    assert!(check(&[[0x19].as_slice(), &[0x19; 100]].concat()).unwrap_err().contains("deep"));
}
