{{/*
Secrets to fetch images with, as a pod's field.
*/}}
{{- define "trackops.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
  {{- end }}
{{- end }}
{{- end }}

{{/*
Where one service's pods run, as a pod's fields: apart from each other if that can be had.
Usage: include "trackops.placement" (dict "root" $ "name" "order" "values" $values)
*/}}
{{- define "trackops.placement" -}}
topologySpreadConstraints:
  {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - topologyKey: {{ . }}
    maxSkew: 1
    whenUnsatisfiable: {{ $.values.whenUnsatisfiable }}
    labelSelector:
      matchLabels:
        {{- include "trackops.selectorLabels" $ | nindent 8 }}
  {{- end }}
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
