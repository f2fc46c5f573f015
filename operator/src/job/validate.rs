//! A job with its open parts parsed: after this, building its children can't fail.

use k8s_openapi::api::core::v1::{PodTemplateSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource as _, ResourceExt as _};
use mapreduce_api::v1alpha1::{self, Function, MapReduceJob, Phases};
use serde_json::Value;

use super::build::from_cluster::FromCluster;
use super::file_urls;
use super::invalid::{Invalid, parse};
use super::steps::{self, CurrentStep};

/// A job whose children can be built.
#[derive(Clone, Debug)]
pub struct ValidatedJob {
    /// The name.
    pub name: String,
    /// The UID: the run's id.
    pub uid: String,
    /// The number of the step that it is at, from 1, in a job with steps.
    pub step: Option<i32>,
    /// The step's name.
    pub step_name: Option<String>,
    /// A Secret whose keys become variables of the pods.
    pub secret: Option<String>,
    /// Pods of the step's plan and map, and of the cleanup.
    pub map: PhasePods,
    /// Pods of the step's reduce.
    pub reduce: PhasePods,
}

/// How the pods of a phase differ from the operator's defaults.
#[derive(Clone, Debug, Default)]
pub struct PhasePods {
    /// What they are made from.
    pub template: Option<PodTemplateSpec>,
    /// Of the worker container.
    pub resources: Option<ResourceRequirements>,
    /// The worker container's image.
    pub image: Option<String>,
    /// Whom they are to the cloud.
    pub service_account: Option<String>,
    /// Most at once.
    pub parallelism: Option<i32>,
    /// What its functions take from the cluster.
    pub from_cluster: FromCluster,
}

/// Parses what the schema leaves open.
pub fn validate(job: &MapReduceJob) -> Result<ValidatedJob, Invalid> {
    let spec = &job.spec;
    // A later step's fault is told before the first one runs for hours.
    steps::all(spec).try_for_each(|step| {
        check_combine(step)?;
        let (map, reduce) = pods_of(step)?;
        let reduce = step.phases().reduce.map(|_| ("reduce", reduce));
        std::iter::once(("map", map)).chain(reduce).try_for_each(|(phase, pods)| {
            let template = format!("{}.{phase}.template", step.path());
            match file_urls::check(spec, &template, pods.template.as_ref()) {
                None => Ok(()),
                Some(message) => Err(Invalid::Files(message)),
            }
        })
    })?;
    parsed(job, steps::at(job))
}

/// A step of a job with its open parts parsed.
pub fn parsed(job: &MapReduceJob, step: CurrentStep<'_>) -> Result<ValidatedJob, Invalid> {
    let (map, reduce) = pods_of(step)?;
    let s3 = job.spec.storage.s3.as_ref();
    Ok(ValidatedJob {
        name: job.name_any(),
        uid: job.uid().unwrap_or_default(),
        step: step.number(),
        step_name: step.phases().name.map(str::to_owned),
        secret: s3.and_then(|s3| s3.secret_ref.as_ref()).map(|secret| secret.name.clone()),
        map,
        reduce,
    })
}

/// The rule on combine functions that the CRD's can't say whole.
fn check_combine(step: CurrentStep<'_>) -> Result<(), Invalid> {
    let Phases { combine: Some(combine), reduce, .. } = step.phases() else { return Ok(()) };
    let reduce = reduce.and_then(|reduce| reduce.function.as_ref());
    v1alpha1::check_combine(&combine.function, reduce)
        .map_err(|message| Invalid::Combine { field: format!("{}.combine.function", step.path()), message })
}

/// The map pods of a step, and its reduce pods.
fn pods_of(step: CurrentStep<'_>) -> Result<(PhasePods, PhasePods), Invalid> {
    let (Phases { map, combine, reduce, .. }, path) = (step.phases(), step.path());
    let template = |phase: &str, value: &Option<Value>| {
        parse(&format!("{path}.{phase}.template"), "PodTemplateSpec", value.as_ref())
    };
    let resources = |phase: &str, value: &Option<Value>| {
        parse(&format!("{path}.{phase}.resources"), "ResourceRequirements", value.as_ref())
    };
    // A phase's function, and the combine function, which runs in both phases.
    let taken = |phase: &str, function: Option<&Function>| {
        let mut taken = FromCluster::default();
        taken.add(&format!("{path}.{phase}.function"), function)?;
        taken.add(&format!("{path}.combine.function"), combine.map(|combine| &combine.function))?;
        Ok(taken)
    };
    let map = PhasePods {
        template: template("map", &map.template)?,
        resources: resources("map", &map.resources)?,
        image: map.image.clone(),
        service_account: map.service_account_name.clone(),
        parallelism: map.parallelism,
        from_cluster: taken("map", map.function.as_ref())?,
    };
    let reduce = match reduce {
        None => PhasePods::default(),
        Some(reduce) => PhasePods {
            template: template("reduce", &reduce.template)?,
            resources: resources("reduce", &reduce.resources)?,
            image: reduce.image.clone(),
            service_account: reduce.service_account_name.clone(),
            parallelism: reduce.parallelism,
            from_cluster: taken("reduce", reduce.function.as_ref())?,
        },
    };
    Ok((map, reduce))
}

