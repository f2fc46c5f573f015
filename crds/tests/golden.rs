//! The committed CRD is the one the types make, and small enough to be installed.

use mapreduce_api::CRD_YAML;

const REMEDY: &str = ".ci/generate";

#[test]
fn the_committed_crd_is_what_the_types_make() {
    let fresh = serde_yaml::to_string(&mapreduce_api::v1alpha1::crd()).unwrap();
    assert!(fresh == CRD_YAML, "crds/generated/mapreducejobs.yaml is stale; run:\n  {REMEDY}");
}

/// `kubectl apply` keeps a copy of the object in an annotation, which may have 262,144 bytes, and
/// Helm keeps the whole release in one Secret of 1 MiB.
#[test]
fn the_crd_stays_under_100_kb() {
    assert!(CRD_YAML.len() < 100_000, "the CRD has {} bytes", CRD_YAML.len());
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
