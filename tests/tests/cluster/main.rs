//! The operator, the worker and the chart on a real Kubernetes: see `tests/cluster/README.md`.
//!
//! ```sh
//! eval "$(tests/cluster/up)" && images/build --contexts target/images
//! tests/cluster/load localhost/mapreduce-operator:0.1.0 target/images/operator \
//!                    localhost/mapreduce-worker:0.1.0 target/images/worker
//! cargo test -p mapreduce-tests --features cluster
//! ```

mod bad_input;
mod black_hole;
mod deletion;
mod latency;
mod lifecycle;
mod limits;
mod lost_node;
mod mended;
mod operator_killed;
mod own_functions;
mod pods_killed;
mod replicas;
mod sidecars;
mod small_jobs;
mod steps;
mod watch_modes;
mod word_count;
