{{/*
The Secret with one service's certificate; empty where gRPC is plain text.
Usage: include "trackops.tlsSecret" (dict "root" $ "values" $values)
*/}}
{{- define "trackops.tlsSecret" -}}
{{- $own := .values.tls | default dict -}}
{{ $own.existingSecret | default .root.Values.tls.existingSecret }}
{{- end }}

{{/*
Where that Secret is mounted. As a whole folder: the kubelet does not renew a single file.
*/}}
{{- define "trackops.tlsFolder" -}}
/etc/trackops/tls
{{- end }}

{{/*
Whom one service takes calls from: the services that are told its address, by the names of their objects, and
`tls.callers`. Every service asks identity for the keys of access tokens.
Usage: include "trackops.callers" (dict "root" $ "name" "order")
*/}}
{{- define "trackops.callers" -}}
{{- $names := list -}}
{{- range include "trackops.mesh" .root | fromYamlArray -}}
{{- $asksForKeys := and (eq $.name "identity") (ne .name "identity") -}}
{{- if or $asksForKeys (has $.name (.calls | default list)) -}}
{{- $names = append $names (include "trackops.serviceName" (dict "root" $.root "name" .name)) -}}
{{- end -}}
{{- end -}}
{{- concat $names .root.Values.tls.callers | join "," -}}
{{- end }}
