// Answers questions about objects of built-in kinds with the stock API machinery, one JSON line for each line it reads.
//
//	{"do":"decode","group":"apps","version":"v1","kind":"Deployment","text":"…","strict":true}
//	{"do":"merge", …, "text":"the object","patch":"a strategic merge patch"}
//
// The answer is {"object":…} or {"error":"…"}; a strict decoding may give both.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	kubejson "k8s.io/apimachinery/pkg/runtime/serializer/json"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/client-go/kubernetes/scheme"
)

type question struct {
	Do, Group, Version, Kind, Text, Patch string
	Strict                                bool
}

type answer struct {
	Object any    `json:"object,omitempty"`
	Error  string `json:"error,omitempty"`
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
	if q.Do == "merge" {
		return merge(q)
	}
	return decode(q)
}

func must(text []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return text
}
