{{/*
The ports of the edge's pods, the same as on a developer's machine.
*/}}
{{- define "trackops.edgePorts" -}}
https: 8443
http: 9057
{{- end }}

{{/*
The services behind the edge, as a list; those of `contract.py` of edge/.
*/}}
{{- define "trackops.behindEdge" -}}
[order, inventory, payment, identity]
{{- end }}

{{/*
Where containers find the certificate that the edge shows to the outside.
*/}}
{{- define "trackops.httpsFolder" -}}
/etc/trackops/https
{{- end }}

{{/*
The Secret with that certificate: the one that is named, or one that is made.
*/}}
{{- define "trackops.httpsSecret" -}}
{{- .Values.edge.https.existingSecret | default (printf "%s-tls" (include "trackops.serviceName" (dict "root" . "name" "edge-https"))) -}}
{{- end }}

{{/*
Who signs that certificate by cert-manager, as YAML; without a name, nobody.
*/}}
{{- define "trackops.httpsIssuer" -}}
{{- $own := .Values.edge.https.issuerRef -}}
{{- ternary $own .Values.tls.certManager.issuerRef (ne $own.name "") | toYaml -}}
{{- end }}

{{/*
The Secret with the certificate that the edge shows to the services; empty where gRPC is plain text.
*/}}
{{- define "trackops.edgeTlsSecret" -}}
{{- include "trackops.tlsSecret" (dict "root" . "name" "edge" "values" .Values.edge) -}}
{{- end }}

{{/*
The environment of what writes Envoy's files, as a list of EnvVar.
*/}}
{{- define "trackops.edgeEnvironment" -}}
{{- $ports := include "trackops.edgePorts" . | fromYaml -}}
- name: TRACKOPS_EDGE_LISTEN
  value: "0.0.0.0:{{ $ports.https }}"
- name: TRACKOPS_EDGE_HTTP_LISTEN
  value: "0.0.0.0:{{ $ports.http }}"
- name: TRACKOPS_EDGE_CERTIFICATE
  value: {{ include "trackops.httpsFolder" . }}/tls.crt
- name: TRACKOPS_EDGE_KEY
  value: {{ include "trackops.httpsFolder" . }}/tls.key
- name: TRACKOPS_EDGE_TRUSTED_HOPS
  value: {{ .Values.edge.trustedHops | quote }}
{{- range include "trackops.behindEdge" . | fromYamlArray }}
- name: TRACKOPS_{{ . | upper }}_TARGET
  value: {{ include "trackops.target" (dict "root" $ "name" .) | quote }}
{{- end }}
- name: TRACKOPS_IDENTITY_HTTP_TARGET
  value: "{{ include "trackops.serviceName" (dict "root" . "name" "identity") }}:{{ include "trackops.httpPort" (dict "root" . "name" "identity") }}"
{{- if include "trackops.edgeTlsSecret" . }}
- name: TRACKOPS_TLS_CERTIFICATE
  value: {{ include "trackops.tlsFolder" . }}/tls.crt
- name: TRACKOPS_TLS_KEY
  value: {{ include "trackops.tlsFolder" . }}/tls.key
- name: TRACKOPS_TLS_CA
  value: {{ include "trackops.tlsFolder" . }}/ca.crt
{{- end }}
{{- end }}

{{/*
What is wrong with the values of the edge, as a list of sentences.
*/}}
{{- define "trackops.edgeProblems" -}}
{{- $edge := .Values.edge }}
{{- if $edge.enabled }}
{{- if not (or $edge.https.existingSecret $edge.https.issuerRef.name .Values.tls.generate .Values.tls.certManager.issuerRef.name) }}
- edge.https.existingSecret is missing (so is edge.https.issuerRef.name, and tls makes none); the edge needs a certificate for HTTPS
{{- else if and $edge.https.existingSecret $edge.https.issuerRef.name }}
- edge.https.existingSecret and edge.https.issuerRef.name are both set; give one of them
{{- end }}
{{- if and (include "trackops.makesCertificates" .) (not (has "edge" .Values.tls.callers)) }}
- tls.callers lacks edge, whom the services would then refuse
{{- end }}
{{- if and (include "trackops.makesCertificates" .) $edge.tls.existingSecret }}
- edge.tls.existingSecret is set, and the chart makes certificates; give one of them
{{- end }}
{{- if and (not $edge.hosts) (or $edge.ingress.enabled $edge.httpRoute.enabled) }}
- edge.hosts is empty; an Ingress or an HTTPRoute needs the names that it is for
{{- end }}
{{- if and $edge.httpRoute.enabled (not $edge.httpRoute.parentRefs) }}
- edge.httpRoute.parentRefs is empty; the route needs a Gateway
{{- end }}
{{- else if or $edge.ingress.enabled $edge.httpRoute.enabled }}
- edge.ingress.enabled or edge.httpRoute.enabled is set, and edge.enabled is not; they lead to the edge
{{- end }}
{{- end }}
