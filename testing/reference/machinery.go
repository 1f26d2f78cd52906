// Answers questions about objects of built-in kinds with the stock API machinery, one JSON line for each line it reads.
//
//	{"do":"decode","group":"apps","version":"v1","kind":"Deployment","text":"…","strict":true}
//	{"do":"merge", …, "text":"the object","patch":"a strategic merge patch"}
//	{"do":"story", …, "steps":[{"do":"apply","manager":"a","text":"a configuration","force":true},
//	                           {"do":"update","manager":"b","text":"the new object"}]}
//
// The answer is {"object":…} or {"error":"…"}; a strict decoding may give both. That of a story is {"steps":[…]}: after
// each step the object, and its managed fields in "managed".
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	kubejson "k8s.io/apimachinery/pkg/runtime/serializer/json"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/client-go/applyconfigurations"
	"k8s.io/client-go/kubernetes/scheme"
)

type question struct {
	Do, Group, Version, Kind, Text, Patch string
	Strict                                bool
	Steps                                 []step
}

type step struct {
	Do, Manager, Text string
	Force             bool
}

type answer struct {
	Object  any                         `json:"object,omitempty"`
	Managed []metav1.ManagedFieldsEntry `json:"managed,omitempty"`
	Error   string                      `json:"error,omitempty"`
	Steps   []answer                    `json:"steps,omitempty"`
}

func decoder(strict bool) runtime.Decoder {
	return kubejson.NewSerializerWithOptions(kubejson.DefaultMetaFactory, scheme.Scheme, scheme.Scheme,
		kubejson.SerializerOptions{Strict: strict})
}

func decode(q question) answer {
	kind := schema.GroupVersionKind{Group: q.Group, Version: q.Version, Kind: q.Kind}
	object, err := scheme.Scheme.New(kind)
	if err != nil {
		return answer{Error: err.Error()}
	}
	decoded, _, err := decoder(q.Strict).Decode([]byte(q.Text), &kind, object)
	out := answer{}
	if err != nil {
		out.Error = err.Error()
		if !runtime.IsStrictDecodingError(err) {
			return out
		}
	}
	out.Object = decoded
	return out
}

func merge(q question) (out answer) {
	kind := schema.GroupVersionKind{Group: q.Group, Version: q.Version, Kind: q.Kind}
	current := decode(question{Group: q.Group, Version: q.Version, Kind: q.Kind, Text: q.Text})
	if current.Error != "" {
		return answer{Error: "object: " + current.Error}
	}
	typed, _ := scheme.Scheme.New(kind)
	original, err := runtime.DefaultUnstructuredConverter.ToUnstructured(current.Object)
	if err != nil {
		return answer{Error: err.Error()}
	}
	patch := map[string]any{}
	if err := utiljson.Unmarshal([]byte(q.Patch), &patch); err != nil {
		return answer{Error: "error decoding patch: " + err.Error()}
	}
	merged, err := strategicpatch.StrategicMergeMapPatch(original, patch, typed)
	if err != nil {
		return answer{Error: err.Error()}
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(merged, typed, false); err != nil {
		return answer{Error: err.Error()}
	}
	return answer{Object: typed}
}

var types = applyconfigurations.NewTypeConverter(scheme.Scheme)

// What fails leaves the object as it was.
func story(q question) (out answer) {
	kind := schema.GroupVersionKind{Group: q.Group, Version: q.Version, Kind: q.Kind}
	manager, err := managedfields.NewDefaultFieldManager(types, scheme.Scheme, scheme.Scheme, scheme.Scheme,
		kind, kind.GroupVersion(), "", nil)
	if err != nil {
		return answer{Error: err.Error()}
	}
	live, err := scheme.Scheme.New(kind)
	if err != nil {
		return answer{Error: err.Error()}
	}
	for _, step := range q.Steps {
		after, err := take(manager, q, step, live.DeepCopyObject())
		if err != nil {
			out.Steps = append(out.Steps, answer{Error: err.Error()})
			continue
		}
		live = after
		shown := live.DeepCopyObject()
		accessor, err := meta.Accessor(shown)
		if err != nil {
			return answer{Error: err.Error()}
		}
		managed := accessor.GetManagedFields()
		for i := range managed {
			managed[i].Time = nil
		}
		accessor.SetManagedFields(nil)
		out.Steps = append(out.Steps, answer{Object: shown, Managed: managed})
	}
	return out
}

func take(manager *managedfields.FieldManager, q question, step step, live runtime.Object) (runtime.Object, error) {
	if step.Do == "apply" {
		config := map[string]any{}
		if err := utiljson.Unmarshal([]byte(step.Text), &config); err != nil {
			return nil, err
		}
		return manager.Apply(live, &unstructured.Unstructured{Object: config}, step.Manager, step.Force)
	}
	q.Text = step.Text
	next := decode(q)
	if next.Error != "" {
		return nil, errors.New(next.Error)
	}
	return manager.UpdateNoErrors(live, next.Object.(runtime.Object), step.Manager), nil
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 64<<20)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for lines.Scan() {
		var q question
		if err := json.Unmarshal(lines.Bytes(), &q); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		out.WriteString(string(must(json.Marshal(ask(q)))) + "\n")
	}
}

func ask(q question) (out answer) {
	defer func() {
		if cause := recover(); cause != nil {
			out = answer{Error: fmt.Sprint("panic: ", cause)}
		}
	}()
	switch q.Do {
	case "merge":
		return merge(q)
	case "story":
		return story(q)
	}
	return decode(q)
}

func must(text []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return text
}
