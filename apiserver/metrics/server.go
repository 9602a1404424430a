package metrics

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
)

var (
	objectsDesc = prometheus.NewDesc("apiserver_resource_objects",
		"Number of stored objects, by group and resource.", []string{"group", "resource"}, nil)
	storageObjectsDesc = prometheus.NewDesc("apiserver_storage_objects",
		"Number of stored objects, by resource; apiserver_resource_objects is its successor.", []string{"resource"}, nil)
	buildDesc = prometheus.NewDesc("kubernetes_build_info",
		"Always 1; its labels tell which version is served and what the program was built with.",
		[]string{"major", "minor", "git_version", "git_commit", "git_tree_state", "build_date", "go_version", "compiler", "platform"}, nil)
)

// collectServer tells the figures of the moment.
func (m *Metrics) collectServer(ch chan<- prometheus.Metric) {
	s := m.server.Load()
	if s == nil {
		return
	}
	v := s.Version()
	ch <- prometheus.MustNewConstMetric(buildDesc, prometheus.GaugeValue, 1,
		v.Major, v.Minor, v.GitVersion, v.GitCommit, v.GitTreeState, v.BuildDate, v.GoVersion, v.Compiler, v.Platform)
	counts, err := s.CountObjects(context.Background())
	if err != nil {
		ch <- prometheus.NewInvalidMetric(objectsDesc, err)
		return
	}
	for gr, n := range counts {
		ch <- prometheus.MustNewConstMetric(objectsDesc, prometheus.GaugeValue, float64(n), gr.Group, gr.Resource)
		ch <- prometheus.MustNewConstMetric(storageObjectsDesc, prometheus.GaugeValue, float64(n), gr.String())
	}
}
