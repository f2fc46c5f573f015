//! The CRD, made from the types.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt as _;

use super::job::MapReduceJob;

/// The CRD that is committed and installed.
pub fn crd() -> CustomResourceDefinition {
    let mut crd = MapReduceJob::crd();
    for version in &mut crd.spec.versions {
        if let Some(schema) = version.schema.as_mut().and_then(|s| s.open_api_v3_schema.as_mut()) {
            allow_no_additional_properties(schema);
            describe_functions_once(schema);
        }
    }
    crd
}

/// A step's functions are those of a job without steps, whose fields have the descriptions: a CRD has no references, and a
/// copy of them in each step would be a tenth of it.
fn describe_functions_once(schema: &mut JSONSchemaProps) {
    let Some(spec) = schema.properties.as_mut().and_then(|p| p.get_mut("spec")) else { return };
    let Some(steps) = spec.properties.as_mut().and_then(|p| p.get_mut("steps")) else { return };
    let Some(JSONSchemaPropsOrArray::Schema(step)) = &mut steps.items else { return };
    for phase in step.properties.iter_mut().flat_map(|p| p.values_mut()) {
        let function = phase.properties.as_mut().and_then(|p| p.get_mut("function"));
        let kinds = function.and_then(|function| function.properties.as_mut());
        kinds.into_iter().flat_map(|kinds| kinds.values_mut()).for_each(leave_out_descriptions);
    }
}

fn leave_out_descriptions(schema: &mut JSONSchemaProps) {
    schema.description = None;
    schema.properties.iter_mut().flat_map(|p| p.values_mut()).for_each(leave_out_descriptions);
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        leave_out_descriptions(items);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        leave_out_descriptions(values);
    }
}

/// A structural schema can't have both `properties` and `additionalProperties: false`, which serde's
/// `deny_unknown_fields` becomes. The API server refuses or prunes unknown fields by itself.
fn allow_no_additional_properties(schema: &mut JSONSchemaProps) {
    if matches!(schema.additional_properties, Some(JSONSchemaPropsOrBool::Bool(false))) {
        schema.additional_properties = None;
    }
    schema.properties.iter_mut().flat_map(|p| p.values_mut()).for_each(allow_no_additional_properties);
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        allow_no_additional_properties(items);
    }
}
