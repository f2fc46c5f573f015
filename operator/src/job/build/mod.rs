//! Children made from a validated job. Pure; what could be wrong with a job was found by `validate`.

pub mod from_cluster;
pub mod jobs;
pub mod labels;
pub mod names;
pub mod pod_template;
pub mod revision;

#[cfg(test)]
mod tests;
