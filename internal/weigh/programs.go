package main

import (
	_ "embed"
	"strings"
)

// program is one to be weighed.
type program struct {
	name string
	// plus tells that it is the last one before it that is not plus, and this package.
	plus bool
	// imports are of this module; config changes the variable cfg, after uses the variable server.
	imports       []string
	config, after string
}

// skeleton is what all of them have: a server with a port, and a report about itself after some seconds.
//
//go:embed skeleton.txt
var skeleton string

func (p program) source() string {
	var imports strings.Builder
	for _, i := range p.imports {
		imports.WriteString("\t\"github.com/inboard/inboard/" + i + "\"\n")
	}
	return strings.NewReplacer("IMPORTS\n", imports.String(), "CONFIG\n", p.config+"\n", "AFTER\n", p.after+"\n").Replace(skeleton)
}

// programs are all that are weighed: a few kinds, all built-in ones, these with one package more, and all together.
func programs() []program {
	all := program{name: "`apiserver`, `kinds`", imports: []string{"apiserver/kinds"}, config: "cfg.Kinds = kinds.All()"}
	few := program{name: "`apiserver`, `kinds/core`", imports: []string{"apiserver/kinds/core"}, config: "cfg.Kinds = core.Kinds()"}
	list := []program{few, all}
	together := program{name: "all of these together", imports: all.imports, config: all.config}
	for _, p := range packages {
		together.imports = append(together.imports, p.imports...)
		together.config += "\n" + p.config
		together.after += "\n" + p.after
		p.plus = true
		p.imports = append(p.imports, all.imports...)
		p.config = all.config + "\n" + p.config
		list = append(list, p)
	}
	return append(list, together)
}

var packages = []program{
	{name: "rbac", imports: []string{"apiserver/rbac"}, config: `cfg.Authorizer = must(rbac.New(rbac.Config{Store: cfg.Store}))`},
	{name: "node", imports: []string{"apiserver/node"},
		config: `nodes := must(node.New(node.Config{Store: cfg.Store}))
			cfg.Admission = append(cfg.Admission, node.Restriction())`,
		after: `_ = nodes`},
	{name: "serviceaccount", imports: []string{"apiserver/serviceaccount"},
		config: `key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
			cfg.Authentication.ServiceAccounts = must(serviceaccount.New(serviceaccount.Config{Key: key}))`},
	{name: "bootstraptoken", imports: []string{"apiserver/bootstraptoken"},
		config: `cfg.Authentication.Authenticators = []apiserver.TokenAuthenticator{bootstraptoken.Authenticator{}}`},
	{name: "flowcontrol", imports: []string{"apiserver/flowcontrol"},
		config: `cfg.FlowControl = must(flowcontrol.New(flowcontrol.Config{Store: cfg.Store}))`},
	{name: "metrics", imports: []string{"apiserver/metrics"},
		config: `figures := must(metrics.New(metrics.Config{}))
			cfg.Metrics = figures`,
		after: `figures.Observe(server)`},
	{name: "webhook", imports: []string{"apiserver/webhook"},
		config: `hooks := must(webhook.New(webhook.Config{Store: cfg.Store}))
			cfg.Kinds = append(cfg.Kinds, webhook.Kinds()...)
			cfg.Admission = append(cfg.Admission, hooks.Admission()...)`},
	{name: "policy", imports: []string{"apiserver/policy"},
		config: `policies := must(policy.New(policy.Config{Store: cfg.Store}))
			cfg.Kinds = policy.CheckSelectors(append(cfg.Kinds, policy.Kinds()...))
			cfg.Admission = append(cfg.Admission, policies.Admission()...)`},
	{name: "crd", imports: []string{"apiserver/crd"},
		config: `definitions := must(crd.New(crd.Config{Store: cfg.Store}))
			cfg.Kinds = append(cfg.Kinds, definitions.Kinds()...)
			cfg.Sources = append(cfg.Sources, definitions)
			cfg.Admission = append(cfg.Admission, definitions.Admission()...)`,
		after: `go definitions.Run(ctx, server.Client(apiserver.Identity{User: "weigh", Groups: []string{apiserver.GroupMasters}}))`},
	{name: "aggregate", imports: []string{"apiserver/aggregate"},
		config: `cfg.Kinds = append(cfg.Kinds, aggregate.Kinds()...)
			cfg.Aggregator = must(aggregate.New(aggregate.Config{Store: cfg.Store}))`},
	{name: "store/raft", imports: []string{"store/raft"},
		config: `member := must(raft.Open(raft.Config{Dir: os.Args[1]}))
			cfg.Store = member.Store()`},
	{name: "store/etcdapi", imports: []string{"store/etcdapi"},
		config: `etcd := must(etcdapi.New(etcdapi.Config{Store: st}))`,
		after:  `go etcd.Serve(ctx, must(net.Listen("tcp", "127.0.0.1:0")))`},
}
