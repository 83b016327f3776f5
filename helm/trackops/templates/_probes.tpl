{{/*
The probes of a container that has a port named grpc. A service serves only once its servers have
answered, and waits for up to three of them in turn (Postgres, the outboxes, Kafka), so the startup
probe allows three times the wait: a service gives up by itself, with a line that names the server.
Usage: include "trackops.probes" (dict "root" $ "port" 5051)
*/}}
{{- define "trackops.probes" -}}
startupProbe:
  grpc:
    port: {{ .port }}
  periodSeconds: 2
  timeoutSeconds: 2
  failureThreshold: {{ add 15 (div (mul 3 .root.Values.startTimeoutSeconds) 2) }}
readinessProbe:
  grpc:
    port: {{ .port }}
  periodSeconds: 5
  timeoutSeconds: 2
  failureThreshold: 2
livenessProbe:
  grpc:
    port: {{ .port }}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
{{- end }}
