//! `/livez`, `/readyz`, `/metrics`, and `PUT /log-filter`.
//!
//! Alive says that this process answers and that no pass hangs: it is not restarted because the API server is away.
//! Ready says that every watch has delivered its first state; of a replica that stands by, that it can read the lease.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use tokio::net::TcpListener;

use crate::metrics::Metrics;
use crate::telemetry::Filter;
use crate::watchdog::Watchdog;

/// What the server shows.
#[derive(Clone, Debug)]
pub struct Admin {
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Whether every watch has delivered its first state, or the lease could be read.
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

/// Listens; on IPv4 alone where the address is all of IPv6, and this machine has none.
pub async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    match TcpListener::bind(address).await {
        Err(error) if is_without_ipv6(&error) && address.ip() == Ipv6Addr::UNSPECIFIED => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        bound => bound,
    }
}

/// Whether an address was refused because there is no IPv6: `EAFNOSUPPORT` where the kernel has none, and
/// `EADDRNOTAVAIL` where it is switched off.
fn is_without_ipv6(error: &io::Error) -> bool {
    const EAFNOSUPPORT: i32 = 97;
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(EAFNOSUPPORT)
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
        (StatusCode::SERVICE_UNAVAILABLE, "neither the first lists of jobs nor the lease have arrived\n")
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

#[cfg(test)]
mod tests {
    use std::io;
    use std::net::{Ipv4Addr, Ipv6Addr};

    use tokio::net::TcpStream;

    use super::{is_without_ipv6, listen};

    #[tokio::test]
    async fn the_default_address_is_reached_by_ipv4_and_where_there_is_one_by_ipv6() {
        let listener = listen((Ipv6Addr::UNSPECIFIED, 0).into()).await.unwrap();
        let address = listener.local_addr().unwrap();
        TcpStream::connect((Ipv4Addr::LOCALHOST, address.port())).await.unwrap();
        if address.is_ipv6() {
            TcpStream::connect((Ipv6Addr::LOCALHOST, address.port())).await.unwrap();
        }
    }

    #[test]
    fn only_a_machine_without_ipv6_listens_on_ipv4_alone() {
        for (number, expected) in [(97, true), (99, true), (98, false), (13, false)] {
            assert_eq!(is_without_ipv6(&io::Error::from_raw_os_error(number)), expected, "{number}");
        }
    }

    #[tokio::test]
    async fn an_address_that_is_taken_is_an_error() {
        let taken = listen((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
        let again = listen(taken.local_addr().unwrap()).await.unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AddrInUse);
    }
}
