//! A manifest as a user writes it: YAML or JSON. Beside the job a file may hold other objects, such as
//! a Secret, as other documents; these are for `kubectl` and are read past.

mod documents;
mod nesting;

use std::collections::BTreeMap;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::documents::{Head, syntax};
pub use self::documents::{MAX_BYTES, document};
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
#[serde(rename_all = "camelCase", deny_unknown_fields)]
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
    #[serde(skip_serializing, default)]
    generate_name: IgnoredAny,
    #[serde(skip_serializing, default)]
    finalizers: IgnoredAny,
    #[serde(skip_serializing, default)]
    owner_references: IgnoredAny,
    // What the API server adds.
    #[serde(skip_serializing, default)]
    creation_timestamp: IgnoredAny,
    #[serde(skip_serializing, default)]
    deletion_grace_period_seconds: IgnoredAny,
    #[serde(skip_serializing, default)]
    deletion_timestamp: IgnoredAny,
    #[serde(skip_serializing, default)]
    generation: IgnoredAny,
    #[serde(skip_serializing, default)]
    managed_fields: IgnoredAny,
    #[serde(skip_serializing, default)]
    resource_version: IgnoredAny,
    #[serde(skip_serializing, default)]
    self_link: IgnoredAny,
    #[serde(skip_serializing, default)]
    uid: IgnoredAny,
}

/// Why a text is not a manifest: one line, with the field and its line where the text has one.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// YAML, or a field.
    #[error("{0}")]
    Syntax(String),
    /// Another kind of object.
    #[error(
        "apiVersion: {api_version}, kind: {kind} is not a MapReduceJob: write apiVersion: {API_VERSION}, kind: {KIND}"
    )]
    Kind {
        /// What it says.
        api_version: String,
        /// What it says.
        kind: String,
    },
    /// Which of them is meant can't be told.
    #[error("the file has {0} MapReduceJobs: write one in each file")]
    Several(usize),
    /// Nothing but comments and marks.
    #[error("there is no document in it: write a {KIND}")]
    Empty,
    /// More than it may have.
    #[error(
        "the file has {documents} documents, and at most {most} are read: write the job in a file of its own"
    )]
    TooMany {
        /// How many it has.
        documents: usize,
        /// How many it may have.
        most: usize,
    },
    /// Lists in lists in lists.
    #[error("its brackets are nested too deep")]
    TooDeep,
    /// More bytes than it may have.
    #[error("the file is larger than {} MiB, which no API server would take: move what is large to a URL", .0 >> 20)]
    TooLarge(usize),
}

impl Manifest {
    /// Reads a manifest. Unknown fields are an error that names the field and its line.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        let text = &*document(text)?;
        let head: Head = serde_yaml::from_str(text).map_err(|e| syntax(&e))?;
        if head.api_version != API_VERSION || head.kind != KIND {
            return Err(ManifestError::Kind { api_version: head.api_version, kind: head.kind });
        }
        serde_yaml::from_str(text).map_err(|e| syntax(&e))
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
    fn metadata_of_a_cluster_is_read_past_and_what_is_none_is_not() {
        let text =
            WORDCOUNT.replace("{name: wordcount}", "{name: wordcount, uid: x, managedFields: [{a: b}]}");
        assert_eq!(Manifest::parse(&text).unwrap(), Manifest::parse(WORDCOUNT).unwrap());
        let text = WORDCOUNT.replace("{name: wordcount}", "{name: wordcount, label: {a: b}}");
        let error = Manifest::parse(&text).unwrap_err().to_string();
        assert!(error.contains("label") && error.contains("line 3"), "{error}");
    }

    #[test]
    fn other_documents_are_read_past_and_lines_keep_their_numbers() {
        let secret = "# Keys.\napiVersion: v1\nkind: Secret\nstringData: {a: b}\n";
        for text in [format!("{secret}---\n{WORDCOUNT}"), format!("---\n{WORDCOUNT}---\n{secret}---\n")] {
            assert_eq!(Manifest::parse(&text).unwrap(), Manifest::parse(WORDCOUNT).unwrap(), "{text}");
        }
        let text = format!("{secret}---\n{}", WORDCOUNT.replace("  map:", "  mapp:"));
        let error = Manifest::parse(&text).unwrap_err().to_string();
        assert!(error.contains("line 12"), "{error}");
        let error = Manifest::parse(&format!("{WORDCOUNT}---\n{WORDCOUNT}")).unwrap_err().to_string();
        assert_eq!(error, "the file has 2 MapReduceJobs: write one in each file");
        let error = Manifest::parse(secret).unwrap_err().to_string();
        assert!(error.contains("kind: Secret is not a MapReduceJob"), "{error}");
    }

    #[test]
    fn another_kind_of_object_is_refused_by_name() {
        let error = Manifest::parse("apiVersion: v1\nkind: Pod\n").unwrap_err().to_string();
        assert!(error.contains("kind: Pod") && error.contains("mapreduce.dev/v1alpha1"), "{error}");
    }
}
