// Serves ConfigMaps and Namespaces with the stock API machinery: k8s.io/apiserver over etcd.
//
// Kept true: nothing here is Coracle's; strategies do nothing, so that what is measured is the machinery.
package main

import (
	"context"
	"net"
	"os"

	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	apiextopenapi "k8s.io/apiextensions-apiserver/pkg/generated/openapi"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	openapinamer "k8s.io/apiserver/pkg/endpoints/openapi"
	"k8s.io/apiserver/pkg/registry/generic"
	genericregistry "k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"
	genericapiserver "k8s.io/apiserver/pkg/server"
	genericoptions "k8s.io/apiserver/pkg/server/options"
	"k8s.io/apiserver/pkg/storage/names"
	"k8s.io/apiserver/pkg/util/compatibility"
	openapicommon "k8s.io/kube-openapi/pkg/common"
	"k8s.io/kube-openapi/pkg/validation/spec"
)

var (
	scheme   = runtime.NewScheme()
	codecs   = serializer.NewCodecFactory(scheme)
	internal = schema.GroupVersion{Version: runtime.APIVersionInternal}
)

func init() {
	utilruntime.Must(corev1.AddToScheme(scheme))
	scheme.AddKnownTypes(internal, &corev1.ConfigMap{}, &corev1.ConfigMapList{}, &corev1.Namespace{}, &corev1.NamespaceList{})
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
	utilruntime.Must(scheme.SetVersionPriority(corev1.SchemeGroupVersion))
}

type strategy struct {
	runtime.ObjectTyper
	names.NameGenerator
	namespaced bool
}

func (s strategy) NamespaceScoped() bool                                          { return s.namespaced }
func (strategy) PrepareForCreate(context.Context, runtime.Object)                 {}
func (strategy) PrepareForUpdate(context.Context, runtime.Object, runtime.Object) {}
func (strategy) Validate(context.Context, runtime.Object) field.ErrorList         { return nil }
func (strategy) ValidateUpdate(context.Context, runtime.Object, runtime.Object) field.ErrorList {
	return nil
}
func (strategy) WarningsOnCreate(context.Context, runtime.Object) []string { return nil }
func (strategy) WarningsOnUpdate(context.Context, runtime.Object, runtime.Object) []string {
	return nil
}
func (strategy) AllowCreateOnUpdate() bool      { return false }
func (strategy) AllowUnconditionalUpdate() bool { return true }
func (strategy) Canonicalize(runtime.Object)    {}

func store(name, singular string, namespaced bool, newFunc, newList func() runtime.Object, opts generic.RESTOptionsGetter) rest.Storage {
	s := strategy{scheme, names.SimpleNameGenerator, namespaced}
	st := &genericregistry.Store{
		NewFunc: newFunc, NewListFunc: newList,
		DefaultQualifiedResource:  schema.GroupResource{Resource: name},
		SingularQualifiedResource: schema.GroupResource{Resource: singular},
		CreateStrategy:            s, UpdateStrategy: s, DeleteStrategy: s,
		TableConvertor: rest.NewDefaultTableConvertor(schema.GroupResource{Resource: name}),
	}
	utilruntime.Must(st.CompleteWithOptions(&generic.StoreOptions{RESTOptions: opts}))
	return st
}

func ref(r openapicommon.ReferenceCallback, p string) spec.Schema {
	return spec.Schema{SchemaProps: spec.SchemaProps{Default: map[string]interface{}{}, Ref: r(p)}}
}
func strs() spec.Schema {
	return spec.Schema{SchemaProps: spec.SchemaProps{Type: []string{"object"}, AdditionalProperties: &spec.SchemaOrBool{Allows: true, Schema: &spec.Schema{SchemaProps: spec.SchemaProps{Type: []string{"string"}}}}}}
}
func prim(t string) spec.Schema { return spec.Schema{SchemaProps: spec.SchemaProps{Type: []string{t}}} }

