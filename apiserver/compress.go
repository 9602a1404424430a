package apiserver

import (
	"compress/gzip"
	"net/http"
	"net/netip"
	"strings"
	"sync"
)

// gzipFrom is the size in bytes from which answers are compressed, as in kube-apiserver.
const gzipFrom = 128 << 10

var gzipWriters = sync.Pool{New: func() any {
	w, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // the level is valid
	return w
}}

// compressible tells whether an answer of so many bytes is to be compressed: when the client takes it, and there is
// a network between. To a client on the same machine it is sent as it is: packing and unpacking take far more
// processor time, on both sides, than the bytes do.
func compressible(r *http.Request, size int) bool {
	if size < gzipFrom || !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		return false
	}
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && !from.Addr().Unmap().IsLoopback() // in memory there is no address
}
