//! Signatures of requests (AWS Signature Version 4), made again from what has arrived.

use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::crypto::tls13::OkmBlock;

use super::Request;

/// The primitives come with TLS: this cipher suite's own.
fn sha256(bytes: &[u8]) -> String {
    let suite = TLS13_AES_128_GCM_SHA256.tls13().unwrap();
    hex(suite.common.hash_provider.hash(bytes).as_ref())
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let suite = TLS13_AES_128_GCM_SHA256.tls13().unwrap();
    suite.hkdf_provider.hmac_sign(&OkmBlock::new(key), text.as_bytes()).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
}

fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect::<Vec<_>>().concat()
}

/// Whether a request is signed with this secret.
pub fn is_right(request: &Request, secret: &str) -> bool {
    let header = |name: &str| request.headers.get(name).map(String::as_str).unwrap_or_default();
    let authorization = header("authorization");
    let field = |name: &str| {
        let (_, rest) = authorization.split_once(name)?;
        Some(rest.split(',').next().unwrap_or_default().trim())
    };
    let fields = (field("Credential="), field("SignedHeaders="), field("Signature="));
    let (Some(credential), Some(signed), Some(signature)) = fields else { return false };
    let Some((_, scope)) = credential.split_once('/') else { return false };
    let headers: Vec<String> = signed.split(';').map(|name| format!("{name}:{}\n", header(name))).collect();
    let query: Vec<String> =
        request.query.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
    let path = request.target.split('?').next().unwrap_or_default();
    let (method, digest) = (&request.method, header("x-amz-content-sha256"));
    if digest.len() == 64 && digest != sha256(&request.body) {
        return false;
    }
    let canonical =
        format!("{method}\n{path}\n{}\n{}\n{signed}\n{digest}", query.join("&"), headers.concat());
    let text =
        format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{}", header("x-amz-date"), sha256(canonical.as_bytes()));
    let key = scope.split('/').fold(format!("AWS4{secret}").into_bytes(), |key, part| hmac(&key, part));
    hex(&hmac(&key, &text)) == signature
}
