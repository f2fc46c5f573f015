//! `file:` URLs of a job in pods: only on volumes that outlive the pod. Pure.
//!
//! A pod's own file system goes with the pod: a job that writes there succeeds, and its result is gone. So does one that
//! reads there find what happens to be in the image. Which volumes there are, the pod template says.

use k8s_openapi::api::core::v1::{PodTemplateSpec, Volume};
use mapreduce_api::v1alpha1::MapReduceJobSpec;

use super::build::names::WORKER;

/// What is wrong with the `file:` URLs of a job whose pods of a phase have this template.
pub fn check(
    spec: &MapReduceJobSpec,
    template_path: &str,
    template: Option<&PodTemplateSpec>,
) -> Option<String> {
    let output = ("spec.output.url".to_owned(), spec.output.url.as_str(), true);
    let shuffle = spec.shuffle.url.iter().map(|url| ("spec.shuffle.url".to_owned(), url.as_str(), true));
    let inputs = spec.input.urls.iter().enumerate();
    let inputs = inputs.map(|(i, url)| (format!("spec.input.urls[{i}]"), url.as_str(), false));
    std::iter::once(output).chain(shuffle).chain(inputs).find_map(|(field, url, is_written)| {
        let path = path_of(url)?;
        let stays = mounts(template).any(|(at, read_only, volume)| {
            is_below(&path, at) && outlives_pod(volume) && !(is_written && (read_only || is_read_only(volume)))
        });
        let folder = path.rsplit_once('/').map_or("/", |(folder, _)| if folder.is_empty() { "/" } else { folder });
        let (does, wanted) = if is_written { ("would be written to", "writable volume") } else { ("is in", "volume") };
        (!stays).then(|| {
            format!(
                "{field}: {url} {does} the pod's own files, which are gone with the pod: mount a {wanted} that stays \
                 (a PersistentVolumeClaim, not an emptyDir) at {folder} or above it in the worker container of \
                 {template_path}, or use a bucket"
            )
        })
    })
}

/// The absolute path of a `file:` URL. Relative ones are below the root: pods have no manifest beside them.
fn path_of(url: &str) -> Option<String> {
    let path = match url.split_once(':') {
        Some((scheme, path)) if scheme.eq_ignore_ascii_case("file") => path,
        Some((scheme, rest)) if rest.starts_with("//") && !scheme.contains('/') => return None,
        _ => url,
    };
    let path = path.strip_prefix("//").unwrap_or(path);
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let end = if path.ends_with('/') { "/" } else { "" };
    Some(format!("/{}{end}", parts.join("/")))
}

/// Where the worker has its volumes: path, whether it may only read there, volume.
fn mounts(template: Option<&PodTemplateSpec>) -> impl Iterator<Item = (&str, bool, &Volume)> {
    let pod = template.and_then(|template| template.spec.as_ref());
    let worker = pod.and_then(|pod| pod.containers.iter().find(|container| container.name == WORKER));
    let mounts = worker.and_then(|worker| worker.volume_mounts.as_ref()).into_iter().flatten();
    mounts.filter_map(move |mount| {
        let volume = pod?.volumes.as_ref()?.iter().find(|volume| volume.name == mount.name)?;
        Some((mount.mount_path.as_str(), mount.read_only == Some(true), volume))
    })
}

