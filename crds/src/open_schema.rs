//! Schemas of fields that the CRD's schema leaves open.

use schemars::{Schema, SchemaGenerator, json_schema};

/// The schema of an object that the API server stores as it is. Pod templates are kept out of
/// the schema this way: with them the CRD would be ten times the size that `kubectl apply` takes.
pub(crate) fn any_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}

/// A value that takes more than one form.
pub(crate) fn anything(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "x-kubernetes-preserve-unknown-fields": true })
}
