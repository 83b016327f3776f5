{{/*
The pods of one component of this release, as a peer of a NetworkPolicy.
Usage: include "trackops.podsOf" (dict "root" $ "name" "order")
*/}}
{{- define "trackops.podsOf" -}}
podSelector:
  matchLabels:
    {{- include "trackops.selectorLabels" . | nindent 4 }}
{{- end }}

{{/*
Leave to ask for names, as an egress rule.
*/}}
{{- define "trackops.toDns" -}}
- ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]
  {{- with .Values.networkPolicy.dns }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{/*
Leave to reach Postgres, Redis or Kafka, as an egress rule: that of the release, or the one outside.
Usage: include "trackops.toServer" (dict "root" $ "name" "kafka")
*/}}
{{- define "trackops.toServer" -}}
{{- $outside := index .root.Values.networkPolicy.servers .name -}}
{{- if (index .root.Values.servers .name).enabled -}}
{{- range include "trackops.servers" .root | fromYamlArray }}
{{- if eq .name $.name -}}
- ports: [{port: {{ .port }}}]
  to:
    - {{- include "trackops.podsOf" $ | nindent 6 }}
{{- end }}
{{- end }}
{{- else -}}
- ports:
    {{- range $outside.ports }}
    - port: {{ int64 . }}
    {{- end }}
  {{- with $outside.peers }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- end }}
