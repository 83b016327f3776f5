{{/*
The servers that the release brings along, as a list: those of Postgres, Redis and Kafka that are enabled.
  name   under `servers` in the values
  port   where it serves
  user   number of the user that its image has made for it
  data   where its volume is mounted
*/}}
{{- define "trackops.servers" -}}
{{- $all := list
  (dict "name" "postgres" "port" 5432 "user" 999 "data" "/var/lib/postgresql")
  (dict "name" "redis" "port" 6379 "user" 999 "data" "/data")
  (dict "name" "kafka" "port" 9092 "user" 1000 "data" "/var/lib/kafka/data") -}}
{{- $enabled := list -}}
{{- range $all -}}
{{- if (index $.Values.servers .name).enabled -}}
{{- $enabled = append $enabled . -}}
{{- end -}}
{{- end -}}
{{- toYaml $enabled -}}
{{- end }}

{{/*
What a server's container has of its own: command, environment, probe, mounts.
Usage: include (printf "trackops.%sContainer" "postgres") $
*/}}
{{- define "trackops.postgresContainer" -}}
args: [-c, max_connections=200]
env:
  - name: PGDATA
    value: /var/lib/postgresql/data/pgdata
  - name: POSTGRES_DB
    value: trackops
  - name: POSTGRES_INITDB_ARGS
    value: --auth-host=scram-sha-256
  - name: POSTGRES_PASSWORD
    valueFrom:
      {{- include "trackops.secretKeyRef" (dict "root" . "name" "" "key" "" "own" "postgres") | nindent 6 }}
  {{- range include "trackops.mesh" . | fromYamlArray }}
  - name: PASSWORD_OF_{{ include "trackops.role" .name }}
    valueFrom:
      {{- include "trackops.secretKeyRef" (dict "root" $ "name" "" "key" "" "own" (printf "postgres-%s" .name)) | nindent 6 }}
  {{- end }}
readinessProbe:
  exec:
    command: [pg_isready, --host=127.0.0.1, --username=postgres, --dbname=trackops]
  periodSeconds: 5
{{- end }}

{{- define "trackops.redisContainer" -}}
args: [--requirepass, $(REDIS_PASSWORD), --appendonly, "yes"]
env:
  - name: REDIS_PASSWORD
    valueFrom:
      {{- include "trackops.secretKeyRef" (dict "root" . "name" "" "key" "" "own" "redis") | nindent 6 }}
readinessProbe:
  tcpSocket:
    port: server
  periodSeconds: 5
{{- end }}

{{- define "trackops.kafkaContainer" -}}
env:
  {{- $name := include "trackops.serviceName" (dict "root" . "name" "kafka") }}
  {{- range $setting, $value := dict
    "KAFKA_NODE_ID" "1"
    "KAFKA_PROCESS_ROLES" "broker,controller"
    "KAFKA_LISTENERS" "PLAINTEXT://:9092,CONTROLLER://127.0.0.1:9093"
    "KAFKA_ADVERTISED_LISTENERS" (printf "PLAINTEXT://%s:9092" $name)
    "KAFKA_CONTROLLER_LISTENER_NAMES" "CONTROLLER"
    "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP" "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT"
    "KAFKA_CONTROLLER_QUORUM_VOTERS" "1@127.0.0.1:9093"
    "KAFKA_AUTO_CREATE_TOPICS_ENABLE" "false"
    "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR" "1"
    "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR" "1"
    "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR" "1"
    "KAFKA_LOG_DIRS" "/var/lib/kafka/data/logs"
  }}
  - name: {{ $setting }}
    value: {{ $value | quote }}
  {{- end }}
readinessProbe:
  tcpSocket:
    port: server
  periodSeconds: 5
{{- end }}

{{/*
A shell script that makes a role and a schema for each service, run by Postgres's image when the volume is empty.
docs/server-rights.md has the same by hand.
*/}}
{{- define "trackops.rolesScript" -}}
set -eu
psql -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname trackops <<'SQL'
REVOKE ALL ON DATABASE postgres, template1, trackops FROM PUBLIC;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
SQL
for role in {{ range include "trackops.mesh" . | fromYamlArray }}{{ include "trackops.role" .name }} {{ end }}; do
  eval "password=\$PASSWORD_OF_$role"
  psql -v ON_ERROR_STOP=1 -v role="$role" -v password="$password" --username "$POSTGRES_USER" --dbname trackops <<'SQL'
CREATE ROLE :"role" LOGIN PASSWORD :'password';
GRANT CONNECT ON DATABASE trackops TO :"role";
CREATE SCHEMA :"role" AUTHORIZATION :"role";
ALTER ROLE :"role" IN DATABASE trackops SET search_path = :"role";
SQL
done
{{- end }}
