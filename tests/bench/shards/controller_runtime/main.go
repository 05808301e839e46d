// The two controllers of measure.py as controller-runtime has them: checksum-controller (examples/checksum-controller)
// with caches of whole objects, and with --metadata-only the note-copier of ../note_copier.cc. Each is one shard of a
// ring: its caches have only what has the shard's label, and it works while it holds the shard's Lease. It does not
// acknowledge drains, which nothing asks for here.
//
// Everything that it does not need to set is as controller-runtime has it by default, but for managedFields: the caches
// leave them out, as ours do.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"maps"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	corev1apply "k8s.io/client-go/applyconfigurations/core/v1"
	metav1apply "k8s.io/client-go/applyconfigurations/meta/v1"
	coordinationv1client "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

const (
	ringLabel  = "alpha.sharding.timebertt.dev/controllerring"
	shardLabel = "shard.alpha.sharding.timebertt.dev/"
	note       = "note"
)

func ownedMap(secret metav1.Object) *corev1apply.ConfigMapApplyConfiguration {
	owner := metav1apply.OwnerReference().WithAPIVersion("v1").WithKind("Secret").WithName(secret.GetName()).
		WithUID(secret.GetUID()).WithController(true).WithBlockOwnerDeletion(true)
	return corev1apply.ConfigMap("checksums-"+secret.GetName(), secret.GetNamespace()).WithOwnerReferences(owner)
}

// checksums keeps the SHA-256 of each value of a Secret in its ConfigMap.
func checksums(c client.Client) reconcile.Func {
	return func(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
		secret := &corev1.Secret{}
		if err := c.Get(ctx, request.NamespacedName, secret); err != nil {
			return reconcile.Result{}, client.IgnoreNotFound(err)
		}
		wanted := map[string]string{}
		for key, value := range secret.Data {
			sum := sha256.Sum256(value)
			wanted[key] = hex.EncodeToString(sum[:])
		}
		found := &corev1.ConfigMap{}
		err := c.Get(ctx, client.ObjectKey{Namespace: secret.Namespace, Name: "checksums-" + secret.Name}, found)
		if err != nil && !errors.IsNotFound(err) {
			return reconcile.Result{}, err
		}
		if err == nil && metav1.IsControlledBy(found, secret) && maps.Equal(found.Data, wanted) {
			return reconcile.Result{}, nil
		}
		return reconcile.Result{}, c.Apply(ctx, ownedMap(secret).WithData(wanted),
			client.FieldOwner("checksum-controller"), client.ForceOwnership)
	}
}

// notes keeps the annotation `note` of a Secret on its ConfigMap.
func notes(c client.Client) reconcile.Func {
	metadataOf := func(kind string) *metav1.PartialObjectMetadata {
		object := &metav1.PartialObjectMetadata{}
		object.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind(kind))
		return object
	}
	return func(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
		secret := metadataOf("Secret")
		if err := c.Get(ctx, request.NamespacedName, secret); err != nil {
			return reconcile.Result{}, client.IgnoreNotFound(err)
		}
		found := metadataOf("ConfigMap")
		err := c.Get(ctx, client.ObjectKey{Namespace: secret.Namespace, Name: "checksums-" + secret.Name}, found)
		if err != nil && !errors.IsNotFound(err) {
			return reconcile.Result{}, err
		}
		wanted := secret.Annotations[note]
		if err == nil && metav1.IsControlledBy(found, secret) && found.Annotations[note] == wanted {
			return reconcile.Result{}, nil
		}
		return reconcile.Result{}, c.Apply(ctx, ownedMap(secret).WithAnnotations(map[string]string{note: wanted}),
			client.FieldOwner("note-copier"), client.ForceOwnership)
	}
}

func run() error {
	ring := flag.String("controllerring", "", "the ring")
	shard := flag.String("shard-name", "", "name of the shard and of its Lease")
	leaseNamespace := flag.String("lease-namespace", "default", "namespace of the Lease")
	leaseSeconds := flag.Int("lease-seconds", 15, "duration of the Lease")
	metricsAddress := flag.String("metrics-bind-address", ":8080", "0: none")
	healthAddress := flag.String("health-bind-address", ":8081", "0: none")
	metadataOnly := flag.Bool("metadata-only", false, "copy notes")
	flag.Parse()
	ctrl.SetLogger(zap.New())

	config, err := ctrl.GetConfig() // by --kubeconfig, a flag of controller-runtime
	if err != nil {
		return err
	}
	config.QPS = -1 // the API server alone limits us
	leases, err := coordinationv1client.NewForConfig(config)
	if err != nil {
		return err
	}
	duration := time.Duration(*leaseSeconds) * time.Second
	deadline, period := duration*2/3, duration*2/15
	ours := labels.SelectorFromSet(labels.Set{shardLabel + *ring: *shard})
	manager, err := ctrl.NewManager(config, ctrl.Options{
		Metrics:                server.Options{BindAddress: *metricsAddress},
		HealthProbeBindAddress: *healthAddress,
		Cache: cache.Options{
			DefaultTransform: cache.TransformStripManagedFields(),
			ByObject: map[client.Object]cache.ByObject{
				&corev1.Secret{}:    {Label: ours},
				&corev1.ConfigMap{}: {Label: ours},
			},
		},
		LeaderElection: true,
		LeaderElectionResourceLockInterface: &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Namespace: *leaseNamespace, Name: *shard},
			Client:     leases,
			LockConfig: resourcelock.ResourceLockConfig{Identity: *shard},
			Labels:     map[string]string{ringLabel: *ring},
		},
		LeaderElectionReleaseOnCancel: true,
		LeaseDuration:                 &duration,
		RenewDeadline:                 &deadline,
		RetryPeriod:                   &period,
	})
	if err != nil {
		return err
	}

	of := ctrl.NewControllerManagedBy(manager).Named("secrets").
		WithOptions(controller.Options{MaxConcurrentReconciles: 5})
	if *metadataOnly {
		err = of.For(&corev1.Secret{}, builder.OnlyMetadata).Owns(&corev1.ConfigMap{}, builder.OnlyMetadata).
			Complete(notes(manager.GetClient()))
	} else {
		err = of.For(&corev1.Secret{}).Owns(&corev1.ConfigMap{}).Complete(checksums(manager.GetClient()))
	}
	if err != nil {
		return err
	}
	return manager.Start(ctrl.SetupSignalHandler())
}

func main() {
	if err := run(); err != nil {
		ctrl.Log.Error(err, "the shard ends")
		os.Exit(1)
	}
}
