{{/*
The Secret with one service's certificate; empty where gRPC is plain text.
Usage: include "trackops.tlsSecret" (dict "root" $ "name" $service.name "values" $values)
*/}}
{{- define "trackops.tlsSecret" -}}
{{- $own := .values.tls | default dict -}}
{{- if include "trackops.makesCertificates" .root -}}
{{ include "trackops.serviceName" . }}-tls
{{- else -}}
{{ $own.existingSecret | default .root.Values.tls.existingSecret }}
{{- end -}}
{{- end }}

{{/*
"true" where the release makes certificates, or has cert-manager make them.
*/}}
{{- define "trackops.makesCertificates" -}}
{{- if or .Values.tls.generate .Values.tls.certManager.issuerRef.name }}true{{ end -}}
{{- end }}

{{/*
The names in the certificate of one service or caller, as a list: what it is called by, longest last.
Usage: include "trackops.certifiedNames" (dict "root" $ "name" $service.name) | fromYamlArray
*/}}
{{- define "trackops.certifiedNames" -}}
{{- $name := include "trackops.serviceName" . -}}
{{- range $suffix := list "" "-balanced" }}
- {{ $name }}{{ $suffix }}
- {{ $name }}{{ $suffix }}.{{ $.root.Release.Namespace }}.svc
{{- end }}
{{- end }}

{{/*
The certificates of the release, as a list: of its services, of those who call them, and what the edge shows to the
outside.
  name      its Secret is <release>-<name>-tls
  dnsNames  what stands in it
  issuer    who signs it by cert-manager; without a name, nobody
*/}}
{{- define "trackops.certificates" -}}
{{- $mesh := .Values.tls.certManager.issuerRef -}}
{{- $all := list -}}
{{- range include "trackops.mesh" . | fromYamlArray -}}
{{- $names := include "trackops.certifiedNames" (dict "root" $ "name" .name) | fromYamlArray -}}
{{- $all = append $all (dict "name" .name "dnsNames" $names "issuer" $mesh) -}}
{{- end -}}
{{- range .Values.tls.callers -}}
{{- $all = append $all (dict "name" . "dnsNames" (list .) "issuer" $mesh) -}}
{{- end -}}
{{- if and .Values.edge.enabled (not .Values.edge.https.existingSecret) -}}
{{- $inside := include "trackops.serviceName" (dict "root" . "name" "edge") -}}
{{- $names := .Values.edge.hosts | default (list $inside (printf "%s.%s.svc" $inside .Release.Namespace) "localhost") -}}
{{- $issuer := include "trackops.httpsIssuer" . | fromYaml -}}
{{- $all = append $all (dict "name" "edge-https" "dnsNames" $names "issuer" $issuer) -}}
{{- end -}}
{{- toYaml $all -}}
{{- end }}

{{/*
Where that Secret is mounted. As a whole folder: the kubelet does not renew a single file.
*/}}
{{- define "trackops.tlsFolder" -}}
/etc/trackops/tls
{{- end }}

{{/*
The services that call one service, as a list. Every service asks identity, identity itself included: for the keys of
access tokens or for its own token.
Usage: include "trackops.callingServices" (dict "root" $ "name" "order") | fromYamlArray
*/}}
{{- define "trackops.callingServices" -}}
{{- $names := list -}}
{{- range include "trackops.mesh" .root | fromYamlArray -}}
{{- if or (eq $.name "identity") (has $.name (.calls | default list)) -}}
{{- $names = append $names .name -}}
{{- end -}}
{{- end -}}
{{- toYaml $names -}}
{{- end }}

{{/*
Whom one service takes calls from, by the names in certificates: those services, and `tls.callers`.
Usage: include "trackops.callers" (dict "root" $ "name" "order")
*/}}
{{- define "trackops.callers" -}}
{{- $names := list -}}
{{- range include "trackops.callingServices" . | fromYamlArray -}}
{{- $names = append $names (include "trackops.serviceName" (dict "root" $.root "name" .)) -}}
{{- end -}}
{{- concat $names .root.Values.tls.callers | join "," -}}
{{- end }}
