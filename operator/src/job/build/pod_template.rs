//! The pods of a phase, in three layers: our defaults, the user's template over them, and over both what
//! the worker can't do without. Lists of containers, volumes, mounts and variables are merged by name.

use k8s_openapi::DeepMerge as _;
use k8s_openapi::api::core::v1::{
    Capabilities, ConfigMapVolumeSource, Container, EmptyDirVolumeSource, EnvFromSource, EnvVar,
    EnvVarSource, ExecAction, KeyToPath, LocalObjectReference, ObjectFieldSelector, PodSecurityContext,
    PodSpec, PodTemplateSpec, Probe, ResourceFieldSelector, ResourceRequirements, SeccompProfile,
    SecretEnvSource, SecurityContext, Toleration, Volume, VolumeMount,
};
use kube::api::ObjectMeta;
use mapreduce_api::wire::env;

use super::from_cluster::FromCluster;
use super::names::{Child, DESCRIPTION, WORKER};
use super::{labels, names};
use crate::context::PodDefaults;
use crate::job::validate::{PhasePods, ValidatedJob};

/// The volume with the job's description.
pub const DESCRIPTION_VOLUME: &str = "job";
const BINARY: &str = "/mapreduce-worker";
const INSTALL_DIR: &str = "/mapreduce/bin";
const JOB_DIR: &str = "/etc/mapreduce";
const SCRATCH_DIR: &str = "/scratch";
/// Who pods run as: the `nonroot` of distroless images.
const USER: i64 = 65532;

/// The template of a phase's pods. Plan and cleanup have the settings of the map phase.
pub fn pod_template(job: &ValidatedJob, child: Child, defaults: &PodDefaults) -> PodTemplateSpec {
    let phase = if child == Child::Reduce { &job.reduce } else { &job.map };
    let users = phase.template.clone().unwrap_or_default();
    let users_worker = users.spec.as_ref().and_then(|s| s.containers.iter().find(|c| c.name == WORKER));
    let parts = Parts {
        image: phase
            .image
            .clone()
            .or_else(|| users_worker?.image.clone())
            .unwrap_or_else(|| defaults.image.clone()),
        resources: phase
            .resources
            .clone()
            .or_else(|| users_worker?.resources.clone())
            .unwrap_or_else(|| defaults.resources.clone()),
        users_env_from: users_worker.and_then(|w| w.env_from.clone()).unwrap_or_default(),
        users_scratch: users
            .spec
            .as_ref()
            .and_then(|s| s.volumes.as_ref())
            .is_some_and(|volumes| volumes.iter().any(|v| v.name == "scratch")),
    };
    let mut template = PodTemplateSpec { metadata: None, spec: Some(base(phase, defaults)) };
    template.merge_from(users);
    template.merge_from(required(job, child, phase, &parts, defaults));
    if let Some(pod) = &mut template.spec {
        FromCluster::all(phases(job, child).map(|phase| &phase.from_cluster)).put_into(pod, WORKER);
    }
    if let Some(labels) = template.metadata.as_mut().and_then(|m| m.labels.as_mut()) {
        labels.remove(labels::QUEUE);
        labels.remove(labels::QUEUE_PRIORITY);
    }
    let containers = template.spec.iter_mut().flat_map(|s| s.containers.iter_mut());
    for worker in containers.filter(|c| c.name == WORKER) {
        // A merge adds to resources, and a limit of the template under a request of ours is refused.
        worker.resources = Some(parts.resources.clone());
        worker.readiness_probe = probe(child, worker.command.iter().flatten().next());
    }
    template
}

/// How a pod that waits for its store says so: its worker isn't ready, and an event has its words. What removes data
/// is judged by its pods being ready, and may wait.
fn probe(child: Child, binary: Option<&String>) -> Option<Probe> {
    let asks = [Child::Plan, Child::Map, Child::Reduce].contains(&child);
    binary.filter(|_| asks).map(|binary| Probe {
        exec: Some(ExecAction { command: Some(vec![binary.clone(), "ready".to_owned()]) }),
        period_seconds: Some(20),
        timeout_seconds: Some(5),
        failure_threshold: Some(1),
        ..Probe::default()
    })
}

