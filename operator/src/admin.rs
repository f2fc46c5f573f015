//! `/livez`, `/readyz`, `/metrics`, and `PUT /log-filter`.
//!
//! Alive says that this process answers and that no pass hangs: an API server that is away is no reason to restart it.
//! Ready says that every watch has delivered its first state.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};

use crate::metrics::Metrics;
use crate::telemetry::Filter;
use crate::watchdog::Watchdog;

/// What the server shows.
#[derive(Clone, Debug)]
pub struct Admin {
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Whether every watch has delivered its first state.
    pub ready: Arc<AtomicBool>,
    /// Passes under way.
    pub watchdog: Arc<Watchdog>,
    /// Changes the log's filter.
    pub filter: Option<Filter>,
}

/// The server's paths.
pub fn router(admin: Admin) -> Router {
    Router::new()
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/log-filter", put(log_filter))
        .with_state(admin)
}

async fn live(State(admin): State<Admin>) -> (StatusCode, String) {
    match admin.watchdog.hangs() {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some(what) => (StatusCode::SERVICE_UNAVAILABLE, format!("{what}\n")),
    }
}

async fn ready(State(admin): State<Admin>) -> (StatusCode, &'static str) {
    if admin.ready.load(Ordering::Relaxed) {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the first lists of jobs have not arrived\n")
    }
}

async fn metrics(State(admin): State<Admin>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match admin.metrics.encode() {
        Ok(text) => ([(header::CONTENT_TYPE, kind)], text).into_response(),
        Err(e) => (StatusCode::INTERNAL_SERVER_ERROR, e.to_string()).into_response(),
    }
}

async fn log_filter(State(admin): State<Admin>, text: String) -> (StatusCode, String) {
    match admin.filter.as_ref().map(|filter| filter.set(text.trim())) {
        Some(Ok(())) => (StatusCode::OK, "ok\n".to_owned()),
        Some(Err(e)) => (StatusCode::BAD_REQUEST, format!("{e:#}\n")),
        None => (StatusCode::NOT_FOUND, "the log's filter is fixed\n".to_owned()),
    }
}
