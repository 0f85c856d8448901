#!/usr/bin/env bash
# Builds build/app.wasm and says how large it is. wrangler runs it.
set -euo pipefail
cd "$(dirname "$0")"
mkdir -p build
version=$(git describe --tags --always --dirty 2>/dev/null || echo dev)
GOOS=js GOARCH=wasm GOFLAGS=-buildvcs=false go build -trimpath -ldflags "-s -w -X main.version=$version" -o build/app.wasm .
echo "export default \"$version\";" >build/version.mjs
cp "$(go env GOROOT)/lib/wasm/wasm_exec.js" build/
size=$(gzip -9 -c build/app.wasm build/wasm_exec.js worker.mjs host.mjs door.mjs | wc -c)
echo "worker: $((size / 1024)) KB gzipped, at most 3072 KB"
[ "$size" -le $((3 * 1024 * 1024)) ] || { echo "worker: too large for the free plan" >&2; exit 1; }
