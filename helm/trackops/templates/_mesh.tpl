{{/*
The services of the mesh, as a list: the one place that says what differs between them.
Everything else is generated from it.
  name      in Kubernetes and under `services` in the values
  port      where it serves gRPC; each its own, the same as on a developer's machine
  httpPort  where it serves probes and metrics
  uses      what it needs beside Postgres, Kafka and the identity service: redis, page-tokens (their key),
            identity-keys (what seals tokens and encrypts signing keys), service-clients (the secrets of those
            that call others)
  calls     services it is told the address of; it has a client of its own to call them with
Usage: range (include "trackops.mesh" . | fromYamlArray)
*/}}
{{- define "trackops.mesh" -}}
- name: order
  port: 5051
  httpPort: 9051
  uses: [redis, page-tokens]
  calls: [outbox-relay]
- name: saga-orchestrator
  port: 5052
  httpPort: 9052
  calls: [order, inventory, payment, outbox-relay]
- name: outbox-relay
  port: 5053
  httpPort: 9053
- name: inventory
  port: 5054
  httpPort: 9054
  calls: [outbox-relay]
- name: payment
  port: 5055
  httpPort: 9055
  calls: [outbox-relay]
- name: identity
  port: 5056
  httpPort: 9056
  uses: [redis, identity-keys, service-clients]
  calls: [outbox-relay]
{{- end }}

{{/*
The values of one service, or of the edge: `defaults`, and over them its own. As YAML.
Usage: include "trackops.serviceValues" (dict "root" $ "name" "order") | fromYaml
*/}}
{{- define "trackops.serviceValues" -}}
{{- $own := ternary .root.Values.edge (index .root.Values.services .name | default dict) (eq .name "edge") -}}
{{- mergeOverwrite (deepCopy .root.Values.defaults) (deepCopy $own) | toYaml -}}
{{- end }}

{{/*
The names of what runs as a Deployment, as a list: the services, and the edge where there is one.
*/}}
{{- define "trackops.workloads" -}}
{{- $names := list -}}
{{- range include "trackops.mesh" . | fromYamlArray -}}
{{- $names = append $names .name -}}
{{- end -}}
{{- ternary (append $names "edge") $names .Values.edge.enabled | toYaml -}}
{{- end }}

{{/*
How the pods of a Deployment are replaced, as fields of its spec: one by one, none of them before its successor is ready.
*/}}
{{- define "trackops.rollout" -}}
# A client connects anew within 2 s at most (trackops_common/grpc/channels.py). So each new pod is known to its clients
# before the next old one goes.
minReadySeconds: 5
strategy:
  type: RollingUpdate
  rollingUpdate:
    maxSurge: 1
    maxUnavailable: 0
{{- end }}

{{/*
Where one service has its probes and metrics.
Usage: include "trackops.httpPort" (dict "root" $ "name" "identity")
*/}}
{{- define "trackops.httpPort" -}}
{{- range include "trackops.mesh" .root | fromYamlArray -}}
{{- if eq .name $.name -}}{{ .httpPort }}{{- end -}}
{{- end -}}
{{- end }}

{{/*
The address of one service as the others know it, host:port.
Usage: include "trackops.target" (dict "root" $ "name" "order")
*/}}
{{- define "trackops.target" -}}
{{- range include "trackops.mesh" .root | fromYamlArray -}}
{{- if eq .name $.name -}}
{{ include "trackops.serviceName" (dict "root" $.root "name" .name) }}:{{ .port }}
{{- end -}}
{{- end -}}
{{- end }}
