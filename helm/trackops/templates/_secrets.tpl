{{/*
The value of one key of a Secret as it is in the cluster, or a new one: 40 letters and digits. In base64.
Usage: include "trackops.kept" (dict "old" $secret.data "key" "k")
*/}}
{{- define "trackops.kept" -}}
{{ index .old .key | default (randAlphaNum 40 | b64enc) }}
{{- end }}
