//! Whose certificates are trusted.
//!
//! Those that the system trusts, or those of `SSL_CERT_FILE` where it is set. A server's own certificate may be in
//! that file: the library takes certificates there for authorities alone, and refuses as a server's what could be
//! an authority's, as `openssl req -x509` makes it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use object_store::ClientOptions;
use object_store::client::{HttpClient, HttpConnector as _, ReqwestConnector};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::authorities;
use crate::error::{Error, Result};
use crate::machine::variables;

/// What is set of a client beside its certificates.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClientLimits {
    /// Whether it may speak without TLS.
    pub(super) is_plain: bool,
    /// Between two reads.
    pub(super) read: Option<Duration>,
}

/// To connect to a server.
const CONNECT: Duration = Duration::from_secs(5);

impl ClientLimits {
    /// The same for the library's own client.
    pub(super) fn options(self, options: ClientOptions) -> ClientOptions {
        // A large object takes as long as it takes.
        let options =
            options.with_allow_http(self.is_plain).with_connect_timeout(CONNECT).with_timeout_disabled();
        self.read.into_iter().fold(options, ClientOptions::with_read_timeout)
    }
}

/// A client for what may be trusted.
pub(super) fn client(options: &ClientOptions, limits: ClientLimits) -> object_store::Result<HttpClient> {
    match named().filter(|_| !limits.is_plain) {
        None => ReqwestConnector::default().connect(options),
        Some(file) => trusting(&file, limits)
            .map_err(|source| object_store::Error::Generic { store: "TLS", source: Box::new(source) }),
    }
}

/// The file of `SSL_CERT_FILE`.
fn named() -> Option<PathBuf> {
    variables::get("SSL_CERT_FILE").filter(|file| !file.is_empty()).map(PathBuf::from)
}

fn trusting(file: &PathBuf, limits: ClientLimits) -> Result<HttpClient> {
    let what = || format!("can't read the certificates of SSL_CERT_FILE, {}", file.display());
    let fail = |e: &dyn std::fmt::Display| Error::permanent(what()).because(e);
    let certificates: Vec<CertificateDer<'static>> =
        CertificateDer::pem_file_iter(file).and_then(Iterator::collect).map_err(|e| fail(&e))?;
    let mut roots = RootCertStore::empty();
    if let Some(brought) = authorities::file() {
        let brought = CertificateDer::pem_file_iter(brought).map_err(|e| fail(&e))?;
        roots.add_parsable_certificates(brought.filter_map(std::result::Result::ok));
    }
    if roots.add_parsable_certificates(certificates.iter().cloned()).0 == 0 {
        return Err(fail(&"there is none in it"));
    }
    let authorities = WebPkiServerVerifier::builder(Arc::new(roots)).build().map_err(|e| fail(&e))?;
    let config = rustls::ClientConfig::builder()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier { authorities, certificates }))
        .with_no_client_auth();
    let mut builder = reqwest::Client::builder()
        .tls_backend_preconfigured(config)
        .http1_only()
        .https_only(!limits.is_plain)
        .connect_timeout(CONNECT);
    builder = limits.read.into_iter().fold(builder, reqwest::ClientBuilder::read_timeout);
    Ok(HttpClient::new(builder.build().map_err(|e| fail(&e))?))
}

/// Trusts what authorities have signed, and certificates that were named themselves.
#[derive(Debug)]
struct Verifier {
    authorities: Arc<WebPkiServerVerifier>,
    certificates: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified =
            self.authorities.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            // Its dates and names are looked at first: these are errors of their own.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::Other(_) | CertificateError::UnknownIssuer,
            )) if self.certificates.iter().any(|named| named == end_entity) => {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.authorities.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.authorities.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authorities.supported_verify_schemes()
    }
}
