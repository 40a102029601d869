#!/bin/sh
# What has to hold before a merge. BASE is the branch to merge into; any CI service can run this.
set -eu
cd "$(dirname "$0")/.."
base=${BASE:-origin/main}

headway fmt --check manifests
headway validate manifests

# 2 says that there are changes: that is what a pull request is for.
headway plan --from "$base" --to HEAD --path manifests -o markdown || [ $? -eq 2 ]
