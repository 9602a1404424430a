// Command scheduler-whatif tells which pods fit into a cluster, where they would go, and why not. It reads the
// cluster from a file or from an API server, and changes nothing there.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
)

const usage = `usage: scheduler-whatif -file CLUSTER.yaml | -kubeconfig FILE   [changes] [questions]

The cluster in a file is what kubectl prints:
    kubectl get nodes,namespaces,pods,priorityclasses,poddisruptionbudgets -A -o yaml > cluster.yaml
Changes are made to a copy of it in memory. Without a question, the pods that wait in the cluster are placed.
It exits with 0 when all pods fit, with 1 when some do not, with 2 when it could not tell.

`

// options are what the command line asks for.
type options struct {
	file, kubeconfig string
	manifests        list
	replicas         int
	pending, trace   bool
	addNode          list
	nodes            int
	drain            list
}

// list is a flag that may be repeated or have several values with commas between.
type list []string

func (l *list) String() string { return strings.Join(*l, ",") }

func (l *list) Set(s string) error {
	*l = append(*l, strings.Split(s, ",")...)
	return nil
}

func parse(args []string, stderr io.Writer) (o options, err error) {
	f := flag.NewFlagSet("scheduler-whatif", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Usage = func() {
		fmt.Fprint(stderr, usage)
		f.PrintDefaults()
	}
	f.StringVar(&o.file, "file", "", "`file` with the cluster's objects; - is the standard input")
	f.StringVar(&o.kubeconfig, "kubeconfig", "", "kubeconfig `file` of the cluster")
	f.Var(&o.manifests, "pod", "`file` of pods to place; repeatable. Deployments and other workloads count as their pods")
	f.Var(&o.manifests, "deployment", "the same as -pod")
	f.IntVar(&o.replicas, "replicas", -1, "pods of each workload, whatever its manifest says")
	f.BoolVar(&o.pending, "pending", false, "place the pods that wait in the cluster as well")
	f.Var(&o.addNode, "add-node", "`file` of a node to add, or the name of a node to add another one like it; repeatable")
	f.IntVar(&o.nodes, "nodes", 1, "how many of each -add-node")
	f.Var(&o.drain, "drain", "`name` of a node to drain; repeatable")
	f.BoolVar(&o.trace, "trace", false, "tell for each node what each filter says and how each plugin scores it")
	switch err := f.Parse(args); {
	case err != nil:
		return o, err
	case f.NArg() > 0:
		return o, fmt.Errorf("don't know what to do with %q", f.Args())
	case (o.file == "") == (o.kubeconfig == ""):
		return o, errors.New("name the cluster by -file or by -kubeconfig")
	case o.nodes < 1:
		return o, errors.New("-nodes must be at least 1")
	}
	o.pending = o.pending || len(o.manifests)+len(o.drain) == 0
	return o, nil
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	fits, err := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "scheduler-whatif:", err)
		os.Exit(2)
	case !fits:
		os.Exit(1)
	}
}

// run answers the question of the command line, and tells whether all pods fit.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) (fits bool, _ error) {
	o, err := parse(args, stderr)
	if err != nil {
		return false, err
	}
	c, err := load(ctx, o, stdin, stderr)
	if err != nil {
		return false, err
	}
	fmt.Fprintf(stdout, "%s: %s, %s on them, %d waiting\n", c.name, some(len(c.nodes), "node"), some(len(c.running), "pod"), len(c.waiting))
	return answer(o, c, stdout)
}

func some(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
