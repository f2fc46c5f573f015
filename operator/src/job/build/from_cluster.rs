//! What functions of the user's own take from the cluster: values of variables, scripts and components in ConfigMaps.
//!
//! ```text
//!  command.env[].valueFrom                                  ──> variable MAPREDUCE_VALUE_… of the worker ──> the command's
//!  script.sourceFrom.configMapKeyRef, wasm.configMapKeyRef ──> file /etc/mapreduce-scripts/NAME/KEY
//! ```

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{
    ConfigMapProjection, Container, EnvVar, EnvVarSource, KeyToPath, PodSpec, ProjectedVolumeSource, Volume,
    VolumeMount, VolumeProjection,
};
use mapreduce_api::v1alpha1::{ConfigMapKeyRef, Function, Variable, VariableValue};
use mapreduce_api::wire::env;

use crate::job::invalid::{Invalid, parse};

const SCRIPTS_DIR: &str = "/etc/mapreduce-scripts";

/// What the functions of a phase take from the cluster.
#[derive(Clone, Debug, Default)]
pub struct FromCluster {
    /// By the name under which the worker finds them.
    values: BTreeMap<String, EnvVarSource>,
    keys: BTreeSet<ConfigMapKeyRef>,
}

impl FromCluster {
    /// What a function takes, beside what others take.
    pub fn add(&mut self, field: &str, function: Option<&Function>) -> Result<(), Invalid> {
        let Some(function) = function else { return Ok(()) };
        self.keys.extend(function.config_map_key().cloned());
        let Some(command) = &function.command else { return Ok(()) };
        let kind = "list of variables";
        let bad = |message| Invalid::Part { field: field.to_owned(), kind, message };
        for Variable { name, value } in command.variables().map_err(bad)? {
            let VariableValue::From(from) = value else { continue };
            let pod_name = Variable::pod_name(&from);
            let source = parse::<EnvVarSource>(field, kind, Some(&from))?;
            let source = source.ok_or_else(|| bad(format!("valueFrom of `{name}` is empty")))?;
            self.values.insert(pod_name, source);
        }
        Ok(())
    }

    /// What all of them take.
    pub fn all<'a>(phases: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut all = Self::default();
        for Self { values, keys } in phases {
            all.values.extend(values.clone());
            all.keys.extend(keys.clone());
        }
        all
    }

    /// Puts it into the worker's pod.
    pub fn put_into(self, pod: &mut PodSpec, worker: &str) {
        let scripts = self.scripts();
        let Some(worker) = pod.containers.iter_mut().find(|container| container.name == worker) else {
            return;
        };
        let Container { env, volume_mounts, .. } = worker;
        env.get_or_insert_default().extend(self.values.into_iter().map(|(name, from)| EnvVar {
            name,
            value: None,
            value_from: Some(from),
        }));
        let Some(scripts) = scripts else { return };
        env.get_or_insert_default().push(EnvVar {
            name: env::CONFIG_MAPS.to_owned(),
            value: Some(SCRIPTS_DIR.to_owned()),
            value_from: None,
        });
        volume_mounts.get_or_insert_default().push(VolumeMount {
            name: scripts.name.clone(),
            mount_path: SCRIPTS_DIR.to_owned(),
            read_only: Some(true),
            ..VolumeMount::default()
        });
        pod.volumes.get_or_insert_default().push(scripts);
    }

    /// The volume with the scripts, each at `NAME/KEY`.
    fn scripts(&self) -> Option<Volume> {
        let projection = |key: &ConfigMapKeyRef| VolumeProjection {
            config_map: Some(ConfigMapProjection {
                name: key.name.clone(),
                items: Some(vec![KeyToPath {
                    key: key.key.clone(),
                    path: format!("{}/{}", key.name, key.key),
                    mode: None,
                }]),
                // The worker says what is missing; a pod without its volume would wait and say nothing.
                optional: Some(true),
            }),
            ..VolumeProjection::default()
        };
        (!self.keys.is_empty()).then(|| Volume {
            name: "mapreduce-scripts".to_owned(),
            projected: Some(ProjectedVolumeSource {
                sources: Some(self.keys.iter().map(projection).collect()),
                default_mode: None,
            }),
            ..Volume::default()
        })
    }
}
