# Everything here works on a fresh Debian or Ubuntu machine that has only Go and make, run as root.

# seccomp: the containers' default profile needs libseccomp, which setup installs. grpcnotrace: without the request
# traces of gRPC, which nobody reads, the linker drops methods that nobody calls (apiserver/DESIGN.md, "Memory at rest").
TAGS := seccomp,grpcnotrace
export GOFLAGS := -tags=$(TAGS)
TOOL := GOFLAGS= go tool -modfile=internal/tools/go.mod

.PHONY: run build kubectl test setup-build setup-run setup-test setup-conformance lint unit test-store test-kubernetes test-clients test-etcd test-conformance bench bench-store clean

## run: start a whole cluster with a demo in it; ARGS="-dir /var/lib/inboard -demo=false"
run: setup-run
	@go build -o bin/cluster ./examples/cluster
	@exec ./bin/cluster $(ARGS)

## build: the example programs, in bin
build: setup-build
	@go build -o bin/ ./examples/...

## kubectl: the real kubectl, into bin
kubectl:
	@mkdir -p bin && cd internal/kubectl && version=$$(go list -m -f '{{.Version}}' k8s.io/kubectl) && \
		GOFLAGS= go build -ldflags "-X k8s.io/component-base/version.gitVersion=v1.$${version#v0.}" -o ../../bin/kubectl .

## test: all that CI runs
test: setup-test lint unit

setup-build:
	@internal/scripts/setup.sh build

setup-run:
	@internal/scripts/setup.sh run

setup-test:
	@internal/scripts/setup.sh test

setup-conformance:
	@internal/scripts/setup.sh conformance

lint:
	@echo "gofmt"; unformatted=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$unformatted" ] || { echo "gofmt would change:"; echo "$$unformatted"; exit 1; }
	@echo "go vet"; go vet ./...
	@echo "staticcheck"; $(TOOL) staticcheck -tags $(TAGS) ./...

# The race detector's programs need a good deal of memory to build: two at a time.
unit:
	@$(TOOL) gotestsum --format pkgname-and-test-fails --format-hide-empty-pkg -- -race -p 2 -timeout 15m ./...

## test-kubernetes: against the real Kubernetes components, which take some minutes to build the first time
test-kubernetes: setup-test
	cd internal/compare && GOFLAGS= go build -o ../../bin/kubernetes/ ./cmd/... && GOFLAGS= go test -timeout 60m ./...
	go test -timeout 15m ./internal/e2e -run TestKubernetes -kubernetes $(CURDIR)/bin/kubernetes

## test-clients: clients that nobody changed: kubectl of several versions, client-go, controller-runtime, Helm
test-clients: setup-test kubectl
	go build -o bin/ ./examples/cluster
	cd internal/clients && GOFLAGS= go vet ./... && GOFLAGS= go test -p 1 -timeout 20m ./... -args -bin $(CURDIR)/bin
	cd internal/clients/helm && GOFLAGS= go vet ./... && GOFLAGS= go test -timeout 20m ./... -args -bin $(CURDIR)/bin

## test-etcd: the etcd API against a real etcd, with the official client, etcdctl and a real kube-apiserver
test-etcd: setup-test
	cd internal/compare && GOFLAGS= go build -o ../../bin/kubernetes/ ./cmd/kube-apiserver
	cd internal/compare/etcd && GOFLAGS= go test -timeout 30m ./... -args -kubernetes $(CURDIR)/bin/kubernetes

## test-conformance: tests of the official conformance suite on examples/cluster; ARGS="-lists api -focus REGEXP"
test-conformance: setup-conformance
	cd internal/conformance && GOFLAGS= go test ./... && GOFLAGS= go run . $(ARGS)

## test-store: the store's heavy tests: long chaos, 200 rounds of kill -9, loss of power, clocks that jump
test-store:
	go test ./store/storetest -timeout 15m -rapid.checks 20000
	go test ./store/raft -race -timeout 120m -v -run 'Chaos|Crash|Pause|PowerLoss|Torn|FullDisk' \
		-args -chaos-runs 20 -chaos-calls 5000 -crash-rounds 200 -pause-rounds 50 -power-rounds 200
	go test ./store/raft -timeout 60m -run TestClockJumps -args -clock-jumps

## bench: the figures of the DESIGN.md files
bench: setup-test
	go test -run '^$$' -bench . -benchmem ./...

## bench-store: the store beside an embedded etcd, in one run; ARGS="-dir D -rounds 5"
bench-store: setup-test
	cd internal/compare/store && GOFLAGS= go run . $(ARGS)

clean:
	rm -rf bin
