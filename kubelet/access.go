package kubelet

import (
	"fmt"
	"net/http"
	"slices"
)

// apiServers are the names and groups under which API servers come to kubelets, as kubeadm and others
// that set up clusters give them.
var (
	apiServerUsers  = []string{"kube-apiserver", "kube-apiserver-kubelet-client"}
	apiServerGroups = []string{"system:masters", "kubeadm:cluster-admins"}
)

// allowAPIServers is the default of ServerConfig.Allow.
func allowAPIServers(user string, groups []string) bool {
	return slices.Contains(apiServerUsers, user) ||
		slices.ContainsFunc(groups, func(g string) bool { return slices.Contains(apiServerGroups, g) })
}

// guarded lets those through to h whom allow names by their certificate: that an authority has signed it
// says who somebody is, and not that all logs are theirs to read.
func guarded(h http.Handler, allow func(user string, groups []string) bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
			http.Error(w, "Unauthorized", http.StatusUnauthorized)
			return
		}
		subject := r.TLS.VerifiedChains[0][0].Subject
		if !allow(subject.CommonName, subject.Organization) {
			http.Error(w, fmt.Sprintf("Forbidden (user=%s, path=%s)", subject.CommonName, r.URL.Path), http.StatusForbidden)
			return
		}
		h.ServeHTTP(w, r)
	})
}
