package apiserver_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/inboard/inboard/apiserver"
)

// A program's own checks count like the server's; the paths, parameters and words are kube-apiserver's.
func TestHealthChecks(t *testing.T) {
	broken := errors.New("the disk is full")
	s := newServer(t, asAdmin, func(c *apiserver.Config) {
		c.HealthChecks = []apiserver.HealthCheck{
			{Name: "disk", Check: func(context.Context) error { return broken }},
			{Name: "peers", ReadyOnly: true, Check: func(context.Context) error { return nil }},
		}
	})
	runServer(t, s)
	for _, test := range []struct{ path, want string }{
		{"/livez", "500 [+]ping ok\n[+]store ok\n[-]disk failed: reason withheld\nlivez check failed\n"},
		{"/livez?exclude=disk", "200 ok"},
		{"/livez?exclude=disk&verbose", "200 [+]ping ok\n[+]store ok\n[+]disk excluded: ok\nlivez check passed\n"},
		{"/readyz?verbose&exclude=disk&exclude=none&exclude=other",
			"200 [+]ping ok\n[+]store ok\n[+]bootstrap ok\n[+]disk excluded: ok\n[+]peers ok\n" +
				"warn: some health checks cannot be excluded: no matches for \"none\",\"other\"\nreadyz check passed\n"},
		{"/livez/disk", "500 internal server error: the disk is full\n"},
		{"/livez/store", "200 ok"},
		{"/readyz/peers", "200 ok"},
		{"/livez/peers", "404 404 page not found\n"},
	} {
		w := do(s, "GET", test.path, "")
		if got := fmt.Sprintf("%d %s", w.Code, w.Body); got != test.want {
			t.Errorf("%s: %q, want %q", test.path, got, test.want)
		}
	}
}

func TestHealthChecksAreWhole(t *testing.T) {
	_, st := openServer(t)
	_, err := apiserver.New(apiserver.Config{Store: st, Kinds: []apiserver.Kind{{}}, HealthChecks: []apiserver.HealthCheck{{Name: "disk"}}})
	if err == nil {
		t.Error("a check without a function is accepted")
	}
}
