package e2e

import (
	"os"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
	"sigs.k8s.io/yaml"
)

// token-kubeconfig FILE OUT writes a kubeconfig for the story's cluster whose user has nothing but the token in a
// file.
func cmdTokenKubeconfig(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: token-kubeconfig FILE OUT")
	}
	var doc map[string]any
	ts.Check(yaml.Unmarshal([]byte(ts.ReadFile(ts.Getenv("KUBECONFIG"))), &doc))
	user := doc["users"].([]any)[0].(map[string]any)
	user["user"] = map[string]any{"token": strings.TrimSpace(ts.ReadFile(args[0]))}
	text, err := yaml.Marshal(doc)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), text, 0o600))
}
