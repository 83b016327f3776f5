{{/*
Refuses values that are missing or contradict each other; all of them at once, one line each.
*/}}
{{- define "trackops.check" -}}
{{- $problems := list -}}
{{- range list "trackops.serverProblems" "trackops.serviceProblems" "trackops.edgeProblems" -}}
{{- $problems = concat $problems (include . $ | fromYamlArray) -}}
{{- end -}}
{{- if $problems -}}
{{- fail (printf "\n\ntrackops: these values cannot be installed:\n  - %s\n" (join "\n  - " $problems)) -}}
{{- end -}}
{{- end }}

{{/*
What is wrong with the addresses of Redis and Kafka, with keys and with metrics, as a list of sentences.
*/}}
{{- define "trackops.serverProblems" -}}
{{- $redis := .Values.redis -}}
{{- $own := include "trackops.hasOwnSecret" . }}
{{- $servers := .Values.servers }}
{{- if and $servers.redis.enabled (or $redis.url $redis.urlSecret.name) }}
- servers.redis.enabled is set, and so is redis.url or redis.urlSecret.name; give one of them
{{- else if and $redis.url $redis.urlSecret.name }}
- redis.url and redis.urlSecret.name are both set; give one of them
{{- else if not (or $redis.url $redis.urlSecret.name $own) }}
- redis.url (or redis.urlSecret.name) is missing; the order and identity services need the address of a Redis
{{- else if contains "@" $redis.url }}
- redis.url holds a user or password, which values do not keep secret; put it into a Secret and name that in redis.urlSecret.name
{{- end }}
{{- if not (or .Values.pageTokens.keySecret.name $own) }}
- pageTokens.keySecret.name is missing; the order service needs a Secret with the key that signs page tokens
{{- end }}
{{- if not (or .Values.identityKeys.secret.name $own) }}
- identityKeys.secret.name is missing; the identity service needs a Secret with the keys that seal tokens and encrypt signing keys
{{- end }}
{{- if not (or .Values.serviceClients.secretName $own) }}
- serviceClients.secretName is missing; services that call others need a Secret with what they prove themselves by
{{- end }}
{{- if and .Values.metrics.podAnnotations .Values.metrics.serviceMonitor.enabled }}
- metrics.podAnnotations and metrics.serviceMonitor.enabled are both set; every number would be taken twice
{{- end }}
{{- $asks := hasPrefix "SASL_" .Values.kafka.securityProtocol }}
{{- if and $asks (not .Values.kafka.passwordSecretName) }}
- kafka.passwordSecretName is missing; with {{ .Values.kafka.securityProtocol }} each service that uses Kafka needs a password
{{- else if and .Values.kafka.passwordSecretName (not $asks) }}
- kafka.passwordSecretName is set, and with kafka.securityProtocol {{ .Values.kafka.securityProtocol }} nobody is asked for a password
{{- end }}
{{- if and $servers.kafka.enabled .Values.kafka.bootstrapServers }}
- servers.kafka.enabled and kafka.bootstrapServers are both set; give one of them
{{- else if not (or $servers.kafka.enabled .Values.kafka.bootstrapServers) }}
- kafka.bootstrapServers is missing; every service needs the address of a Kafka
{{- end }}
{{- if and $servers.kafka.enabled (ne .Values.kafka.securityProtocol "PLAINTEXT") }}
- kafka.securityProtocol is {{ .Values.kafka.securityProtocol }}, and the Kafka of servers.kafka.enabled speaks PLAINTEXT
{{- end }}
{{- if and (or $servers.postgres.enabled $servers.redis.enabled) (not .Values.secrets.generate) }}
- servers.postgres.enabled and servers.redis.enabled need secrets.generate, which makes their passwords
{{- end }}
{{- if and .Values.secrets.generate .Values.secrets.external.remoteKey }}
- secrets.generate and secrets.external.remoteKey are both set; give one of them
{{- end }}
{{- if and .Values.secrets.external.remoteKey (not .Values.secrets.external.storeRef.name) }}
- secrets.external.storeRef.name is missing; External Secrets needs to know where to read
{{- end }}
{{- $ways := list }}
{{- if .Values.tls.existingSecret }}{{ $ways = append $ways "tls.existingSecret" }}{{ end }}
{{- if .Values.tls.generate }}{{ $ways = append $ways "tls.generate" }}{{ end }}
{{- if .Values.tls.certManager.issuerRef.name }}{{ $ways = append $ways "tls.certManager.issuerRef.name" }}{{ end }}
{{- if gt (len $ways) 1 }}
- {{ join " and " $ways }} are set; certificates come from one of them
{{- end }}
{{- if and .Values.networkPolicy.enabled (not .Values.networkPolicy.scrapers) (or .Values.metrics.podAnnotations .Values.metrics.serviceMonitor.enabled) }}
- networkPolicy.scrapers is empty, so nobody could reach the numbers that metrics offers; name who scrapes, or turn networkPolicy.enabled off
{{- end }}
{{- end }}

{{/*
What is wrong with the values of single services, as a list of sentences.
*/}}
{{- define "trackops.serviceProblems" -}}
{{- $plain := list }}
{{- $certified := list }}
{{- range $service := include "trackops.mesh" . | fromYamlArray }}
{{- $values := include "trackops.serviceValues" (dict "root" $ "name" $service.name) | fromYaml }}
{{- $database := $values.database | default dict }}
{{- $made := or $.Values.servers.postgres.enabled $.Values.secrets.external.remoteKey }}
{{- if and $.Values.servers.postgres.enabled (or $database.secretName $.Values.database.secretName) }}
- services.{{ $service.name }}.database.secretName or database.secretName is set, and so is servers.postgres.enabled; give one of them
{{- else if not (or $database.secretName $.Values.database.secretName $made) }}
- services.{{ $service.name }}.database.secretName is missing (so is database.secretName); the service needs a Secret with its database URL
{{- end }}
{{- if include "trackops.tlsSecret" (dict "root" $ "name" $service.name "values" $values) }}
{{- $certified = append $certified $service.name }}
{{- else }}
{{- $plain = append $plain $service.name }}
{{- end }}
{{- if and (include "trackops.makesCertificates" $) ($values.tls | default dict).existingSecret }}
- services.{{ $service.name }}.tls.existingSecret is set, and the chart makes certificates; give one of them
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
{{- if and $plain $certified }}
- services.<name>.tls.existingSecret is set for {{ join ", " $certified }} only, so {{ join ", " $plain }} would speak plain text; set tls.existingSecret, or give each service its own
{{- end }}
{{- end }}
