# Codex Proxy. `make help` lists what there is.
VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS   := -s -w -X main.version=$(VERSION)
BIN       := build/codex-proxy
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOWINRES := github.com/tc-hib/go-winres@v0.3.3
GORELEASER ?= go run github.com/goreleaser/goreleaser/v2@v2.15.1
CYCLONEDX := github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0
RELEASE_ARCHS ?= amd64 arm64
REPOSITORY ?= codex-proxy/codex-proxy
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0
export CGO_ENABLED ?= $(if $(filter Darwin,$(shell uname -s)),1,0)
export GOFLAGS ?= -buildvcs=false

.PHONY: $(shell sed -n 's/^\([a-z0-9-]*\):.*/\1/p' $(MAKEFILE_LIST))
help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 24

build: ## build build/codex-proxy
	go build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN) .

run: build ## build and start the proxy (on a Mac the icon needs cgo, so Apple's command line tools)
	$(BIN)

demo: build ## build and start the proxy with the built-in demo backend
	$(BIN) --demo

PARTS := lint check-platforms check-go check-e2e check-clients check-desktop test-windows check-worker check-packages check-vulnerabilities

test: ## every check there is; it says first what it installs, and ends with one line for all
	@MAKE="$(MAKE)" test/all $(PARTS)

check: ## the quick form: formatting, vet, and the tests of packages that have changed (go test knows which)
	@out=$$(gofmt -l .); [ -z "$$out" ] || { echo "not gofmt-ed: $$out"; exit 1; }
	go vet -tags e2e ./...
	go run ./test/count go test -json -short ./...

tools: ## install what the tests need (apt), or say what to install
	@test/tools

check-go: ## the packages' own tests, with the race detector; they need nothing but Go
	CGO_ENABLED=0 go build -o build/count ./test/count
	CGO_ENABLED=1 build/count go test -json -race -timeout 8m ./...

check-e2e: ## the built program, driven as its users do (needs what `make tools` installs)
	go run ./test/count go test -json -tags e2e -count=1 -timeout 10m ./test/e2e

lint: ## formatting, go vet, staticcheck, go.mod
	@out=$$(gofmt -l .); [ -z "$$out" ] || { echo "not gofmt-ed: $$out"; exit 1; }
	go vet -tags e2e ./...
	go run $(STATICCHECK) -tags e2e ./...
	go mod tidy -diff

check-platforms: ## what must compile for the other systems
	GOOS=windows GOARCH=amd64 go vet . ./creds/... ./proxy/... ./tray ./internal/...
	GOOS=darwin GOARCH=arm64 go vet . ./creds/... ./proxy/... ./tray ./internal/...
	GOOS=linux GOARCH=arm64 go build -o /dev/null .
	GOOS=js GOARCH=wasm go build ./creds ./proxy/...

check-vulnerabilities: ## govulncheck, where its database can be reached
	@out=$$(go run $(GOVULNCHECK) ./... 2>&1); code=$$?; \
	 if [ $$code -ne 0 ] && ! echo "$$out" | grep -qE 'exit status 3|Vulnerability #' && echo "$$out" | grep -qE 'dial tcp|no such host|fetching vulnerabilities|connection refused|status code|Forbidden'; then echo "govulncheck: its database can't be reached from here, skipped"; [ -z "$$COUNTS" ] || echo 0 0 1 >>"$$COUNTS"; \
	 else echo "$$out"; exit $$code; fi

check-clients: build ## the SDKs, Codex CLI and Claude Code against the built binary
	go build -o build/stand-in ./internal/standin
	test/clients/run

test-clients: build ## all clients, opencode, Qwen Code, Continue and Cline too; writes docs/clients.md
	go build -o build/stand-in ./internal/standin
	test/clients/run --all --write

check-desktop: build ## the icon, the menu and the notifications on a real desktop, light and dark (Xvfb, xfce4-panel, dunst, gnome-keyring)
	test/desktop/run

check-desktop-faults: ## plant faults in a copy, and have the desktop tests find each (about 10 minutes)
	test/desktop/faults

build-windows: ## build/codex-proxy.exe for the console, build/codex-proxy-tray.exe with the icon
	cd packaging/windows && go run $(GOWINRES) make --arch amd64 --in winres.json --out ../../rsrc --product-version 0.0.0.0 --file-version 0.0.0.0
	GOOS=windows GOARCH=amd64 go build -trimpath -ldflags '$(LDFLAGS)' -o build/codex-proxy.exe .
	GOOS=windows GOARCH=amd64 go build -trimpath -ldflags '$(LDFLAGS) -H=windowsgui' -o build/codex-proxy-tray.exe .
	rm -f rsrc_windows_*.syso

