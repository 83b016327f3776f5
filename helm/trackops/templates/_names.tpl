{{/*
The front of every object's name. 36 characters at most, which leaves room for the longest
service name and one suffix more within the 63 of a DNS label.
*/}}
{{- define "trackops.fullname" -}}
{{- $name := .Release.Name -}}
{{- if .Values.fullnameOverride -}}
{{- $name = .Values.fullnameOverride -}}
{{- else if not (contains .Chart.Name .Release.Name) -}}
{{- $name = printf "%s-%s" .Release.Name .Chart.Name -}}
{{- end -}}
{{- $name | trunc 36 | trimSuffix "-" -}}
{{- end }}

{{/*
The name of one service's objects.
Usage: include "trackops.serviceName" (dict "root" $ "name" "order")
*/}}
{{- define "trackops.serviceName" -}}
{{ include "trackops.fullname" .root }}-{{ .name }}
{{- end }}

{{/*
What selects one service's pods. A Deployment's selector can never be changed, so no version is in it.
Usage: include "trackops.selectorLabels" (dict "root" $ "name" "order")
*/}}
{{- define "trackops.selectorLabels" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .name }}
{{- end }}

{{/*
The labels of one service's objects. Not for pods: a new chart version alone would restart them.
Usage: include "trackops.labels" (dict "root" $ "name" "order")
*/}}
{{- define "trackops.labels" -}}
{{ include "trackops.selectorLabels" . }}
app.kubernetes.io/part-of: trackops
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{/*
One service's image with its tag.
Usage: include "trackops.image" (dict "root" $ "image" $values.image)
*/}}
{{- define "trackops.image" -}}
{{- $tag := .image.tag | default .root.Values.image.tag | default .root.Chart.AppVersion -}}
{{- with .root.Values.image.registry }}{{ . }}/{{ end }}{{ .image.repository }}:{{ $tag }}
{{- end }}

{{/*
The Secret of the release, which it makes itself (`secrets.generate`) or has made (`secrets.external`).
*/}}
{{- define "trackops.ownSecret" -}}
{{ include "trackops.fullname" . }}-secrets
{{- end }}

{{/*
"true" where the release has that Secret.
*/}}
{{- define "trackops.hasOwnSecret" -}}
{{- if or .Values.secrets.generate .Values.secrets.external.remoteKey }}true{{ end -}}
{{- end }}
