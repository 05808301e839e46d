{{/* The names are those of docs/protocol.md, section 7: they do not depend on the release. */}}
{{- define "sharder.selector" -}}
app.kubernetes.io/name: controller-sharding
app.kubernetes.io/component: sharder
{{- end }}

{{- define "sharder.image" -}}
{{- with .Values.image.registry }}{{ . }}/{{ end }}{{ .Values.image.repository }}
{{- if .Values.image.tag }}:{{ .Values.image.tag }}{{ else if not .Values.image.digest }}:{{ .Chart.AppVersion }}{{ end }}
{{- with .Values.image.digest }}@{{ . }}{{ end }}
{{- end }}

{{/* SharderConfig: the defaults of the mode and of the namespace, and over them `config`. */}}
{{- define "sharder.config" -}}
{{- $mode := .Values.certificates.mode }}
{{- $given := dig "webhook" "certificates" "" .Values.config }}
{{- $certificates := $given | default (get (dict "certManager" "secret" "selfManaged" "selfManaged" "existingSecret" "secret") $mode) }}
{{- $webhook := dict }}
{{- if ne $certificates "files" }}
{{- $_ := set $webhook "certificates" $certificates }}
{{- with .Values.certificates.secretName | default (ternary "sharder-webhook" "" (eq $mode "certManager")) }}
{{- $_ := set $webhook "secretName" . }}
{{- end }}
{{- else if eq $mode "certManager" }}
{{- $from := printf "%s/%s" .Release.Namespace "sharder-webhook" }}
{{- $_ := set $webhook "config" (dict "annotations" (dict "cert-manager.io/inject-ca-from" $from)) }}
{{- end }}
{{- $config := dict "apiVersion" "config.sharding.timebertt.dev/v1alpha1" "kind" "SharderConfig" }}
{{- if $webhook }}{{ $_ := set $config "webhook" $webhook }}{{ end }}
{{- if ne .Release.Namespace "sharding-system" }}
{{- $_ := set $config "leaderElection" (dict "resourceNamespace" .Release.Namespace) }}
{{- $service := dict "namespace" .Release.Namespace "name" "sharder" }}
{{- $others := dict "key" "kubernetes.io/metadata.name" "operator" "NotIn" "values" (list "kube-system" .Release.Namespace) }}
{{- $client := dict "clientConfig" (dict "service" $service) "namespaceSelector" (dict "matchExpressions" (list $others)) }}
{{- $_ := set $config "webhook" (mergeOverwrite (dict "config" $client) $webhook) }}
{{- end }}
{{- toYaml (mergeOverwrite $config (deepCopy .Values.config)) }}
{{- end }}

{{/* files, secret or selfManaged: where the sharder has its certificate from. */}}
{{- define "sharder.certificates" -}}
{{- dig "webhook" "certificates" "files" (include "sharder.config" . | fromYaml) }}
{{- end }}

{{- define "sharder.secretName" -}}
{{- $names := dict "certManager" "sharder-webhook" "selfManaged" "sharder-webhook-server" "existingSecret" "webhook-server" }}
{{- .Values.certificates.secretName | default (get $names .Values.certificates.mode) }}
{{- end }}