test-windows: build-windows ## the Windows programs under wine
	go build -o build/stand-in ./internal/standin
	for p in autostart systemproxy; do GOOS=windows GOARCH=amd64 go test -c -o build/$$p.test.exe ./internal/$$p || exit; done
	test/windows/run

worker: ## build the Cloudflare Worker
	worker/build.sh

worker-dev: ## run the Worker on this machine
	cd worker && ../test/npm && npx wrangler dev --local --ip 127.0.0.1

check-worker: ## the Worker in workerd, in front of the stand-in
	go build -o build/stand-in ./internal/standin
	GOOS=js GOARCH=wasm go vet ./worker
	worker/run worker.test.mjs

test-worker-clients: ## the SDKs against the Worker in workerd; writes docs/worker-clients.md
	go build -o build/stand-in ./internal/standin
	cd test/clients && ../npm --ignore-scripts
	worker/run ../test/clients/run.mjs --worker --write

check-worker-faults: ## plant faults in a copy, and have the Worker's tests find each (about 20 minutes)
	worker/faults

bench-worker: ## first token, CPU and cold start of the Worker, beside one that only passes answers on (about 4 minutes)
	go build -o build/stand-in ./internal/standin
	worker/run bench.mjs

release: ## all that this system can make of a release, offline, in build/release; macOS: packaging/macos/build
	VERSION=$(VERSION) REPOSITORY=$(REPOSITORY) GORELEASER="$(GORELEASER)" GOWINRES=$(GOWINRES) CYCLONEDX=$(CYCLONEDX) RELEASE_ARCHS="$(RELEASE_ARCHS)" MORE="$(MORE)" packaging/release

check-packages: ## installs, runs, upgrades and removes what `make release` makes (root for the Linux packages; about 4 minutes)
	@$(MAKE) -s release RELEASE_ARCHS=amd64 VERSION=0.0.1
	@GOWINRES=$(GOWINRES) test/packages/run

page: ## bundle the page's sources into internal/page/dist
	cd page && npm ci --no-audit --no-fund --ignore-scripts --silent
	go run ./internal/page/bundle

test-kill-history: ## 200 histories ended by kill -9 (make test runs 4)
	KILL_ROUNDS=200 go test -count=1 -run TestKill -timeout 30m -v ./internal/history

icons: ## draw assets/icons from assets/icon.svg (needs rsvg-convert)
	go run ./internal/icons
	cp assets/icons/running.ico packaging/windows/icon.ico

bench: build ## CPU, latency and memory as ratios to httputil.ReverseProxy in the same run (about 14 minutes); writes docs/performance.md
	go build -o build/bench ./test/bench
	build/bench -rounds 3 -write docs/performance.md $(BIN)

bench-peers: build ## two other programs of this kind, from npm, beside the proxy and httputil.ReverseProxy (about 4 minutes); writes docs/performance.md
	go build -o build/bench ./test/bench
	build/bench -peers -rounds 5 -write docs/performance.md $(BIN)

test-kill: ## 1,000 refreshes ended by kill -9 at every point (make test runs 60)
	KILL_ROUNDS=1000 go test -count=1 -run TestKill -timeout 30m -v ./creds

test-soak: ## 10,000 aborted streams, 2,000 slow readers (make test runs fewer)
	SOAK=1 go test -tags e2e -count=1 -run 'TestAborted|TestSlowReaders' -timeout 30m -v ./test/e2e

torture: build ## the long form of every test of reliability and security; writes docs/reliability.md (an hour and a half)
	test/torture

soak: ## an hour of mixed use
	SOAK_MINUTES=60 go test -tags e2e -count=1 -run MixedUse -timeout 90m -v ./test/e2e

fuzz: ## a minute of fuzzing for each parser
	@for t in FuzzDecoder:./proxy/codex FuzzRequest:./proxy/codex FuzzChat:./proxy/openai FuzzMessages:./proxy/anthropic FuzzOllama:./proxy/ollama FuzzGemini:./proxy/gemini FuzzAuthFile:./creds FuzzClaims:./creds FuzzCallback:./creds/login FuzzAdmin:./proxy; do \
	  go test -run '^$$' -fuzz "^$${t%%:*}$$" -fuzztime 60s $${t#*:} || exit 1; done

clean:
	rm -rf build
