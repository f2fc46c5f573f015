//! The HTTP client below `object_store`: it puts keys in the place of their stand-ins, and signs such requests anew.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use object_store::aws::{AwsAuthorizer, AwsCredentialProvider};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
};
use object_store::{ClientConfigKey, ClientOptions};

use super::outage::Outage;
use super::uploads::{self, AsksForUploads};
use super::{idle, keys, s3, tls, unreached};
use crate::machine::clock;

/// What a bucket's credentials come from, known once its client is made.
pub(super) type Credentials = Arc<OnceLock<AwsCredentialProvider>>;

tokio::task_local! {
    /// The condition of requests that the library has no option for: `If-None-Match: *`, or `If-Match` and an ETag.
    pub(super) static CONDITION: (HeaderName, HeaderValue);
}

/// Makes clients that put keys in the place of their stand-ins.
#[derive(Debug)]
pub(super) struct RawKeysConnector {
    /// In the place of one that is made.
    pub(super) client: Option<HttpClient>,
    pub(super) credentials: Credentials,
    pub(super) outage: Arc<Outage>,
}

impl HttpConnector for RawKeysConnector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let is_plain =
            options.get_config_value(&ClientConfigKey::AllowHttp).is_some_and(|text| text == "true");
        let client = match &self.client {
            Some(client) => client.clone(),
            None => tls::client(options, s3::limits(is_plain))?,
        };
        let (credentials, outage) = (Arc::clone(&self.credentials), Arc::clone(&self.outage));
        Ok(HttpClient::new(RawKeys { client, credentials, outage }))
    }
}

#[derive(Debug)]
struct RawKeys {
    client: HttpClient,
    credentials: Credentials,
    outage: Arc<Outage>,
}

impl HttpService for RawKeys {
    fn call<'a, 'b>(
        &'a self,
        request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(self.execute(request))
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the server's listing is not valid UTF-8")]
struct ListingNotUtf8;

#[derive(Debug, thiserror::Error)]
#[error("a request can't be signed: there are no credentials")]
struct NoCredentials;

/// The error of an answer, or of a request, that asking again can't mend.
fn final_error(error: impl std::error::Error + Send + Sync + 'static) -> HttpError {
    HttpError::new(HttpErrorKind::Decode, error)
}

impl RawKeys {
    async fn execute(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let is_list = request.uri().query().is_some_and(|query| query.contains("list-type=2"));
        let of_uploads = request.extensions().get::<AsksForUploads>().is_some();
        let uri = if of_uploads { uploads::request(request.uri()) } else { keys::with_key(request.uri()) };
        if let Some(uri) = uri {
            *request.uri_mut() = uri;
            self.sign(&mut request).await?;
        }
        let condition = CONDITION.try_with(Clone::clone).ok();
        let is_special = of_uploads || condition.is_some();
        request.headers_mut().extend(condition);
        let asked = clock::now();
        let mut response = idle::execute(&self.client, request).await.map_err(|error| {
            if unreached::is_final(&error) {
                // Asking again can't mend it.
                return HttpError::new(HttpErrorKind::Unknown, error);
            }
            if matches!(error.kind(), HttpErrorKind::Connect | HttpErrorKind::Timeout) {
                // The library is about to ask again for some seconds: nobody should wonder meanwhile.
                self.outage.is_away(asked, &unreached::cause(&error));
            }
            if error.kind() == HttpErrorKind::Unknown && unreached::is_lost(&error) {
                return HttpError::new(HttpErrorKind::Interrupted, error);
            }
            error
        })?;
        if is_special && response.status() == StatusCode::NOT_IMPLEMENTED {
            // The library would ask again and again, as of a server that fails.
            *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        }
        if !is_list || response.status() != StatusCode::OK {
            return Ok(response);
        }
        let (mut head, body) = response.into_parts();
        let body = String::from_utf8(body.bytes().await?.into()).map_err(|_| final_error(ListingNotUtf8))?;
        let body = if of_uploads {
            uploads::as_objects(&body).map_err(final_error)?
        } else {
            keys::with_stand_ins(&body).map_err(final_error)?
        };
        head.headers.remove(http::header::CONTENT_LENGTH);
        Ok(HttpResponse::from_parts(head, bytes::Bytes::from(body).into()))
    }

    /// Signs a request anew, as it was signed for the stand-in.
    async fn sign(&self, request: &mut HttpRequest) -> Result<(), HttpError> {
        let text = |headers: &HeaderMap, name: &str| Some(headers.get(name)?.to_str().ok()?.to_owned());
        let Some(old) = text(request.headers(), AUTHORIZATION.as_str()) else { return Ok(()) };
        let provider = self.credentials.get().ok_or_else(|| final_error(NoCredentials))?;
        let credential =
            provider.get_credential().await.map_err(|e| HttpError::new(HttpErrorKind::Unknown, e))?;
        // AWS4-HMAC-SHA256 Credential=ID/20261128/us-east-1/s3/aws4_request, …
        let mut scope = old.split(',').next().unwrap_or_default().rsplit('/').skip(1);
        let (service, region) = (scope.next().unwrap_or("s3"), scope.next().unwrap_or("us-east-1"));
        let digest =
            text(request.headers(), "x-amz-content-sha256").and_then(|digest| keys::from_hex(&digest));
        request.headers_mut().remove(AUTHORIZATION);
        AwsAuthorizer::new(&credential, service, region)
            .with_sign_payload(digest.is_some())
            .try_authorize(request, digest.as_deref())
            .map_err(|e| HttpError::new(HttpErrorKind::Unknown, e))
    }
}
