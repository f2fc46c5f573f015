//! The `MapReduceJob` resource, and the messages that the operator and its workers exchange.
//!
//! ```text
//!  manifest (YAML) ──> v1alpha1::MapReduceJobSpec ──> wire::JobFile ──> plan pod ──> plan.json (in the bucket)
//!                             │                                                        │
//!                             │ feature `crd`                                           v
//!                             v                                              map and reduce pods
//!                       the CRD, its status  <── operator <── wire::Termination (≤ 4,096 bytes each)
//! ```
//!
//! Without features this crate has no Kubernetes types and no runtime: workers link it.
//! `crd` adds the resource and its status for the operator, `cel` the validation of a manifest
//! as the API server would do it.

#![warn(missing_docs, missing_debug_implementations, unreachable_pub)]
#![warn(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods)]
#![cfg_attr(
    feature = "crd",
    allow(unreachable_pub, reason = "KubeSchema copies each struct into a private scope")
)]

pub mod ids;
pub mod manifest;
#[cfg(feature = "crd")]
mod open_schema;
pub mod quantity;
pub mod v1alpha1;
pub mod wire;

#[cfg(feature = "cel")]
pub mod validate;

/// The CRD as `crdgen` writes it and the chart installs it.
pub const CRD_YAML: &str = include_str!("../generated/mapreducejobs.yaml");
