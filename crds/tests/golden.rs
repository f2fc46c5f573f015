//! The committed CRD is the one the types make, and small enough to be installed.

use mapreduce_api::CRD_YAML;

const REMEDY: &str = ".ci/generate";

#[test]
fn the_committed_crd_is_what_the_types_make() {
    let fresh = serde_yaml::to_string(&mapreduce_api::v1alpha1::crd()).unwrap();
    assert!(fresh == CRD_YAML, "crds/generated/mapreducejobs.yaml is stale; run:\n  {REMEDY}");
}

/// `kubectl apply` keeps a copy of an object, as JSON without spaces, in an annotation, and an object's annotations may
/// have 262,144 bytes in all. A quarter of that is left to others. Helm keeps a release compressed, in a Secret of 1 MiB:
/// no chart of ours gets there first.
#[test]
fn the_crd_fits_into_the_annotation_that_kubectl_apply_keeps_it_in() {
    let kept = serde_json::to_string(&mapreduce_api::v1alpha1::crd()).unwrap().len();
    assert!(kept < 262_144 / 4 * 3, "the CRD has {kept} bytes as JSON");
}

/// The API server warns at every `apply` of a CRD with a format it doesn't know.
#[test]
fn the_crd_has_no_unsigned_formats() {
    assert!(!CRD_YAML.contains("format: uint"), "use i32 or i64 with a minimum");
}

/// Such a field is written `__function__` in a rule. Today's API servers take the plain name as well;
/// `mapreduce validate` does not.
#[test]
fn no_rule_names_a_field_that_is_a_reserved_word_of_cel() {
    let rules = CRD_YAML.lines().filter_map(|line| line.trim_start().strip_prefix("rule: "));
    for (rule, word) in
        rules.flat_map(|r| ["function", "namespace", "package", "import", "var"].map(|w| (r, w)))
    {
        let names_it =
            |part: &str| part.starts_with(word) && !part[word.len()..].starts_with(char::is_alphanumeric);
        assert!(!rule.split('.').skip(1).any(names_it), "write __{word}__ in {rule}");
    }
}

/// Helm reads no file outside a chart's folder.
#[test]
fn the_chart_s_copy_of_the_crd_is_the_same() {
    let copy = include_str!("../../charts/mapreduce-operator/files/mapreducejobs.yaml");
    assert!(
        copy == CRD_YAML,
        "charts/mapreduce-operator/files/mapreducejobs.yaml is stale; run:\n  {REMEDY}"
    );
}
