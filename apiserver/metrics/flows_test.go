package metrics_test

import (
	"slices"
	"testing"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/flowcontrol"
	"github.com/inboard/inboard/apiserver/metrics"
	"github.com/inboard/inboard/internal/apitest"
)

func TestFlows(t *testing.T) {
	var m *metrics.Metrics
	s := apitest.Open(t, func(c *apiserver.Config) {
		flows, err := flowcontrol.New(flowcontrol.Config{Store: c.Store})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = flows.Close() })
		if m, err = metrics.New(metrics.Config{FlowControl: flows}); err != nil {
			t.Fatal(err)
		}
		c.FlowControl, c.Metrics, c.Authentication.Custom = flows, m, asUser
	})
	do(s.API, "system:kube-scheduler", "GET", "/api/v1/pods", "")
	got := lines(t, s.API, "apiserver_flowcontrol_")
	for _, want := range []string{
		`apiserver_flowcontrol_dispatched_requests_total{flow_schema="kube-scheduler",priority_level="workload-high"} 1`,
		`apiserver_flowcontrol_current_executing_requests{flow_schema="kube-scheduler",priority_level="workload-high"} 0`,
		`apiserver_flowcontrol_nominal_limit_seats{priority_level="workload-high"} 98`,
		`apiserver_flowcontrol_lower_limit_seats{priority_level="workload-high"} 49`,
		`apiserver_flowcontrol_upper_limit_seats{priority_level="workload-high"} 698`,
		`apiserver_flowcontrol_request_wait_duration_seconds_count{execute="true",flow_schema="kube-scheduler",priority_level="workload-high"} 1`,
		`apiserver_flowcontrol_request_execution_seconds_count{flow_schema="kube-scheduler",priority_level="workload-high",type="regular"} 1`,
		`apiserver_flowcontrol_work_estimated_seats_count{flow_schema="kube-scheduler",priority_level="workload-high"} 1`,
	} {
		if !slices.Contains(got, want) {
			t.Errorf("no line %s", want)
		}
	}
}
