{{- define "mapreduce.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "mapreduce.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if eq $name (printf "%s-operator" .Release.Name) }}
{{- $name }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "mapreduce.selector" -}}
app.kubernetes.io/name: {{ include "mapreduce.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "mapreduce.labels" -}}
{{ include "mapreduce.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "mapreduce.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "mapreduce.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- /* The full name of an image: (dict "image" .Values.image "root" $) */}}
{{- define "mapreduce.image" -}}
{{- if .image.digest }}
{{- printf "%s@%s" .image.repository .image.digest }}
{{- else }}
{{- printf "%s:%s" .image.repository (default .root.Chart.AppVersion .image.tag) }}
{{- end }}
{{- end }}

{{- /* What the operator may do in a namespace whose jobs it runs. A rule without its reason has no place here. */}}
{{- define "mapreduce.rules" -}}
# The jobs themselves; patch sets the finalizer, delete is for ttlSecondsAfterFinished.
- apiGroups: [mapreduce.dev]
  resources: [mapreducejobs]
  verbs: [get, list, watch, patch, delete]
# What kubectl shows of them.
- apiGroups: [mapreduce.dev]
  resources: [mapreducejobs/status]
  verbs: [patch]
# To own Jobs and ConfigMaps with blockOwnerDeletion, where the cluster asks for this right.
- apiGroups: [mapreduce.dev]
  resources: [mapreducejobs/finalizers]
  verbs: [update]
# One Job per phase. Patch suspends and resumes it, delete ends its pods.
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, patch, delete]
# What the job's run does, for its pods: read by its name, written once, deleted with its owner. Delete: one that an
# earlier job of the name has left without an owner, or that is not what the status says.
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, create, delete]
# The last words of a phase's pods, and why one can't start. Delete: a pod on a node that is lost, after it was marked
# as failed. No watch, no logs, no exec.
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, delete]
- apiGroups: [""]
  resources: [pods/status]
  verbs: [patch]
# Whether the namespace is being deleted: then nothing can be created in it, and a job lets go at once.
- apiGroups: [""]
  resources: [namespaces]
  verbs: [get]
# A queued job that is suspended: Kueue is to hold its Jobs, so that what they have done stays done.
- apiGroups: [kueue.x-k8s.io]
  resources: [workloads]
  verbs: [list, patch]
# What `kubectl describe` shows; a repeated event is patched. List: why a Job can't make pods (a quota).
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch, list]
{{- end }}

{{- /* The namespaces whose jobs are run, as a JSON list; empty for all. */}}
{{- define "mapreduce.watchNamespaces" -}}
{{- if not .Values.watchOwnNamespace }}
{{- toJson .Values.watchNamespaces }}
{{- else if .Values.watchNamespaces }}
{{- fail "watchOwnNamespace and watchNamespaces exclude each other" }}
{{- else }}
{{- list .Release.Namespace | toJson }}
{{- end }}
{{- end }}

{{- /* "true" where a Lease says which replica works. */}}
{{- define "mapreduce.leaderElection" -}}
{{- $several := gt (int .Values.replicas) 1 }}
{{- if kindIs "invalid" .Values.leaderElection.enabled }}
{{- if $several }}true{{ end }}
{{- else if .Values.leaderElection.enabled -}}
true
{{- else if $several }}
{{- fail "several replicas need leaderElection" }}
{{- end }}
{{- end }}

{{- /* Where the worker's account is created, as a JSON list. */}}
{{- define "mapreduce.workerNamespaces" -}}
{{- $own := include "mapreduce.watchNamespaces" . | fromJsonArray | default (list .Release.Namespace) }}
{{- concat $own .Values.worker.serviceAccount.namespaces | uniq | toJson }}
{{- end }}

{{- /* The workers' resources as JSON. Quantities are strings there, and may be numbers in values. */}}
{{- define "mapreduce.workerResources" -}}
{{- $resources := dict }}
{{- range $kind, $quantities := .Values.worker.resources }}
{{- $texts := dict }}
{{- range $name, $quantity := $quantities }}
{{- $_ := set $texts $name (toString $quantity) }}
{{- end }}
{{- $_ := set $resources $kind $texts }}
{{- end }}
{{- toJson $resources }}
{{- end }}
