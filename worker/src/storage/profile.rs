//! A profile of AWS' shared files: `~/.aws/credentials` and `~/.aws/config`, or where `AWS_SHARED_CREDENTIALS_FILE` and
//! `AWS_CONFIG_FILE` say.
//!
//! The format: <https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html>.

use std::path::PathBuf;

use object_store::aws::AmazonS3Builder;

use crate::error::{Error, Result};
use crate::machine::variables;

/// What a profile says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Profile {
    key_id: String,
    secret: String,
    token: Option<String>,
    region: Option<String>,
}

impl Profile {
    /// Sets what it says; a region that is set stays.
    pub(super) fn apply(self, builder: AmazonS3Builder) -> AmazonS3Builder {
        use object_store::aws::AmazonS3ConfigKey::Region;
        let has_region = builder.get_config_value(&Region).is_some();
        let builder = builder.with_access_key_id(self.key_id).with_secret_access_key(self.secret);
        let builder = self.token.into_iter().fold(builder, AmazonS3Builder::with_token);
        self.region.filter(|_| !has_region).into_iter().fold(builder, AmazonS3Builder::with_region)
    }
}

/// Reads the profile of this name.
pub(super) fn read(name: &str) -> Result<Profile> {
    let home = || variables::get("HOME").map(PathBuf::from).unwrap_or_default().join(".aws");
    let file = |variable: &str, default: &str| {
        variables::get(variable).map_or_else(|| home().join(default), PathBuf::from)
    };
    let path = file("AWS_SHARED_CREDENTIALS_FILE", "credentials");
    let credentials = std::fs::read_to_string(&path)
        .map_err(|e| Error::usage(format!("can't read {}", path.display())).because(e))?;
    let config = std::fs::read_to_string(file("AWS_CONFIG_FILE", "config")).unwrap_or_default();
    profile(name, &credentials, &config).map_err(|missing| {
        Error::usage(format!("profile {name} in {} has no {missing}", path.display())).because(
            "only profiles with keys of their own are read: for others set the environment's variables",
        )
    })
}

/// The profile, or what it lacks.
fn profile(name: &str, credentials: &str, config: &str) -> std::result::Result<Profile, &'static str> {
    let of_config = if name == "default" { name.to_owned() } else { format!("profile {name}") };
    let value = |key| value(credentials, name, key).or_else(|| value(config, &of_config, key));
    Ok(Profile {
        key_id: value("aws_access_key_id").ok_or("aws_access_key_id")?,
        secret: value("aws_secret_access_key").ok_or("aws_secret_access_key")?,
        token: value("aws_session_token"),
        region: value("region"),
    })
}

/// A setting of a section.
fn value(text: &str, section: &str, key: &str) -> Option<String> {
    let mut is_in = false;
    for line in text.lines() {
        // What is indented belongs to the setting before.
        let Some((name, value)) = line.split_once('=').filter(|_| !line.starts_with([' ', '\t', '#', ';']))
        else {
            if let Some(name) = line.trim().strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                is_in = name.trim() == section;
            }
            continue;
        };
        if is_in && name.trim() == key {
            return Some(value.trim().to_owned());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{Profile, profile};

    #[test]
    fn a_profile_s_keys_and_region_are_found_in_both_files() {
        let credentials = "# mine\n[default]\naws_access_key_id = A\naws_secret_access_key=B=\n\n[ work ]\n\
                           aws_access_key_id=C\naws_secret_access_key = D\naws_session_token = E\n";
        let config =
            "[default]\nregion = eu-north-1\n[profile work]\ns3 =\n  region = no\nregion=eu-west-1\n";
        let made = |key_id: &str, secret: &str, token: Option<&str>, region: &str| Profile {
            key_id: key_id.into(),
            secret: secret.into(),
            token: token.map(Into::into),
            region: Some(region.into()),
        };
        assert_eq!(profile("default", credentials, config), Ok(made("A", "B=", None, "eu-north-1")));
        assert_eq!(profile("work", credentials, config), Ok(made("C", "D", Some("E"), "eu-west-1")));
        assert_eq!(profile("none", credentials, config), Err("aws_access_key_id"));
        assert_eq!(profile("x", "[x]\naws_access_key_id=A", ""), Err("aws_secret_access_key"));
    }
}
