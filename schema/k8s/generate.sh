#!/usr/bin/env bash
# Writes definitions.txtar.zst: the CUE definitions of the k8s.io/api that go.mod requires. "cue get go" of the required
# version of CUE makes them, and pack fits them to how manifests are written.
set -euo pipefail
cd "$(dirname "$0")"
root=$(go list -m -f '{{.Dir}}')
cue=$(go list -m -f '{{.Version}}' cuelang.org/go)
api=$(go list -m -f '{{.Version}}' k8s.io/api)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cp "$root/go.mod" "$root/go.sum" "$dir"
mkdir "$dir/cue.mod"
printf 'module: "headway.invalid/generate@v0"\nlanguage: version: "v0.9.0"\n' >"$dir/cue.mod/module.cue"
# The command needs more modules than the project does, so it is built apart.
GOBIN="$dir/bin" go install "cuelang.org/go/cmd/cue@$cue"
(cd "$dir" && GOFLAGS=-mod=mod bin/cue get go k8s.io/api/...)
go run ./pack -version "$api" -out definitions.txtar.zst "$dir/cue.mod/gen"
