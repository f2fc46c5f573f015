//! A manifest as a user writes it: YAML or JSON, one document.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::v1alpha1::{API_VERSION, KIND, MapReduceJobSpec};

/// One `MapReduceJob` document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Manifest {
    /// `mapreduce.dev/v1alpha1`.
    pub api_version: String,
    /// `MapReduceJob`.
    pub kind: String,
    /// Name, namespace, labels.
    pub metadata: Metadata,
    /// The job.
    pub spec: MapReduceJobSpec,
    /// Only in what `kubectl get -o yaml` printed; read past.
    #[serde(default, skip_serializing)]
    pub status: Option<Value>,
}

/// The part of an object's metadata that matters outside a cluster; the rest is read past.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// The job's name.
    #[serde(default)]
    pub name: String,
    /// Its namespace on a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Labels, for the cluster.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations, for the cluster.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// Why a text is no manifest: one line, with the field and its line where the text has one.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// YAML, or a field.
    #[error("{0}")]
    Syntax(String),
    /// Another kind of object.
    #[error(
        "apiVersion: {api_version}, kind: {kind} is no MapReduceJob: write apiVersion: {API_VERSION}, kind: {KIND}"
    )]
    Kind {
        /// What it says.
        api_version: String,
        /// What it says.
        kind: String,
    },
}

impl Manifest {
    /// Reads a manifest. Unknown fields are an error that names the field and its line.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Head {
            #[serde(default)]
            api_version: String,
            #[serde(default)]
            kind: String,
        }
        let syntax = |e: serde_yaml::Error| ManifestError::Syntax(e.to_string());
        let head: Head = serde_yaml::from_str(text).map_err(syntax)?;
        if head.api_version != API_VERSION || head.kind != KIND {
            return Err(ManifestError::Kind { api_version: head.api_version, kind: head.kind });
        }
        serde_yaml::from_str(text).map_err(syntax)
    }
}

#[cfg(test)]
mod tests {
    use super::Manifest;

    const WORDCOUNT: &str = "\
apiVersion: mapreduce.dev/v1alpha1
kind: MapReduceJob
metadata: {name: wordcount}
spec:
  input:
    urls: ['s3://books/texts/']
  map:
    function: {builtin: {name: words}}
  reduce:
    function: {builtin: {name: sum}}
  output: {url: 's3://books/counts/'}
";

    #[test]
    fn the_shortest_manifest_gets_the_documented_defaults() {
        let spec = Manifest::parse(WORDCOUNT).unwrap().spec;
        assert_eq!(spec.input.split_size.0, 128 << 20);
        assert!(spec.input.recursive && spec.input.ignore_hidden && !spec.input.allow_empty);
        assert_eq!(spec.retries, 3);
        assert!(!spec.is_map_only());
    }

    #[test]
    fn an_unknown_field_is_named_with_its_line() {
        let text = WORDCOUNT.replace("  map:", "  mapp:");
        let error = Manifest::parse(&text).unwrap_err().to_string();
        assert!(error.contains("mapp") && error.contains("line 7"), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }

    #[test]
    fn another_kind_of_object_is_refused_by_name() {
        let error = Manifest::parse("apiVersion: v1\nkind: Pod\n").unwrap_err().to_string();
        assert!(error.contains("kind: Pod") && error.contains("mapreduce.dev/v1alpha1"), "{error}");
    }
}
