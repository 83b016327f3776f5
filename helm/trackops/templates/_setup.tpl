{{/*
What every container of the setup Job has beside its command.
*/}}
{{- define "trackops.setupContainer" -}}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  {{- include "trackops.containerSecurityContext" . | nindent 2 }}
resources:
  {{- toYaml .Values.setup.resources | nindent 2 }}
volumeMounts:
  - name: tmp
    mountPath: /tmp
  {{- include "trackops.authoritiesMount" . | nindent 2 }}
{{- end }}

{{/*
Where containers find `serverAuthorities`, as an entry of volumeMounts; nothing if there are none.
*/}}
{{- define "trackops.authoritiesMount" -}}
{{- if .Values.serverAuthorities.secretName }}
- name: authorities
  mountPath: {{ include "trackops.authoritiesFile" . | dir }}
  readOnly: true
{{- end }}
{{- end }}

{{/*
The volume of that, as an entry of volumes.
*/}}
{{- define "trackops.authoritiesVolume" -}}
{{- with .Values.serverAuthorities }}
{{- if .secretName }}
- name: authorities
  secret:
    secretName: {{ .secretName | quote }}
    items:
      - key: {{ .key | quote }}
        path: {{ include "trackops.authoritiesFile" $ | base }}
{{- end }}
{{- end }}
{{- end }}
