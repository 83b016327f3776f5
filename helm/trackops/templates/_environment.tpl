{{/*
The environment variables of one service that the chart sets, as a list of EnvVar.
Usage: include "trackops.environment" (dict "root" $ "service" $service "values" $values)
*/}}
{{- define "trackops.environment" -}}
{{- $values := .root.Values -}}
- name: TRACKOPS_LISTEN
  value: "0.0.0.0:{{ .service.port }}"
- name: TRACKOPS_HTTP_LISTEN
  value: "0.0.0.0:{{ .service.httpPort }}"
- name: TRACKOPS_DATABASE_URL
  valueFrom:
    {{- include "trackops.databaseUrl" . | nindent 4 }}
{{- if has "redis" .service.uses }}
- name: TRACKOPS_REDIS_URL
  {{- if $values.redis.url }}
  value: {{ $values.redis.url | quote }}
  {{- else }}
  valueFrom:
    {{- include "trackops.secretKeyRef" (dict "root" .root "name" $values.redis.urlSecret.name "key" $values.redis.urlSecret.key "own" "redis-url") | nindent 4 }}
  {{- end }}
{{- end }}
{{- if has "page-tokens" .service.uses }}
- name: TRACKOPS_PAGE_TOKEN_KEY
  valueFrom:
    {{- include "trackops.secretKeyRef" (dict "root" .root "name" $values.pageTokens.keySecret.name "key" $values.pageTokens.keySecret.key "own" "page-token-key") | nindent 4 }}
{{- end }}
{{- if has "identity-keys" .service.uses }}
- name: TRACKOPS_TOKEN_SEAL_KEY
  valueFrom:
    {{- include "trackops.secretKeyRef" (dict "root" .root "name" $values.identityKeys.secret.name "key" $values.identityKeys.secret.sealKey "own" "token-seal-key") | nindent 4 }}
- name: TRACKOPS_KEY_ENCRYPTION_KEY
  valueFrom:
    {{- include "trackops.secretKeyRef" (dict "root" .root "name" $values.identityKeys.secret.name "key" $values.identityKeys.secret.encryptionKey "own" "key-encryption-key") | nindent 4 }}
{{- end }}
- name: TRACKOPS_ENVIRONMENT
  value: {{ $values.environment | quote }}
{{ include "trackops.kafkaEnvironment" (dict "root" .root "user" .service.name) }}
- name: TRACKOPS_IDENTITY_TARGET
  value: {{ include "trackops.target" (dict "root" .root "name" "identity") | quote }}
{{- if .service.calls }}
- name: TRACKOPS_CLIENT_ID
  value: {{ .service.name | quote }}
- name: TRACKOPS_CLIENT_SECRET
  valueFrom:
    {{- include "trackops.secretKeyRef" (dict "root" .root "name" $values.serviceClients.secretName "key" .service.name "own" (printf "client-%s" .service.name)) | nindent 4 }}
{{- end }}
{{- if and (eq .service.name "identity") $values.edge.podNetworks }}
- name: TRACKOPS_TRUSTED_PROXIES
  value: {{ join "," $values.edge.podNetworks | quote }}
{{- end }}
{{- if has "service-clients" .service.uses }}
{{- include "trackops.firstClients" .root }}
{{- end }}
{{- range .service.calls }}
- name: TRACKOPS_{{ . | upper | replace "-" "_" }}_TARGET
  value: {{ include "trackops.target" (dict "root" $.root "name" .) | quote }}
{{- end }}
{{- if include "trackops.tlsSecret" (dict "root" .root "name" .service.name "values" .values) }}
- name: TRACKOPS_TLS_CERTIFICATE
  value: {{ include "trackops.tlsFolder" . }}/tls.crt
- name: TRACKOPS_TLS_KEY
  value: {{ include "trackops.tlsFolder" . }}/tls.key
- name: TRACKOPS_TLS_CA
  value: {{ include "trackops.tlsFolder" . }}/ca.crt
- name: TRACKOPS_TLS_CALLERS
  value: {{ include "trackops.callers" (dict "root" .root "name" .service.name) | quote }}
{{- end }}
- name: TRACKOPS_START_TIMEOUT_SECONDS
  value: {{ $values.startTimeoutSeconds | quote }}
- name: TRACKOPS_STOP_DELAY_SECONDS
  value: {{ $values.stopDelaySeconds | quote }}
- name: TRACKOPS_STOP_GRACE_SECONDS
  value: {{ $values.stopGraceSeconds | quote }}
- name: TRACKOPS_LOG_LEVEL
  value: {{ $values.logLevel | quote }}
- name: TRACKOPS_LOG_FORMAT
  value: json
{{- if $values.otel.endpoint }}
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ $values.otel.endpoint | quote }}
- name: OTEL_TRACES_SAMPLER
  value: parentbased_traceidratio
