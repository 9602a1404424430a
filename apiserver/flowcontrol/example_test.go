package flowcontrol_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"sync"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/flowcontrol"
	"github.com/inboard/inboard/apiserver/kinds"
	"github.com/inboard/inboard/store"
)

// A request is sorted by the default objects, which the server's Run makes.
func Example() {
	st := must(store.Open(store.Config{}))
	defer st.Close()
	flows := must(flowcontrol.New(flowcontrol.Config{Store: st}))
	defer flows.Close()
	api := must(apiserver.New(apiserver.Config{Store: st, Kinds: kinds.All(), FlowControl: flows,
		Authentication: apiserver.AuthenticationConfig{Custom: func(*http.Request) (apiserver.Identity, bool, error) {
			return apiserver.Identity{User: "system:kube-scheduler", Groups: []string{"system:authenticated"}}, true, nil
		}}}))
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = api.Run(ctx) })
	<-api.Ready()

	api.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/api/v1/pods", nil))
	for _, s := range flows.Stats().Schemas {
		if s.Dispatched > 0 {
			fmt.Println(s.Dispatched, s.Schema, s.Level)
		}
	}
	cancel()
	running.Wait()
	// Output: 1 kube-scheduler workload-high
}

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}
