# shellcheck shell=bash disable=SC2034 # the variables are used where this is sourced
# What the scripts beside this one share: where things are kept, and how a
# cluster's one process is recognised. Sourced, never run.

CACHE=${MAPREDUCE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/mapreduce}
CACHE=$(realpath --canonicalize-missing "$CACHE")
BIN=$CACHE/bin
IMAGES=$CACHE/images

die() {
  echo "${0##*/}: $*" >&2
  exit 1
}

# Reads a cluster's name (default: dev) and sets NAME and STATE.
cluster() {
  NAME=${1:-dev}
  [[ $NAME =~ ^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$ ]] || die "'$NAME' is no name for a cluster: letters, digits and dashes"
  STATE=$CACHE/clusters/$NAME
}

# Prints the start time of a process. A number alone may since belong to another process.
born() {
  local stat
  { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
  awk '{print $20}' <<<"${stat##*) }"
}

# Sets INIT to the id of the first process of $STATE's cluster, if it lives.
alive() {
  local time
  { read -r INIT time <"$STATE/init"; } 2>/dev/null && [[ $(born "$INIT") == "$time" ]]
}

# Runs a command inside the namespaces of $STATE's cluster; its files are at /mnt there.
inside() {
  alive || die "no cluster '$NAME' is up: tests/cluster/up $NAME"
  nsenter --target "$INIT" --mount --uts --ipc --net --pid -- "$@"
}

# Imports an image archive (stdin) into the cluster's containerd.
import() {
  inside ctr --address /run/containerd/containerd.sock --namespace k8s.io images import - >/dev/null
}

# Runs buildah with storage of its own. vfs and chroot need neither overlay mounts nor user namespaces.
buildah() {
  command buildah --storage-driver vfs --root "$CACHE/buildah/root" --runroot "$CACHE/buildah/run" "$@"
}

# Builds image $1 from the Dockerfile in folder $2 into the archive $3.
archive() {
  buildah bud --timestamp 0 --isolation chroot --quiet --tag "$1" "$2" >/dev/null
  rm -f "$3"
  buildah push --quiet "$1" "docker-archive:$3:$1"
  buildah rmi --prune >/dev/null 2>&1 || true # what had the name before
}

# Prints the variables by which the suite finds the cluster of $KUBECONFIG, and
# its S3 server at $1. It needs to know nothing else of either.
variables() {
  cat <<V
export CLUSTER_NAME=$NAME
export CLUSTER_BIN=$BIN
export KUBECONFIG=$KUBECONFIG
export S3_ENDPOINT=$1
export S3_CLUSTER_ENDPOINT=http://s3.storage.svc:7070
export S3_REGION=us-east-1
export S3_BUCKET=e2e
export S3_ACCESS_KEY=e2e-access
export S3_SECRET_KEY=e2e-secret
V
}
