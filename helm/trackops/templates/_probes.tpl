{{/*
The probes of a container that has a port named http. A service listens there only once its servers have
answered, and waits for up to three of them in turn (Postgres, the outboxes, Kafka), so the startup
probe allows three times the wait: a service gives up by itself, with a line that names the server.
HTTP, because the kubelet's gRPC probe speaks no TLS.
Usage: include "trackops.probes" $
*/}}
{{- define "trackops.probes" -}}
startupProbe:
  httpGet:
    path: /healthz/ready
    port: http
  periodSeconds: 2
  timeoutSeconds: 2
  failureThreshold: {{ add 15 (div (mul 3 .Values.startTimeoutSeconds) 2) }}
readinessProbe:
  httpGet:
    path: /healthz/ready
    port: http
  periodSeconds: 5
  timeoutSeconds: 2
  failureThreshold: 2
livenessProbe:
  httpGet:
    path: /healthz/live
    port: http
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
{{- end }}
