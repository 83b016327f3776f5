{{/*
Refuses values that are missing or contradict each other; all of them at once, one line each.
*/}}
{{- define "trackops.check" -}}
{{- $problems := concat (include "trackops.serverProblems" . | fromYamlArray) (include "trackops.serviceProblems" . | fromYamlArray) -}}
{{- if $problems -}}
{{- fail (printf "\n\ntrackops: these values cannot be installed:\n  - %s\n" (join "\n  - " $problems)) -}}
{{- end -}}
{{- end }}

{{/*
What is wrong with the addresses of Redis and Kafka, with keys and with metrics, as a list of sentences.
*/}}
{{- define "trackops.serverProblems" -}}
{{- $redis := .Values.redis -}}
{{- if and $redis.url $redis.urlSecret.name }}
- redis.url and redis.urlSecret.name are both set; give one of them
{{- else if not (or $redis.url $redis.urlSecret.name) }}
- redis.url (or redis.urlSecret.name) is missing; the order and identity services need the address of a Redis
{{- else if contains "@" $redis.url }}
- redis.url holds a user or password, which values do not keep secret; put it into a Secret and name that in redis.urlSecret.name
{{- end }}
{{- if not .Values.pageTokens.keySecret.name }}
- pageTokens.keySecret.name is missing; the order service needs a Secret with the key that signs page tokens
{{- end }}
{{- if not .Values.identityKeys.secret.name }}
- identityKeys.secret.name is missing; the identity service needs a Secret with the keys that seal tokens and encrypt signing keys
{{- end }}
{{- if and .Values.metrics.podAnnotations .Values.metrics.serviceMonitor.enabled }}
- metrics.podAnnotations and metrics.serviceMonitor.enabled are both set; every number would be taken twice
{{- end }}
{{- if not .Values.kafka.bootstrapServers }}
- kafka.bootstrapServers is missing; the order service, the saga orchestrator and the outbox relay need the address of a Kafka
{{- end }}
{{- end }}

{{/*
What is wrong with the values of single services, as a list of sentences.
*/}}
{{- define "trackops.serviceProblems" -}}
{{- range $service := include "trackops.mesh" . | fromYamlArray }}
{{- $values := include "trackops.serviceValues" (dict "root" $ "name" $service.name) | fromYaml }}
{{- $database := $values.database | default dict }}
{{- if not (or $database.secretName $.Values.database.secretName) }}
- services.{{ $service.name }}.database.secretName is missing (so is database.secretName); the service needs a Secret with its database URL
{{- end }}
{{- if and $database.secretKey (not $database.secretName) }}
- services.{{ $service.name }}.database.secretKey is set without a secretName beside it
{{- end }}
{{- range $variable := include "trackops.environment" (dict "root" $ "service" $service "values" $values) | fromYamlArray }}
{{- if hasKey $values.extraEnv $variable.name }}
- extraEnv of {{ $service.name }} sets {{ $variable.name }}, which the chart sets from another value
{{- end }}
{{- end }}
{{- end }}
{{- end }}
