package apiserver

import (
	"net/http"
	"slices"
	"time"
)

// Verbs by the form of a request's path.
var (
	itemVerbs       = []string{verbGet, verbUpdate, verbPatch, verbDelete}
	collectionVerbs = []string{verbList, verbWatch, verbCreate, verbDeleteCollection}
	everywhereVerbs = []string{verbList, verbWatch} // of all namespaces
	changeVerbs     = []string{verbGet, verbUpdate, verbPatch}
)

// route checks that a request's path, method and media types are ones that are served, in the order and with the
// answers of kube-apiserver's router.
func (c *call) route() error {
	if c.rq.res.Custom != nil {
		return c.routeCustom()
	}
	allowed, conn := c.pathVerbs()
	switch {
	case len(allowed) == 0:
		return notFoundPath()
	case conn && c.r.Method == http.MethodOptions && c.target.ref.Subresource == "proxy":
		return nil // the one method without a verb of the API
	case !slices.Contains(allowed, c.rq.verb) || c.r.Method == http.MethodHead && !conn:
		return methodNotAllowed()
	case conn || c.target.ref.Subresource == "log":
		return nil // what is behind them speaks for itself
	}
	if c.rq.verb == verbPatch && !knownPatch(c.patchType()) {
		return unsupportedPatch() // before the form of the answer is looked at
	}
	return acceptable(c.r, produces(c.rq.verb))
}

// pathVerbs returns what can be done at the request's path, nothing for one that is not served. connected tells that it
// leads on to something else.
func (c *call) pathVerbs() (verbs []string, connected bool) {
	res, ref := c.rq.res, c.target.ref
	switch {
	case ref.Subresource != "":
		return c.subresourceVerbs()
	case res.Namespaced && ref.Namespace == "" && ref.Name != "":
		return nil, false
	case c.target.watch:
		verbs = everywhereVerbs[1:]
	case ref.Name != "":
		verbs = itemVerbs
	case res.Namespaced && ref.Namespace == "":
		verbs = everywhereVerbs
	default:
		verbs = collectionVerbs
	}
	if res.Verbs == nil {
		return verbs, false
	}
	return slices.DeleteFunc(slices.Clone(verbs), func(verb string) bool { return !res.serves(verb) }), false
}

func (c *call) subresourceVerbs() (verbs []string, connected bool) {
	res, ref := c.rq.res, c.target.ref
	if ref.Name == "" || res.Namespaced && ref.Namespace == "" || c.target.rest != "" && ref.Subresource != "proxy" {
		return nil, false
	}
	if conn := c.connection(); conn != nil {
		return conn.verbs, true
	}
	switch sub, own := res.Subresources[ref.Subresource]; {
	case own && sub.Merge != nil && res.gvr == namespacesResource:
		return []string{verbUpdate}, false // finalize is only written
	case own && sub.Merge != nil, c.rq.checkSubresource() == nil:
		return changeVerbs, false
	case own:
		return []string{verbCreate}, false
	case ref.Subresource == "log" && res.gvr == podsResource:
		return []string{verbGet}, false
	}
	return nil, false
}

// checkTimeout reads the time that a client gives a request that is not to last.
func (c *call) checkTimeout() error {
	asked := c.query["timeout"]
	if len(asked) == 0 || asked[0] == "" || c.target.longRunning(c.rq.verb) {
		return nil
	}
	if _, err := time.ParseDuration(asked[0]); err != nil {
		return badRequest("invalid timeout specified in the request URL - %v", err)
	}
	return nil
}
