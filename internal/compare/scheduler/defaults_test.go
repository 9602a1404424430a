package scheduler_test

import (
	"math/rand/v2"
	"testing"

	corev1 "k8s.io/api/core/v1"
	schedulerconfig "k8s.io/kubernetes/pkg/scheduler/apis/config"

	"github.com/inboard/inboard/scheduler"
)

// TestSameDefaultConstraints: with a list of default spread constraints instead of kube-scheduler's own, decisions
// are the same, too.
func TestSameDefaultConstraints(t *testing.T) {
	covered := map[string]int{}
	for i, list := range [][]corev1.TopologySpreadConstraint{
		{},
		{{TopologyKey: corev1.LabelTopologyZone, MaxSkew: 1, WhenUnsatisfiable: corev1.DoNotSchedule}},
		{{TopologyKey: corev1.LabelHostname, MaxSkew: 1, WhenUnsatisfiable: corev1.DoNotSchedule, MinDomains: new(int32(3))},
			{TopologyKey: corev1.LabelTopologyZone, MaxSkew: 2, WhenUnsatisfiable: corev1.ScheduleAnyway, NodeTaintsPolicy: new(corev1.NodeInclusionPolicyHonor)},
			{TopologyKey: "disk", MaxSkew: 1, WhenUnsatisfiable: corev1.ScheduleAnyway}},
	} {
		u := newUpstream(t)
		for _, c := range u.profile.PluginConfig {
			if args, ok := c.Args.(*schedulerconfig.PodTopologySpreadArgs); ok {
				args.DefaultingType, args.DefaultConstraints = schedulerconfig.ListDefaulting, list
			}
		}
		plugins := scheduler.DefaultPlugins()
		for j := range plugins {
			if plugins[j].Name() == scheduler.NamePodTopologySpread {
				plugins[j].Plugin = scheduler.PodTopologySpread{DefaultConstraints: list}
			}
		}
		profile, err := scheduler.NewProfile(scheduler.ProfileConfig{Plugins: plugins})
		if err != nil {
			t.Fatal(err)
		}
		for j := range *clusters / 6 {
			s := *seed + uint64(j)
			c := &contest{u: u, profile: profile, g: gen{rand.New(rand.NewPCG(s, uint64(i+1)))}, covered: covered}
			if err := c.run(t.Context()); err != nil {
				t.Fatalf("list %d, cluster of seed %d: %v", i, s, err)
			}
		}
	}
	t.Logf("refusals and scores by plugin: %v", covered)
	for _, name := range []string{"default spread refusal", "default spread score"} {
		if covered[name] == 0 {
			t.Errorf("%s: none in this run", name)
		}
	}
}
