// Clients that nobody changed, against the API server: a module of its own, so that importers of inboard never
// see what they require.
module github.com/inboard/inboard/internal/clients

go 1.26.0

require (
	github.com/google/go-containerregistry v0.22.1
	github.com/inboard/inboard v0.0.0
	github.com/rogpeppe/go-internal v1.16.0
)

require (
	github.com/klauspost/compress v1.19.2 // indirect
	github.com/opencontainers/go-digest v1.0.0 // indirect
	github.com/opencontainers/image-spec v1.1.1 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/tools v0.51.0 // indirect
)

replace github.com/inboard/inboard => ../..