/// The phases whose functions a pod runs. A plan without input runs those of reduce too.
fn phases(job: &ValidatedJob, child: Child) -> impl Iterator<Item = &PhasePods> {
    let (map, reduce) = match child {
        Child::Plan => (true, true),
        Child::Map => (true, false),
        Child::Reduce => (false, true),
        Child::Report | Child::Cleanup => (false, false),
    };
    map.then_some(&job.map).into_iter().chain(reduce.then_some(&job.reduce))
}

/// What the user's template may have instead.
struct Parts {
    image: String,
    resources: ResourceRequirements,
    users_env_from: Vec<EnvFromSource>,
    users_scratch: bool,
}

/// What a template may override.
fn base(phase: &PhasePods, defaults: &PodDefaults) -> PodSpec {
    let pull_secrets = defaults
        .image_pull_secrets
        .iter()
        .map(|name| LocalObjectReference { name: name.clone() })
        .collect::<Vec<_>>();
    PodSpec {
        automount_service_account_token: Some(false),
        // A namespace with many Services would fill the environment of commands.
        enable_service_links: Some(false),
        tolerations: Some(["not-ready", "unreachable"].map(|taint| until_lost(taint, defaults)).into()),
        image_pull_secrets: Some(pull_secrets).filter(|s| !s.is_empty()),
        service_account_name: phase.service_account.clone().or_else(|| defaults.service_account.clone()),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(USER),
            run_as_group: Some(USER),
            fs_group: Some(USER),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".to_owned(),
                localhost_profile: None,
            }),
            ..PodSecurityContext::default()
        }),
        containers: vec![Container {
            name: WORKER.to_owned(),
            image_pull_policy: Some(defaults.image_pull_policy.clone()),
            security_context: Some(hardened()),
            // The root is read-only, and commands expect to be able to write temporary files.
            env: Some(vec![variable("TMPDIR", SCRATCH_DIR)]),
            ..Container::default()
        }],
        ..PodSpec::default()
    }
}

/// Kubernetes waits for a silent node for five minutes where a pod doesn't say how long.
fn until_lost(taint: &str, defaults: &PodDefaults) -> Toleration {
    Toleration {
        key: Some(format!("node.kubernetes.io/{taint}")),
        operator: Some("Exists".to_owned()),
        effect: Some("NoExecute".to_owned()),
        toleration_seconds: i64::try_from(defaults.lost_node_timeout.as_secs()).ok(),
        value: None,
    }
}

fn hardened() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(true),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
        ..SecurityContext::default()
    }
}

/// What the worker can't do without.
fn required(
    job: &ValidatedJob,
    child: Child,
    phase: &PhasePods,
    parts: &Parts,
    defaults: &PodDefaults,
) -> PodTemplateSpec {
    // Another image has no worker in it: it is brought.
    let brought = parts.image != defaults.image;
    let mut volumes = vec![Volume {
        name: DESCRIPTION_VOLUME.to_owned(),
        config_map: Some(ConfigMapVolumeSource {
            name: names::config_map(&job.name),
            items: Some(vec![KeyToPath {
                key: DESCRIPTION.to_owned(),
                path: DESCRIPTION.to_owned(),
                mode: None,
            }]),
            ..ConfigMapVolumeSource::default()
        }),
        ..Volume::default()
    }];
    if !parts.users_scratch {
        volumes.push(empty_dir("scratch"));
    }
    let mut mounts = vec![mount(DESCRIPTION_VOLUME, JOB_DIR, true), mount("scratch", SCRATCH_DIR, false)];
    let mut init = None;
    if brought {
        volumes.push(empty_dir("mapreduce-bin"));
        mounts.push(mount("mapreduce-bin", INSTALL_DIR, true));
        init = Some(vec![installer(&parts.resources, defaults)]);
    }
    let mut own = labels::common(&job.name, &job.uid, Some(child));
    own.extend(labels::step(job.step_name.as_deref(), child));
    let mut args = vec![child.word().to_owned(), "--job".to_owned(), format!("{JOB_DIR}/{DESCRIPTION}")];
    if let Some(step) = job.step.filter(|_| child != Child::Cleanup) {
        args.extend(["--step".to_owned(), step.to_string()]);
    }
    let binary = if brought { format!("{INSTALL_DIR}{BINARY}") } else { BINARY.to_owned() };
    PodTemplateSpec {
        metadata: Some(ObjectMeta { labels: Some(own), ..ObjectMeta::default() }),
        spec: Some(PodSpec {
            restart_policy: Some("Never".to_owned()),
            service_account_name: phase.service_account.clone(),
            init_containers: init,
            containers: vec![Container {
                name: WORKER.to_owned(),
                image: Some(parts.image.clone()),
                command: Some(vec![binary]),
                args: Some(args),
                env: Some(variables(&parts.resources)),
                env_from: env_from(job, parts),
                volume_mounts: Some(mounts),
                // What a process that could not say its last words has written last.
                termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
                // The worker writes there, whatever a template says.
                termination_message_path: Some("/dev/termination-log".to_owned()),
                ..Container::default()
            }],
            volumes: Some(volumes),
            ..PodSpec::default()
        }),
    }
}

