{{/*
A pod's security context: what the restricted Pod Security level asks of it.
The ids are numbers, because the kubelet cannot tell whether a name is root.
*/}}
{{- define "trackops.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: {{ int64 .Values.runAsUser }}
runAsGroup: {{ int64 .Values.runAsUser }}
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{/*
A container's security context: the same level, and a root file system that nobody writes to.
*/}}
{{- define "trackops.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}
