//! How a bucket of S3 is reached: its address, credentials and retries.

use std::time::Duration;

use mapreduce_api::v1alpha1::S3Storage;
use object_store::aws::AmazonS3Builder;
use object_store::{BackoffConfig, ClientOptions, RetryConfig};

use super::tls::ClientLimits;
use crate::error::{Error, Result};
use crate::machine::variables;

/// Where the environment may name the server, the first that is set.
const ENDPOINTS: [&str; 3] = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"];

/// What makes the client of the bucket whose URLs begin with `base`. Keys that are still to be set are not asked for.
pub(super) fn builder(
    base: &str,
    storage: S3Storage,
    options: ClientOptions,
    has_keys: bool,
) -> Result<AmazonS3Builder> {
    let S3Storage { endpoint, region, secret_ref: _ } = storage;
    let bucket = base.trim_start_matches("s3://").trim_end_matches('/');
    let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket).with_retry(retry());
    let from_environment =
        || ENDPOINTS.iter().find_map(|name| Some(((*name).to_owned(), variables::text(name)?)));
    let named = endpoint.map(|endpoint| (FIELD.to_owned(), endpoint)).or_else(from_environment);
    let is_plain = named.as_ref().is_some_and(|(_, endpoint)| endpoint.starts_with("http://"));
    if let Some((name, endpoint)) = named {
        check_endpoint(&name, &endpoint)?;
        builder = builder.with_endpoint(endpoint);
        if !has_keys && variables::get("AWS_ACCESS_KEY_ID").is_none() && !has_identity() {
            return Err(without_credentials(base));
        }
    }
    if let Some(region) = region {
        builder = builder.with_region(region);
    }
    // No certificate is looked at where no TLS is spoken, so that an image without certificate
    // authorities will do: with them the client can't be made where there are none.
    let options = limits(is_plain).options(options).with_no_system_certificates(is_plain);
    Ok(builder.with_client_options(options))
}

/// The error of who has no keys.
pub(super) fn without_credentials(base: &str) -> Error {
    Error::permanent(format!("there are no credentials for {base}")).because(
        "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment, or storage.s3.secretRef for pods",
    )
}

/// Whoever makes requests gives up those that stand still: a limit of reads alone would end those that are being sent.
pub(super) fn limits(is_plain: bool) -> ClientLimits {
    ClientLimits { is_plain, read: None }
}

/// The field that names the server.
const FIELD: &str = "spec.storage.s3.endpoint";

/// Checks the manifest's address of a server.
pub(crate) fn check(storage: &S3Storage) -> Result<()> {
    storage.endpoint.as_ref().map_or(Ok(()), |endpoint| check_endpoint(FIELD, endpoint))
}

fn check_endpoint(name: &str, endpoint: &str) -> Result<()> {
    let wrong =
        |why: &str, remedy: &str| Err(Error::usage(format!("{name}: `{endpoint}` {why}")).because(remedy));
    let remedy = "write http:// or https://, the host, and its port where it has one, as http://minio:9000";
    if !endpoint.starts_with("http://") && !endpoint.starts_with("https://") {
        let rest = endpoint.trim_start_matches('/');
        let plain = !rest.is_empty() && !rest.contains("://");
        let remedy = if plain {
            format!("write http://{rest}, or https://{rest} where it speaks TLS")
        } else {
            remedy.into()
        };
        return wrong("has no scheme", &remedy);
    }
    match url::Url::parse(endpoint) {
        Err(error) => wrong(&format!("is not valid: {error}"), remedy),
        Ok(url) if url.query().is_some() || url.fragment().is_some() => {
            wrong("holds more than an address", remedy)
        }
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            wrong("holds a user's name or password", "give credentials in the environment or by secretRef")
        }
        Ok(_) => Ok(()),
    }
}

/// Whether the environment names an identity that `object_store` can ask for credentials.
fn has_identity() -> bool {
    [
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    ]
    .iter()
    .any(|name| variables::get(name).is_some())
}

fn retry() -> RetryConfig {
    RetryConfig { backoff: BackoffConfig::default(), max_retries: 8, retry_timeout: Duration::from_mins(1) }
}

#[cfg(test)]
mod tests {
    use super::check_endpoint;
    use crate::error::ErrorKind;

    #[test]
    fn an_address_without_a_scheme_is_a_usage_error_with_the_remedy() {
        for (endpoint, remedy) in [
            ("minio:9000", "write http://minio:9000, or https://minio:9000"),
            ("localhost", "write http://localhost, or"),
            ("//minio:9000", "write http://minio:9000, or"),
            ("s3://minio", "as http://minio:9000"),
            ("http://", "as http://minio:9000"),
            ("https://h:99999", "as http://minio:9000"),
            ("http://h/?x=1", "as http://minio:9000"),
            ("http://me:secret@h", "in the environment"),
            ("", "as http://minio:9000"),
        ] {
            let error = check_endpoint("AWS_ENDPOINT_URL", endpoint).unwrap_err();
            assert!(error.to_string().starts_with(&format!("AWS_ENDPOINT_URL: `{endpoint}` ")), "{error}");
            assert!(error.causes()[0].contains(remedy), "{endpoint}: {:?}", error.causes());
            assert_eq!(error.kind(), ErrorKind::Usage);
        }
        for endpoint in
            ["http://minio:9000", "https://s3.example.com/prefix", "http://[::1]:9000", "http://h/"]
        {
            check_endpoint("", endpoint).unwrap();
        }
    }
}