- name: OTEL_TRACES_SAMPLER_ARG
  value: {{ $values.otel.sampledShare | quote }}
{{- end }}
{{- end }}

{{/*
What makes every service that calls others a client of the identity service: its secret in a variable
of its own, which Kubernetes puts into the one that holds them all.
*/}}
{{- define "trackops.firstClients" -}}
{{- $clients := dict -}}
{{- range include "trackops.mesh" . | fromYamlArray }}
{{- if .calls }}
{{- $variable := printf "CLIENT_SECRET_%s" (.name | upper | replace "-" "_") }}
{{- $_ := set $clients .name (printf "$(%s)" $variable) }}
- name: {{ $variable }}
  valueFrom:
    {{- include "trackops.secretKeyRef" (dict "root" $ "name" $.Values.serviceClients.secretName "key" .name "own" (printf "client-%s" .name)) | nindent 4 }}
{{- end }}
{{- end }}
- name: TRACKOPS_FIRST_CLIENTS
  value: {{ toJson $clients | quote }}
{{- end }}

{{/*
A service's user in Postgres, Redis and Kafka, which is its package's name.
Usage: include "trackops.role" $service.name
*/}}
{{- define "trackops.role" -}}
trackops_{{ . | replace "-" "_" }}
{{- end }}

{{/*
Where containers find who may sign the servers' certificates.
*/}}
{{- define "trackops.authoritiesFile" -}}
/etc/trackops/authorities/ca.pem
{{- end }}

{{/*
One service's `extraEnv` as a list of EnvVar.
Usage: include "trackops.extraEnvironment" $values.extraEnv
*/}}
{{- define "trackops.extraEnvironment" -}}
{{- range $name, $value := . }}
- name: {{ $name }}
  {{- if kindIs "string" $value }}
  value: {{ $value | quote }}
  {{- else }}
  {{- toYaml $value | nindent 2 }}
  {{- end }}
{{- end }}
{{- end }}

{{/*
How a user enters Kafka, as a list of EnvVar.
Usage: include "trackops.kafkaEnvironment" (dict "root" $ "user" $service.name)
*/}}
{{- define "trackops.kafkaEnvironment" -}}
{{- $values := .root.Values -}}
- name: TRACKOPS_KAFKA_BOOTSTRAP_SERVERS
  value: {{ include "trackops.kafkaServers" .root | quote }}
- name: TRACKOPS_KAFKA_SECURITY_PROTOCOL
  value: {{ $values.kafka.securityProtocol }}
{{- if hasPrefix "SASL_" $values.kafka.securityProtocol }}
- name: TRACKOPS_KAFKA_SASL_MECHANISM
  value: {{ $values.kafka.saslMechanism }}
- name: TRACKOPS_KAFKA_USERNAME
  value: {{ include "trackops.role" .user | quote }}
- name: TRACKOPS_KAFKA_PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ $values.kafka.passwordSecretName | quote }}
      key: {{ .user | quote }}
{{- end }}
{{- if and $values.serverAuthorities.secretName (hasSuffix "SSL" $values.kafka.securityProtocol) }}
- name: TRACKOPS_KAFKA_CA_FILE
  value: {{ include "trackops.authoritiesFile" . }}
{{- end }}
{{- end }}

{{/*
One entry of a Secret, as the source of an EnvVar: `key` of the Secret that is named or, where none is, `own` of
the release's.
Usage: include "trackops.secretKeyRef" (dict "root" $ "name" "" "key" "k" "own" "o")
*/}}
{{- define "trackops.secretKeyRef" -}}
secretKeyRef:
  name: {{ .name | default (include "trackops.ownSecret" .root) | quote }}
  key: {{ ternary .key .own (ne .name "") | quote }}
{{- end }}

{{/*
Where one service's database URL comes from, as the source of an EnvVar.
Usage: include "trackops.databaseUrl" (dict "root" $ "service" $service "values" $values)
*/}}
{{- define "trackops.databaseUrl" -}}
{{- $database := .values.database | default dict -}}
{{- $name := $database.secretName | default .root.Values.database.secretName -}}
{{- $key := $database.secretKey | default .service.name -}}
{{- include "trackops.secretKeyRef" (dict "root" .root "name" $name "key" $key "own" (printf "database-%s" .service.name)) }}
{{- end }}

{{/*
The addresses of Kafka: its own, or those that are given.
*/}}
{{- define "trackops.kafkaServers" -}}
{{- if .Values.servers.kafka.enabled -}}
{{ include "trackops.fullname" . }}-kafka:9092
{{- else -}}
{{ .Values.kafka.bootstrapServers }}
{{- end -}}
{{- end }}
