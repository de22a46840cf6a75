{{- /*
What the operator may do, one rule for each thing it does. Tests hold this list to what the code asks for.
Rules in "drumline.readRules" are needed for the whole cluster: capacity is what is left beside everybody's pods.
Rules in "drumline.jobRules" are needed where TrainingJobs and InferenceServices are: everywhere, or in one namespace.
*/ -}}

{{- define "drumline.readRules" -}}
- apiGroups: [""]
  resources: [nodes, pods]
  verbs: [get, list, watch]
# where a bound volume can be reached from
- apiGroups: [""]
  resources: [persistentvolumes]
  verbs: [get]
- apiGroups: [scheduling.k8s.io]
  resources: [priorityclasses]
  verbs: [get, list, watch]
# queues, and the namespaces that they select by their labels
- apiGroups: [drumline.dev]
  resources: [acceleratorqueues]
  verbs: [get, list, watch]
- apiGroups: [drumline.dev]
  resources: [acceleratorqueues/status]
  verbs: [patch]
- apiGroups: [""]
  resources: [namespaces]
  verbs: [list, watch]
# devices that pods have claims on
- apiGroups: [resource.k8s.io]
  resources: [deviceclasses, resourceclaims, resourceclaimtemplates, resourceslices]
  verbs: [list, watch]
{{- if .Values.badNodes.taint }}
# the taint on bad nodes, and events on them
- apiGroups: [""]
  resources: [nodes]
  verbs: [patch]
- apiGroups: [""]
  resources: [events]
  verbs: [create]
{{- end }}
{{- if .Values.ingest.enabled }}
# whose a report's token is
- apiGroups: [authentication.k8s.io]
  resources: [tokenreviews]
  verbs: [create]
{{- end }}
{{- end -}}

{{- define "drumline.jobRules" -}}
# delete: ttlSecondsAfterFinished
- apiGroups: [drumline.dev]
  resources: [trainingjobs]
  verbs: [get, list, watch, delete]
- apiGroups: [drumline.dev]
  resources: [trainingjobs/status]
  verbs: [patch]
# blockOwnerDeletion in owner references, where the API server checks it
- apiGroups: [drumline.dev]
  resources: [trainingjobs/finalizers]
  verbs: [update]
- apiGroups: [drumline.dev]
  resources: [inferenceservices]
  verbs: [get, list, watch]
- apiGroups: [drumline.dev]
  resources: [inferenceservices/status, inferenceroles/status]
  verbs: [patch]
- apiGroups: [drumline.dev]
  resources: [inferenceservices/finalizers]
  verbs: [update]
# one for each role of an InferenceService, with the scale subresource
- apiGroups: [drumline.dev]
  resources: [inferenceroles]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, create, delete]
# the readiness gate of a group's leader: in service or not
- apiGroups: [""]
  resources: [pods/status]
  verbs: [patch]
{{- if .Values.progress.logs }}
# steps from the log of rank 0
- apiGroups: [""]
  resources: [pods/log]
  verbs: [get]
{{- end }}
# a gang's names; writing endpoints redirects traffic, see docs/operations.md
- apiGroups: [""]
  resources: [services, endpoints]
  verbs: [get, list, watch, create, patch]
# those by which groups of one revision meet, once it is gone
- apiGroups: [""]
  resources: [services]
  verbs: [delete]
# how many groups of a role may be evicted
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
{{- if .Values.gateway.enabled }}
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [inference.networking.k8s.io]
  resources: [inferencepools]
  verbs: [get, list, watch, create, patch, delete]
{{- end }}
{{- if .Values.provisioningRequests.enabled }}
# nodes that jobs ask an autoscaler for
- apiGroups: [autoscaling.x-k8s.io]
  resources: [provisioningrequests]
  verbs: [get, list, watch, create, delete]
- apiGroups: [""]
  resources: [podtemplates]
  verbs: [get, list, watch, create, delete]
{{- end }}
{{- /* what other schedulers want to have of a gang; Kueue makes its Workloads itself */ -}}
{{- $groups := dict "native" "scheduling.k8s.io" "volcano" "scheduling.volcano.sh" "coscheduling" "scheduling.x-k8s.io" "kai" "scheduling.run.ai" }}
{{- range $name := .Values.backends }}
{{- if eq $name "kueue" }}
- apiGroups: [kueue.x-k8s.io]
  resources: [workloads]
  verbs: [get, list, watch, delete]
{{- else }}
- apiGroups: [{{ get $groups $name }}]
  resources: [podgroups]
  verbs: [get, list, watch, create, delete]
{{- end }}
{{- end }}
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [get, list, watch, create, patch]
# long host lists; the authority that the report ingest's certificate is signed by
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, create, patch]
# placements; revisions of services, whose number a rollback changes
- apiGroups: [apps]
  resources: [controllerrevisions]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [events]
  verbs: [create]
# why a pod does not start: a volume, a sandbox
- apiGroups: [""]
  resources: [events]
  verbs: [get, list, watch]
# preflight of a gang
- apiGroups: [""]
  resources: [resourcequotas]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get]
{{- end -}}
