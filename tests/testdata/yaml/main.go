// Reads texts, one JSON string a line, as the Go components of Kubernetes do, and prints what they became, one JSON
// object a line. `values`: any YAML, by sigs.k8s.io/yaml. `config`: a SharderConfig, by the strict decoder that the Go
// sharder has from k8s.io/apimachinery.
package main

import (
	"bufio"
	"encoding/json"
	"os"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	componentbaseconfig "k8s.io/component-base/config/v1alpha1"
	"sigs.k8s.io/yaml"
)

// SharderConfig has the fields of the Go sharder's v1alpha1 and those that are only ours.
type SharderConfig struct {
	metav1.TypeMeta  `json:",inline"`
	ClientConnection *componentbaseconfig.ClientConnectionConfiguration `json:"clientConnection,omitempty"`
	LeaderElection   *componentbaseconfig.LeaderElectionConfiguration   `json:"leaderElection,omitempty"`
	Debugging        *componentbaseconfig.DebuggingConfiguration        `json:"debugging,omitempty"`
	Health           Endpoint                                           `json:"health"`
	Metrics          Endpoint                                           `json:"metrics"`
	GracefulShutDown *metav1.Duration                                   `json:"gracefulShutDown,omitempty"`
	ShutdownDelay    *metav1.Duration                                   `json:"shutdownDelay,omitempty"` // ours
	Controller       Controller                                         `json:"controller"`
	Webhook          Webhook                                            `json:"webhook"`
}

type Endpoint struct {
	BindAddress string `json:"bindAddress"`
}

type Controller struct {
	Sharder *Sharder `json:"sharder,omitempty"`
}

type Sharder struct {
	SyncPeriod      *metav1.Duration `json:"syncPeriod,omitempty"`
	ConcurrentMoves *int32           `json:"concurrentMoves,omitempty"` // ours
}

type Webhook struct {
	Server *WebhookServer `json:"server,omitempty"`
	Config *WebhookConfig `json:"config,omitempty"`
}

type WebhookServer struct {
	BindAddress *string `json:"bindAddress,omitempty"` // ours
	CertDir     *string `json:"certDir,omitempty"`
	CertName    *string `json:"certName,omitempty"`
	KeyName     *string `json:"keyName,omitempty"`
}

type WebhookConfig struct {
	Annotations       map[string]string                            `json:"annotations,omitempty"`
	ClientConfig      *admissionregistrationv1.WebhookClientConfig `json:"clientConfig,omitempty"`
	NamespaceSelector *metav1.LabelSelector                        `json:"namespaceSelector,omitempty"`
}

func (c *SharderConfig) DeepCopyObject() runtime.Object {
	copied := *c
	return &copied
}

type result struct {
	Value  json.RawMessage `json:"value,omitempty"` // absent: refused
	Strict *bool           `json:"strict,omitempty"`
}

func readValue(text []byte) result {
	value, err := yaml.YAMLToJSON(text)
	if err != nil {
		return result{}
	}
	_, err = yaml.YAMLToJSONStrict(text)
	strict := err == nil
	return result{Value: value, Strict: &strict}
}

func configReader() func([]byte) result {
	scheme := runtime.NewScheme()
	version := schema.GroupVersion{Group: "config.sharding.timebertt.dev", Version: "v1alpha1"}
	scheme.AddKnownTypes(version, &SharderConfig{})
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	return func(text []byte) result {
		object, err := runtime.Decode(decoder, text)
		if err != nil {
			return result{}
		}
		value, err := json.Marshal(object)
		if err != nil {
			panic(err)
		}
		return result{Value: value}
	}
}

func main() {
	read := readValue
	if os.Args[1] == "config" {
		read = configReader()
	}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<24)
	output := json.NewEncoder(os.Stdout)
	output.SetEscapeHTML(false)
	for lines.Scan() {
		var text string
		if err := json.Unmarshal(lines.Bytes(), &text); err != nil {
			panic(err)
		}
		if err := output.Encode(read([]byte(text))); err != nil {
			panic(err)
		}
	}
}