fn installer(resources: &ResourceRequirements, defaults: &PodDefaults) -> Container {
    Container {
        name: "install-worker".to_owned(),
        image: Some(defaults.image.clone()),
        image_pull_policy: Some(defaults.image_pull_policy.clone()),
        command: Some(vec![BINARY.to_owned(), "install".to_owned(), format!("{INSTALL_DIR}{BINARY}")]),
        // A quota may ask it of every container; a pod's request is the larger of the two, so it costs nothing.
        resources: Some(resources.clone()),
        security_context: Some(hardened()),
        volume_mounts: Some(vec![mount("mapreduce-bin", INSTALL_DIR, false)]),
        ..Container::default()
    }
}

pub(super) fn variable(name: &str, value: &str) -> EnvVar {
    EnvVar { name: name.to_owned(), value: Some(value.to_owned()), value_from: None }
}

fn variables(resources: &ResourceRequirements) -> Vec<EnvVar> {
    let field = |name: &str, path: &str| EnvVar {
        name: name.to_owned(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector { field_path: path.to_owned(), api_version: None }),
            ..EnvVarSource::default()
        }),
        value: None,
    };
    let mut variables = vec![
        field(env::ATTEMPT, "metadata.uid"),
        // The Job controller's annotation, on each pod of a Job with a limit per index.
        field(env::FAILED_BEFORE, "metadata.annotations['batch.kubernetes.io/job-index-failure-count']"),
        // Another one of its, of a failure that the policy for pods ignores.
        field(
            env::DISRUPTED_BEFORE,
            "metadata.annotations['batch.kubernetes.io/job-index-ignored-failure-count']",
        ),
        variable(env::SCRATCH, SCRATCH_DIR),
    ];
    // Without a limit this would be the node's memory, which isn't ours.
    if resources.limits.as_ref().is_some_and(|limits| limits.contains_key("memory")) {
        variables.push(EnvVar {
            name: env::MEMORY_LIMIT.to_owned(),
            value_from: Some(EnvVarSource {
                resource_field_ref: Some(ResourceFieldSelector {
                    container_name: Some(WORKER.to_owned()),
                    resource: "limits.memory".to_owned(),
                    divisor: None,
                }),
                ..EnvVarSource::default()
            }),
            value: None,
        });
    }
    variables
}

/// The Secret's keys as variables, beside the template's: this list alone is not merged by itself.
fn env_from(job: &ValidatedJob, parts: &Parts) -> Option<Vec<EnvFromSource>> {
    let mut sources = parts.users_env_from.clone();
    sources.extend(job.secret.as_ref().map(|name| EnvFromSource {
        secret_ref: Some(SecretEnvSource { name: name.clone(), optional: None }),
        ..EnvFromSource::default()
    }));
    Some(sources).filter(|s| !s.is_empty())
}

fn empty_dir(name: &str) -> Volume {
    Volume { name: name.to_owned(), empty_dir: Some(EmptyDirVolumeSource::default()), ..Volume::default() }
}

fn mount(name: &str, path: &str, read_only: bool) -> VolumeMount {
    VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: Some(read_only).filter(|r| *r),
        ..VolumeMount::default()
    }
}
