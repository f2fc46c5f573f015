//! The environment of a user's process: an allow-list, so that the job's credentials stay ours.

use std::ffi::OsString;
use std::path::Path;

use mapreduce_api::ids::TaskKind;

use crate::function::context::TaskContext;
use crate::machine::variables;
use crate::record::split::Split;

/// What a process has of our own environment.
const PASSED: [&str; 5] = ["PATH", "HOME", "LANG", "LC_ALL", "TZ"];
/// Where programs are when nobody says so.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The variables of a process in `folder`: a few of our own, those that Hadoop Streaming sets, and
/// the manifest's over them.
pub(super) fn environment(
    context: &TaskContext,
    input: Option<&Split>,
    folder: &Path,
    manifest: &[(String, OsString)],
) -> Vec<(OsString, OsString)> {
    let mut variables: Vec<(OsString, OsString)> = vec![("PATH".into(), PATH.into())];
    variables.extend(PASSED.iter().filter_map(|name| Some((name.into(), variables::get(name)?))));
    // What it leaves there goes with the folder.
    variables.push(("TMPDIR".into(), folder.into()));
    let mut set = |name: &str, value: String| variables.push((name.into(), value.into()));
    set("mapreduce_job_id", context.job_id.clone());
    set("mapreduce_job_name", context.job_name.clone());
    set("mapreduce_task_id", context.task.to_string());
    set("mapreduce_task_attempt_id", format!("{}-{}", context.task, context.attempt));
    set("mapreduce_task_partition", context.partition.to_string());
    set("mapreduce_task_is_map", (context.task.kind == TaskKind::Map).to_string());
    if let Some(split) = input {
        set("mapreduce_map_input_file", split.url.clone());
        set("mapreduce_map_input_start", split.start.to_string());
        set("mapreduce_map_input_length", split.bytes().to_string());
    }
    variables.extend(manifest.iter().map(|(name, value)| (name.into(), value.clone())));
    variables
}
