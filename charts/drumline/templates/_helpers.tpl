{{- define "drumline.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains "drumline" .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-drumline" .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "drumline.selectorLabels" -}}
app.kubernetes.io/name: drumline
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "drumline.labels" -}}
{{ include "drumline.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "drumline.serviceAccountName" -}}
{{- default (include "drumline.fullname" .) .Values.serviceAccount.name -}}
{{- end -}}

{{- define "drumline.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{- printf "%s@%s" .repository .digest -}}
{{- else -}}
{{- printf "%s:%s" .repository (default $.Chart.AppVersion .tag) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* Its Service, and the Secret with its certificates. */ -}}
{{- define "drumline.ingestName" -}}
{{- printf "%s-ingest" (include "drumline.fullname" .) -}}
{{- end -}}

{{- define "drumline.reportUrl" -}}
{{- printf "https://%s.%s.svc:%d/v1/report" (include "drumline.ingestName" .) .Release.Namespace (int .Values.ingest.port) -}}
{{- end -}}

{{- /* Names of cluster-scoped objects carry the namespace, so that two releases never share one. */ -}}
{{- define "drumline.clusterName" -}}
{{- printf "%s:%s" .Release.Namespace (include "drumline.fullname" .) -}}
{{- end -}}

{{- define "drumline.subjects" -}}
- kind: ServiceAccount
  name: {{ include "drumline.serviceAccountName" . }}
  namespace: {{ .Release.Namespace }}
{{- end -}}
