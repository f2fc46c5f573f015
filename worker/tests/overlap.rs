//! Links that make what is written and what is read the same place.

mod common;

use std::os::unix::fs::symlink;

use common::{Place, merge, word_count};
use mapreduce_worker::error::ErrorKind;
use serde_json::{Value, json};

/// Runs a job that has to be refused for where links lead, and touches nothing.
fn refused(place: &Place, fields: &Value) {
    let mut all = word_count(1, false);
    merge(&mut all, fields.clone());
    let before = place.names("in");
    let error = place.run(all).unwrap_err();
    let causes = error.causes();
    assert!(error.to_string().contains("overlaps with the input"), "{fields}: {error} {causes:?}");
    assert!(causes.iter().any(|cause| cause.contains("links lead to ")), "{fields}: {causes:?}");
    assert_eq!(error.kind(), ErrorKind::Permanent);
    assert_eq!(place.names("in"), before);
}

fn place() -> Place {
    let place = Place::of(&[b"a b a".to_vec(), b"b".to_vec()], 64 << 20, 1);
    place.write("data/x", "x y");
    place
}

#[test]
fn an_output_that_a_link_leads_to_the_input_is_refused() {
    let place = place();
    symlink(place.path("in"), place.path("alias")).unwrap();
    std::fs::create_dir(place.path("empty")).unwrap();
    symlink("../in", place.path("empty/deep")).unwrap();
    for if_exists in ["Fail", "Replace"] {
        for output in ["file:alias/out/", "file:empty/deep/a/b/"] {
            refused(&place, &json!({"output": {"url": output, "ifExists": if_exists}}));
        }
        // What is there is an error before links are looked at.
        let mut all = word_count(1, false);
        merge(&mut all, json!({"output": {"url": "file:alias/", "ifExists": if_exists}}));
        assert_eq!(place.run(all).unwrap_err().kind(), ErrorKind::Permanent);
        assert_eq!(place.names("in"), ["0.txt", "1.txt"]);
    }
    refused(&place, &json!({"shuffle": {"url": "file:alias/tmp/"}}));
}

#[test]
fn an_input_that_a_link_leads_to_the_output_is_refused() {
    let place = place();
    std::fs::create_dir(place.path("out")).unwrap();
    symlink(place.path("out"), place.path("old")).unwrap();
    refused(&place, &json!({"input": {"urls": ["file:in/", "file:old/"], "allowEmpty": true}}));
    place.write("out/part-00000", "a old result");
    let replace = json!({"ifExists": "Replace"});
    for link in ["in/latest", "in/file"] {
        let target = if link == "in/file" { "out/part-00000" } else { "out" };
        symlink(place.path(target), place.path(link)).unwrap();
        refused(&place, &json!({"output": replace.clone()}));
        refused(&place, &json!({"input": {"urls": ["file:in/*", "file:in/**"]}, "output": replace.clone()}));
        std::fs::remove_file(place.path(link)).unwrap();
    }
    // A link to elsewhere is none of that.
    symlink(place.path("data"), place.path("in/more")).unwrap();
    let mut all = word_count(1, false);
    merge(&mut all, json!({"output": replace}));
    place.run(all).unwrap();
    assert_eq!(place.output_text(), "a\t2\nb\t2\nx\t1\ny\t1\n");
}