func definitions(r openapicommon.ReferenceCallback) map[string]openapicommon.OpenAPIDefinition {
	const om, lm = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta", "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta"
	d := apiextopenapi.GetOpenAPIDefinitions(r)
	add := func(name string, props map[string]spec.Schema, deps ...string) {
		d[name] = openapicommon.OpenAPIDefinition{Schema: spec.Schema{SchemaProps: spec.SchemaProps{Type: []string{"object"}, Properties: props}}, Dependencies: deps}
	}
	list := func(of string) map[string]spec.Schema {
		it := ref(r, of)
		return map[string]spec.Schema{"kind": prim("string"), "apiVersion": prim("string"), "metadata": ref(r, lm), "items": {SchemaProps: spec.SchemaProps{Type: []string{"array"}, Items: &spec.SchemaOrArray{Schema: &it}}}}
	}
	cm, ns := corev1.ConfigMap{}.OpenAPIModelName(), corev1.Namespace{}.OpenAPIModelName()
	add(cm, map[string]spec.Schema{"kind": prim("string"), "apiVersion": prim("string"), "metadata": ref(r, om), "immutable": prim("boolean"), "data": strs(), "binaryData": strs()}, om)
	add(corev1.ConfigMapList{}.OpenAPIModelName(), list(cm), lm, cm)
	add(ns, map[string]spec.Schema{"kind": prim("string"), "apiVersion": prim("string"), "metadata": ref(r, om), "spec": prim("object"), "status": prim("object")}, om)
	add(corev1.NamespaceList{}.OpenAPIModelName(), list(ns), lm, ns)
	return d
}

func main() {
	runtimeCodec := codecs.CodecForVersions(protobuf.NewSerializer(scheme, scheme), codecs.UniversalDeserializer(), corev1.SchemeGroupVersion, internal)
	o := genericoptions.NewRecommendedOptions("/registry/yard", runtimeCodec)
	flags := pflag.NewFlagSet("yard", pflag.ExitOnError)
	o.AddFlags(flags)
	o.Authentication.RemoteKubeConfigFileOptional = true
	o.Authorization.RemoteKubeConfigFileOptional = true
	utilruntime.Must(flags.Parse(os.Args[1:]))
	o.CoreAPI, o.Admission = nil, nil
	o.Features.EnablePriorityAndFairness = false
	o.Etcd.DefaultStorageMediaType = runtime.ContentTypeProtobuf
	utilruntime.Must(o.SecureServing.MaybeDefaultWithSelfSignedCerts("localhost", nil, []net.IP{net.IPv4(127, 0, 0, 1)}))
	config := genericapiserver.NewRecommendedConfig(codecs)
	config.EffectiveVersion = compatibility.DefaultBuildEffectiveVersion()
	namer := openapinamer.NewDefinitionNamer(scheme)
	config.OpenAPIConfig = genericapiserver.DefaultOpenAPIConfig(definitions, namer)
	config.OpenAPIV3Config = genericapiserver.DefaultOpenAPIV3Config(definitions, namer)
	config.LegacyAPIGroupPrefixes.Insert("/api")
	o.ExtraAdmissionInitializers = nil
	must(o.Etcd.ApplyTo(&config.Config))
	must(o.SecureServing.ApplyToConfig(&config.Config))
	must(o.Authentication.ApplyTo(&config.Config.Authentication, config.SecureServing, config.OpenAPIConfig))
	must(o.Authorization.ApplyTo(&config.Config.Authorization))
	must(o.Audit.ApplyTo(&config.Config))
	must(o.Features.ApplyTo(&config.Config, nil, nil))
	completed := config.Config.Complete(nil)
	server, err := completed.New("yard", genericapiserver.NewEmptyDelegate())
	must(err)
	group := genericapiserver.NewDefaultAPIGroupInfo("", scheme, metav1.ParameterCodec, codecs)
	opts := config.RESTOptionsGetter
	group.VersionedResourcesStorageMap["v1"] = map[string]rest.Storage{
		"configmaps": store("configmaps", "configmap", true, func() runtime.Object { return &corev1.ConfigMap{} }, func() runtime.Object { return &corev1.ConfigMapList{} }, opts),
		"namespaces": store("namespaces", "namespace", false, func() runtime.Object { return &corev1.Namespace{} }, func() runtime.Object { return &corev1.NamespaceList{} }, opts),
	}
	must(server.InstallLegacyAPIGroup("/api", &group))
	must(server.PrepareRun().RunWithContext(genericapiserver.SetupSignalContext()))
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
