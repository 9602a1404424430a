package aggregate_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/aggregate"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/kinds"
	"github.com/inboard/inboard/store"
)

// A Resolver finds servers that no Service leads to, such as one in the same program. The Service is there all the same.
func Example() {
	teas := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s asks for %s\n", r.Header.Get("X-Remote-User"), r.URL.Path)
	}))
	defer teas.Close()
	st := ok(store.Open(store.Config{}))
	defer st.Close()
	layer := ok(aggregate.New(aggregate.Config{Store: st, Resolver: at{ok(url.Parse(teas.URL))}}))
	admin := apiserver.Identity{User: "admin", Groups: []string{apiserver.GroupMasters}}
	server := ok(apiserver.New(apiserver.Config{Store: st, Kinds: append(kinds.All(), aggregate.Kinds()...), Aggregator: layer,
		Authentication: apiserver.AuthenticationConfig{Custom: func(*http.Request) (apiserver.Identity, bool, error) { return admin, true, nil }}}))
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	running.Go(func() { _ = server.Run(ctx) })

	c := server.Client(admin)
	ok(client.For[*corev1.Service](c).Create(ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "teas"},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "teas.example.com"}, // has no endpoints
	}))
	ok(client.For[*apiregistrationv1.APIService](c).Create(ctx, &apiregistrationv1.APIService{
		ObjectMeta: metav1.ObjectMeta{Name: "v1.tea.example.com"},
		Spec: apiregistrationv1.APIServiceSpec{Group: "tea.example.com", Version: "v1", GroupPriorityMinimum: 100, VersionPriority: 10,
			Service: &apiregistrationv1.ServiceReference{Namespace: "default", Name: "teas"}, InsecureSkipTLSVerify: true},
	}))
	for { // until Run has found that it answers
		w := httptest.NewRecorder()
		server.ServeHTTP(w, httptest.NewRequest("GET", "/apis/tea.example.com/v1/leaves", nil))
		if w.Code == http.StatusOK {
			fmt.Println(strings.TrimSpace(w.Body.String()))
			break
		}
		time.Sleep(time.Millisecond)
	}
	// Output: admin asks for /apis/tea.example.com/v1/leaves
}

// at is a server that is behind every Service.
type at struct{ url *url.URL }

func (a at) Resolve(context.Context, string, string, int32) (*url.URL, error) { return a.url, nil }
