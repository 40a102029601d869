package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// A document is one object as it is written: a document of a YAML file, a JSON file, or an item of a List.
type document struct {
	Repository string `json:"repository"`
	File       string `json:"file"`   // within the repository
	Number     int    `json:"number"` // within the file, from 1
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	data       []byte
}

func (d document) String() string {
	return fmt.Sprintf("%s/%s document %d (%s)", d.Repository, d.File, d.Number, d.Kind)
}

// kinds are those that headway runs or takes, as the groups they are in, or once were.
func kinds() map[string][]string {
	workload := []string{"apps", "extensions"}
	return map[string][]string{
		"Namespace": {""}, "Node": {""}, "Pod": {""}, "ReplicationController": {""}, "Service": {""}, "Endpoints": {""},
		"ConfigMap": {""}, "Secret": {""}, "PersistentVolume": {""}, "PersistentVolumeClaim": {""}, "LimitRange": {""},
		"ResourceQuota": {""}, "ServiceAccount": {""},
		"ReplicaSet": workload, "Deployment": workload, "StatefulSet": workload, "DaemonSet": workload,
		"Job": {"batch"}, "CronJob": {"batch"},
		"EndpointSlice": {"discovery.k8s.io"}, "StorageClass": {"storage.k8s.io"}, "PriorityClass": {"scheduling.k8s.io"},
		"Ingress": {"networking.k8s.io", "extensions"}, "IngressClass": {"networking.k8s.io"},
		"NetworkPolicy":           {"networking.k8s.io", "extensions"},
		"HorizontalPodAutoscaler": {"autoscaling"}, "PodDisruptionBudget": {"policy"},
		"Cluster": {"headway.dev"},
	}
}

// inScope tells whether the document's kind is one that headway is for.
func (d document) inScope() bool {
	group, _, ok := strings.Cut(d.APIVersion, "/")
	if !ok {
		group = ""
	}
	return slices.Contains(kinds()[d.Kind], group)
}

// name is what the document is called in a tree of its own.
func (d document) name() string { return path.Base(d.File) }

// readRepository reads every document of a directory, of all files whose names say that they are YAML or JSON.
func readRepository(dir, repository string) ([]document, error) {
	root := os.DirFS(dir)
	var all []document
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || !slices.Contains([]string{".yaml", ".yml", ".json"}, path.Ext(name)) {
			return err
		}
		data, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		for i, text := range split(name, data) {
			all = append(all, identify(document{Repository: repository, File: name, Number: i + 1, data: text})...)
		}
		return nil
	})
	return all, err
}

// split cuts a file into its documents, on its own terms: it shares nothing with headway's reader, which it is to judge.
func split(name string, data []byte) [][]byte {
	if path.Ext(name) == ".json" {
		return [][]byte{data}
	}
	var out [][]byte
	var current []byte
	flush := func() {
		if hasContent(current) {
			out = append(out, current)
		}
		current = nil
	}
	for line := range bytes.Lines(data) {
		if marker.Match(line) {
			flush()
		}
		current = append(current, line...)
	}
	flush()
	return out
}

var (
	marker  = regexp.MustCompile(`^---(\s|$)`)
	nothing = regexp.MustCompile(`^(---(\s+#.*)?|\.\.\.|\s*#.*|\x{feff})?\s*$`)
	// written finds what an object is in a text that no parser takes.
	written = regexp.MustCompile(`(?m)^(apiVersion|kind):[ \t]*["']?([A-Za-z0-9./]+)`)
)

func hasContent(text []byte) bool {
	for line := range bytes.Lines(text) {
		if !nothing.Match(line) {
			return true
		}
	}
	return false
}

// identify says what the document is, or its items if it is a List; nothing for what is no object.
func identify(d document) []document {
	var head struct {
		APIVersion string            `json:"apiVersion"`
		Kind       string            `json:"kind"`
		Items      []json.RawMessage `json:"items"`
	}
	if err := yaml.Unmarshal(d.data, &head); err != nil {
		for _, m := range written.FindAllSubmatch(d.data, -1) {
			switch string(m[1]) {
			case "apiVersion":
				head.APIVersion = string(m[2])
			case "kind":
				head.Kind = string(m[2])
			}
		}
	}
	d.APIVersion, d.Kind = head.APIVersion, head.Kind
	if d.Kind == "" || d.APIVersion == "" {
		return nil
	}
	if d.Kind != "List" {
		return []document{d}
	}
	var items []document
	for _, item := range head.Items {
		d.data = item // JSON, which YAML takes too
		items = append(items, identify(d)...)
	}
	return items
}
