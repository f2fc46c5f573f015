//! Children made from a validated job. Pure; what could be wrong with a job was found by `validate`.

pub mod config_map;
pub mod from_cluster;
pub mod jobs;
pub mod labels;
pub mod names;
pub mod pod_template;

#[cfg(test)]
mod tests;
