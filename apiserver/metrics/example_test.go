package metrics_test

import (
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/kinds"
	"github.com/inboard/inboard/apiserver/metrics"
	"github.com/inboard/inboard/store"
)

// The metrics come first, since the server is made with them.
func Example() {
	m := must(metrics.New(metrics.Config{}))
	st := must(store.Open(store.Config{}))
	defer st.Close()
	api := must(apiserver.New(apiserver.Config{Store: st, Kinds: kinds.All(), Metrics: m,
		Authentication: apiserver.AuthenticationConfig{Custom: func(*http.Request) (apiserver.Identity, bool, error) {
			return apiserver.Identity{User: "admin", Groups: []string{apiserver.GroupMasters}}, true, nil
		}}}))
	m.Observe(api)

	for _, path := range []string{"/api/v1/pods", "/metrics"} {
		w := httptest.NewRecorder()
		api.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		for line := range strings.Lines(w.Body.String()) {
			if strings.HasPrefix(line, "apiserver_request_total") {
				fmt.Print(line)
			}
		}
	}
	// Output:
	// apiserver_request_total{code="200",component="apiserver",dry_run="",group="",resource="pods",scope="cluster",subresource="",verb="LIST",version="v1"} 1
}

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}
