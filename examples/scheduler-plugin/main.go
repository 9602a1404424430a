// Command scheduler-plugin KUBECONFIG places the pods of cheap-scheduler, by the nodes' label example.com/price.
package main

import (
	"context"
	"errors"
	"log"
	"os"
	"os/signal"
	"strconv"

	"github.com/inboard/inboard/apiserver/client/rest"
	"github.com/inboard/inboard/scheduler"
)

type cheap struct{} // the plugin: it prefers nodes that cost less; one without a price costs nothing

func (cheap) Name() string { return "Cheap" }

func (cheap) Score(_ *scheduler.Cycle, _ any, n *scheduler.NodeInfo) (int64, error) {
	price, _ := strconv.ParseUint(n.Node.Labels["example.com/price"], 10, 32)
	return max(scheduler.MaxNodeScore-int64(price), 0), nil
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	c, err := rest.New(rest.Config{Kubeconfig: os.Args[1]})
	plugins := append(scheduler.DefaultPlugins(), scheduler.WeightedPlugin{Plugin: cheap{}, Weight: 10})
	profile, err2 := scheduler.NewProfile(scheduler.ProfileConfig{Plugins: plugins})
	if err := errors.Join(err, err2); err != nil {
		log.Fatal(err)
	}
	s, err := scheduler.New(scheduler.Config{Client: c, Profiles: map[string]*scheduler.Profile{"cheap-scheduler": profile}})
	if err == nil {
		err = s.Run(ctx)
	}
	log.Println("ended:", err)
}