/// The reference to a job that its children carry.
pub fn owner(job: &MapReduceJob) -> OwnerReference {
    OwnerReference {
        api_version: MapReduceJob::api_version(&()).into_owned(),
        kind: MapReduceJob::kind(&()).into_owned(),
        name: job.name_any(),
        uid: job.uid().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

#[cfg(test)]
mod tests {
    use mapreduce_api::v1alpha1::MapReduceJob;
    use serde_json::{Value, json};

    use super::validate;

    fn job(map: &Value) -> MapReduceJob {
        serde_json::from_value(json!({
            "apiVersion": "mapreduce.dev/v1alpha1", "kind": "MapReduceJob",
            "metadata": {"name": "n", "namespace": "ns", "uid": "u"},
            "spec": {"input": {"urls": ["s3://b/"]}, "map": map, "output": {"url": "s3://b/out/"}},
        }))
        .unwrap()
    }

    #[test]
    fn a_template_of_the_wrong_type_is_refused_by_its_field() {
        let error =
            validate(&job(&json!({"template": {"spec": {"containers": 3}}}))).unwrap_err().to_string();
        assert!(error.starts_with("spec.map.template is not a valid PodTemplateSpec: "), "{error}");
    }

    #[test]
    fn a_typo_deep_in_a_template_is_refused_by_its_path() {
        let template =
            json!({"spec": {"containers": [{"name": "worker", "env": [{"name": "A", "valeu": "1"}]}]}});
        let error = validate(&job(&json!({"template": template}))).unwrap_err().to_string();
        assert!(error.ends_with("unknown field spec.containers[0].env[0].valeu"), "{error}");
    }

    #[test]
    fn a_fault_of_any_step_is_refused_by_its_field() {
        let steps = json!([{"name": "a"}, {"name": "b", "map": {"template": {"spec": 3}}}]);
        let mut job = job(&json!({}));
        job.spec.steps = serde_json::from_value(steps).unwrap();
        let error = validate(&job).unwrap_err().to_string();
        assert!(error.starts_with("spec.steps[1].map.template is not a valid PodTemplateSpec: "), "{error}");
    }

    #[test]
    fn a_combine_function_that_changes_the_result_is_refused_in_any_step() {
        let top = |n: u32| json!({"function": {"builtin": {"name": "top", "args": {"n": n}}}});
        let mut job = job(&json!({}));
        let steps = json!([{"name": "a"}, {"name": "b", "combine": top(3), "reduce": top(4)}]);
        job.spec.steps = serde_json::from_value(steps).unwrap();
        let error = validate(&job).unwrap_err().to_string();
        assert!(error.starts_with("spec.steps[1].combine.function: `top` as a combine function"), "{error}");
    }

    #[test]
    fn a_value_from_nowhere_is_refused_by_its_field() {
        for (from, says) in [
            (json!({"secretKeyRef": {"name": "s", "kee": "k"}}), "unknown field secretKeyRef.kee"),
            (json!({"secretRef": {"name": "s"}}), "unknown field secretRef"),
            (json!({}), "one source"),
        ] {
            let env = json!([{"name": "A", "valueFrom": from}]);
            let job = job(&json!({"function": {"command": {"shell": "cat", "env": env}}}));
            let error = validate(&job).unwrap_err().to_string();
            assert!(error.starts_with("spec.map.function is not a valid list of variables: "), "{error}");
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn a_template_without_a_fault_is_taken_as_it_is() {
        let template = json!({
            "metadata": {"annotations": {}},
            "spec": {
                "nodeSelector": {"disk": "ssd"}, "securityContext": {},
                "tolerations": [{"operator": "Exists"}],
                "volumes": [{"name": "scratch", "emptyDir": {}}],
            },
        });
        let valid = validate(&job(&json!({"template": template}))).unwrap();
        assert!(valid.map.template.is_some() && valid.reduce.template.is_none());
        let resources = json!({"limits": {"memory": "4Gi"}, "requests": {"cpu": 2}});
        assert!(validate(&job(&json!({"resources": resources}))).unwrap().map.resources.is_some());
    }
}
