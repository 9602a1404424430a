package apiserver

// The identity of requests without credentials, and the groups that tell the two kinds apart.
const (
	anonymous            = "system:anonymous"
	groupUnauthenticated = "system:unauthenticated"
	groupAuthenticated   = "system:authenticated"
)