fn is_below(path: &str, mount: &str) -> bool {
    let mount = mount.trim_end_matches('/');
    path.strip_prefix(mount).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn outlives_pod(volume: &Volume) -> bool {
    // A generic ephemeral volume is a claim that goes with its pod.
    volume.empty_dir.is_none() && volume.ephemeral.is_none()
}

fn is_read_only(volume: &Volume) -> bool {
    volume.config_map.is_some()
        || volume.secret.is_some()
        || volume.projected.is_some()
        || volume.downward_api.is_some()
        || volume.image.is_some()
        || volume.persistent_volume_claim.as_ref().is_some_and(|claim| claim.read_only == Some(true))
}

#[cfg(test)]
mod tests {
    use mapreduce_api::v1alpha1::MapReduceJob;
    use serde_json::{Value, json};

    use crate::job::validate::validate;

    /// What is said of a job with these URLs, whose map and reduce pods have this mount and volume.
    fn said(input: &str, output: &str, shuffle: Option<&str>, mount: &Value, volume: &Value) -> String {
        let mut volume = volume.clone();
        volume["name"] = json!("data");
        let mut mounted = json!({"name": "data", "mountPath": "/data"});
        for (key, value) in mount.as_object().unwrap() {
            mounted[key] = value.clone();
        }
        let template = json!({"spec": {"containers": [{"name": "worker", "volumeMounts": [mounted]}], "volumes": [volume]}});
        let job: MapReduceJob = serde_json::from_value(json!({
            "apiVersion": "mapreduce.dev/v1alpha1", "kind": "MapReduceJob",
            "metadata": {"name": "n", "namespace": "ns", "uid": "u"},
            "spec": {"input": {"urls": [input]}, "output": {"url": output}, "shuffle": {"url": shuffle},
                     "map": {"template": template},
                     "reduce": {"function": {"builtin": {"name": "sum"}}, "template": template}},
        }))
        .unwrap();
        validate(&job).map_or_else(|error| error.to_string(), |_| "accepted".to_owned())
    }

    fn claim() -> Value {
        json!({"persistentVolumeClaim": {"claimName": "c"}})
    }

    #[test]
    fn files_are_taken_on_volumes_that_outlive_the_pod() {
        let (none, claim) = (json!({}), claim());
        for volume in
            [claim.clone(), json!({"hostPath": {"path": "/x"}}), json!({"nfs": {"server": "s", "path": "/"}})]
        {
            for output in ["file:///data/out/", "file:/data/out/", "file:data/out/", "file:///data/a/../out/"]
            {
                assert_eq!(said("s3://b/", output, None, &none, &volume), "accepted", "{output} {volume}");
            }
        }
        assert_eq!(said("file:///data/in/*.txt", "s3://b/o/", None, &none, &claim), "accepted");
        assert_eq!(said("s3://b/", "s3://b/o/", Some("file:///data/t/"), &none, &claim), "accepted");
        let read_only = json!({"readOnly": true});
        assert_eq!(said("file:///data/in/", "s3://b/o/", None, &read_only, &claim), "accepted");
        let words = json!({"configMap": {"name": "words"}});
        assert_eq!(said("file:///data/words", "s3://b/o/", None, &none, &words), "accepted");
        // Nothing of a bucket depends on volumes.
        assert_eq!(
            said("s3://b/", "s3://b/o/", Some("s3://b/t/"), &none, &json!({"emptyDir": {}})),
            "accepted"
        );
    }

    #[test]
    fn files_that_would_be_gone_with_the_pod_are_refused_with_the_remedy() {
        let (none, empty) = (json!({}), json!({"emptyDir": {}}));
        let message = said("s3://b/", "file:///data/out/", None, &none, &empty);
        assert_eq!(
            message,
            "spec.output.url: file:///data/out/ would be written to the pod's own files, which are gone with the pod: mount \
             a writable volume that stays (a PersistentVolumeClaim, not an emptyDir) at /data/out or above it in the \
             worker container of spec.map.template, or use a bucket"
        );
        let claim = claim();
        for (input, output, shuffle, mount, volume, field) in [
            ("s3://b/", "file:///other/", None, &none, &claim, "spec.output.url"),
            ("s3://b/", "file:///database/", None, &none, &claim, "spec.output.url"),
            ("s3://b/", "file:///data/../tmp/", None, &none, &claim, "spec.output.url"),
            ("s3://b/", "out/", None, &none, &claim, "spec.output.url"),
            ("s3://b/", "file:///data/out/", None, &json!({"readOnly": true}), &claim, "spec.output.url"),
            ("s3://b/", "file:///data/out/", None, &none, &json!({"ephemeral": {}}), "spec.output.url"),
            (
                "s3://b/",
                "file:///data/out/",
                None,
                &none,
                &json!({"configMap": {"name": "c"}}),
                "spec.output.url",
            ),
            ("s3://b/", "s3://b/o/", Some("file:///scratch/"), &none, &claim, "spec.shuffle.url"),
            ("file:///etc/", "s3://b/o/", None, &none, &claim, "spec.input.urls[0]"),
            ("file:///data/in/", "s3://b/o/", None, &none, &empty, "spec.input.urls[0]"),
        ] {
            let message = said(input, output, shuffle, mount, volume);
            assert!(message.starts_with(&format!("{field}: ")), "{message}");
        }
    }

    #[test]
    fn every_phase_of_every_step_has_to_have_the_volume() {
        let template = json!({"spec": {
            "containers": [{"name": "worker", "volumeMounts": [{"name": "data", "mountPath": "/data"}]}],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "c"}}],
        }});
        let mut job: MapReduceJob = serde_json::from_value(json!({
            "apiVersion": "mapreduce.dev/v1alpha1", "kind": "MapReduceJob",
            "metadata": {"name": "n", "namespace": "ns", "uid": "u"},
            "spec": {"input": {"urls": ["s3://b/"]}, "output": {"url": "file:///data/out/"}, "steps": [
                {"name": "a", "map": {"template": template}},
                {"name": "b", "map": {"template": template}, "reduce": {"function": {"builtin": {"name": "sum"}}}},
            ]},
        }))
        .unwrap();
        let error = validate(&job).unwrap_err().to_string();
        assert!(error.contains("worker container of spec.steps[1].reduce.template"), "{error}");
        job.spec.steps[1].reduce.as_mut().unwrap().template = Some(template);
        assert!(validate(&job).is_ok());
    }
}
