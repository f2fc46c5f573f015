//! Faults on a real cluster, drawn from a seed: each says what it has hit, or that there was nothing to hit.

pub mod fault;
pub mod node;
pub mod random;
pub mod store;
