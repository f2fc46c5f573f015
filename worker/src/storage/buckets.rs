//! The buckets that somebody may see, as their service lists them.

use std::time::Duration;

use http::StatusCode;
use mapreduce_api::v1alpha1::S3Storage;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, AwsAuthorizer};
use object_store::client::{HttpClient, HttpRequest, HttpRequestBody};
use tokio::runtime::Handle;

use super::{explain, idle, keys, profile, s3, tls, unreached, url};
use crate::error::{Error, Result};

/// How long an identity of the machine's own is looked for.
const IDENTITY: Duration = Duration::from_secs(10);

/// Lists the buckets of S3, in the service's order. Credentials are those of the profile, or of the environment.
///
/// # Errors
///
/// Credentials that are missing or refused, a server that can't be reached, an answer that is not a list of buckets.
pub fn s3_buckets(storage: S3Storage, profile: Option<&str>, runtime: &Handle) -> Result<Vec<String>> {
    let builder = s3_builder(storage, profile)?;
    runtime.block_on(list_s3(builder))
}

fn s3_builder(storage: S3Storage, profile: Option<&str>) -> Result<AmazonS3Builder> {
    let named = profile.map(profile::read).transpose()?;
    // The library wants the name of a bucket, though none is asked for.
    let builder = s3::builder("s3://", storage, url::options()?, named.is_some())?.with_bucket_name("none");
    Ok(named.into_iter().fold(builder, |builder, profile| profile.apply(builder)))
}

/// The server that lists the buckets of all regions.
fn s3_server(builder: &AmazonS3Builder) -> (String, String) {
    let value = |key| builder.get_config_value(&key);
    let region = value(AmazonS3ConfigKey::Region).unwrap_or_else(|| "us-east-1".to_owned());
    let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    let server =
        value(AmazonS3ConfigKey::Endpoint).unwrap_or_else(|| format!("https://s3.{region}.{domain}"));
    (server.trim_end_matches('/').to_owned(), region)
}

async fn list_s3(builder: AmazonS3Builder) -> Result<Vec<String>> {
    let (server, region) = s3_server(&builder);
    let is_plain = server.starts_with("http://");
    let limits = s3::limits(is_plain);
    let options = limits.options(url::options()?).with_no_system_certificates(is_plain);
    let failed = |error: &object_store::Error| explain::explain("list", "s3://", "", error);
    let client = tls::client(&options, limits).map_err(|e| failed(&e))?;
    let store = builder.build().map_err(|e| failed(&e))?;
    let (mut buckets, mut token) = (Vec::new(), None::<String>);
    loop {
        let credential = tokio::time::timeout(IDENTITY, store.credentials().get_credential()).await;
        let Ok(Ok(credential)) = credential else { return Err(s3::without_credentials("s3://")) };
        let query = token
            .map(|token| format!("?continuation-token={}", keys::encoded(token, "")))
            .unwrap_or_default();
        let mut request = get(&format!("{server}/{query}"))?;
        AwsAuthorizer::new(&credential, "s3", &region)
            .try_authorize(&mut request, None)
            .map_err(|e| failed(&e))?;
        let page = answer(&client, request, "list the buckets of", &server).await?;
        if !page.contains("<ListAllMyBucketsResult") {
            return Err(Error::permanent(format!("{server} doesn't answer with a list of buckets"))
                .because("name the address of an S3 server, without a bucket"));
        }
        buckets.extend(page.split("<Bucket>").skip(1).filter_map(|bucket| keys::element(bucket, "Name")));
        token = keys::element(&page, "ContinuationToken").filter(|token| !token.is_empty());
        if token.is_none() {
            return Ok(buckets);
        }
    }
}

/// A request without a body.
fn get(uri: &str) -> Result<HttpRequest> {
    http::Request::get(uri)
        .body(HttpRequestBody::empty())
        .map_err(|e| Error::usage(format!("`{uri}` is not an address")).because(e))
}

/// The text of an answer that says yes.
async fn answer(client: &HttpClient, request: HttpRequest, verb: &str, server: &str) -> Result<String> {
    let failure = || Error::retry(format!("can't {verb} {server}"));
    let response =
        idle::execute(client, request).await.map_err(|e| unreached::explained(failure(), server, &e))?;
    let status = response.status();
    let body = response.into_body().bytes().await.map_err(|e| failure().because(e))?;
    let text = String::from_utf8_lossy(&body).into_owned();
    if status == StatusCode::OK {
        return Ok(text);
    }
    let (code, cause) = explain::summarise(&text);
    let cause = if code.is_some() { cause } else { format!("the server answers {status}") };
    if matches!(status, StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED) {
        let refused = format!("can't {verb} {server}: the credentials don't allow it");
        return Err(Error::permanent(refused).because(cause));
    }
    Err(failure().because(cause))
}
