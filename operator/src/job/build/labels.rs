//! Labels of a job's children.

use std::collections::BTreeMap;

use super::names::Child;

/// Selects our children.
pub const OURS: &str = "app.kubernetes.io/managed-by=mapreduce-operator";
/// Who made an object.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The value on what we make.
pub const OPERATOR: &str = "mapreduce-operator";
/// The UID of the job that a child belongs to: what is left of the relation when owners are taken away.
pub const JOB_UID: &str = "mapreduce.dev/job-uid";
/// The job that a child or a pod belongs to.
pub const JOB: &str = "mapreduce.dev/job";
/// The phase that a Job or a pod belongs to.
pub const PHASE: &str = "mapreduce.dev/phase";
/// The step that they belong to, in a job with steps.
pub const STEP: &str = "mapreduce.dev/step";
/// The annotation with the digest of the revision that a Job was made from.
pub const REVISION: &str = "mapreduce.dev/revision";
/// The queue that Kueue admits a Job from.
pub const QUEUE: &str = "kueue.x-k8s.io/queue-name";
/// The priority there.
pub const QUEUE_PRIORITY: &str = "kueue.x-k8s.io/priority-class";

/// Labels of every child, and of pods.
pub fn common(job: &str, uid: &str, child: Option<Child>) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::from([
        (MANAGED_BY.to_owned(), OPERATOR.to_owned()),
        (JOB_UID.to_owned(), uid.to_owned()),
        ("app.kubernetes.io/name".to_owned(), "mapreduce".to_owned()),
        (JOB.to_owned(), job.to_owned()),
    ]);
    if let Some(child) = child {
        labels.insert(PHASE.to_owned(), child.word().to_owned());
    }
    labels
}

/// The label of what belongs to a step. What removes data belongs to all steps.
pub fn step(name: Option<&str>, child: Child) -> Option<(String, String)> {
    let name = name.filter(|_| child != Child::Cleanup)?;
    Some((STEP.to_owned(), name.to_owned()))
}

/// The labels that Kueue reads, from the job to its Jobs. Never to pods: Kueue would admit these once more.
pub fn queue(job: Option<&BTreeMap<String, String>>) -> BTreeMap<String, String> {
    let wanted = |(name, _): &(&String, &String)| [QUEUE, QUEUE_PRIORITY].contains(&name.as_str());
    let own = |(name, value): (&String, &String)| (name.clone(), value.clone());
    job.into_iter().flatten().filter(wanted).map(own).collect()
}
