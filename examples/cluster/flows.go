package main

import (
	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/flowcontrol"
	"github.com/inboard/inboard/apiserver/metrics"
)

// flows shares the server fairly among its clients, and shows at /metrics what goes on.
func (c *cluster) flows(cfg *apiserver.Config) (*metrics.Metrics, error) {
	flows, err := flowcontrol.New(flowcontrol.Config{Store: cfg.Store, Logger: c.log})
	if err != nil {
		return nil, err
	}
	figures, err := metrics.New(metrics.Config{FlowControl: flows})
	if err != nil {
		return nil, err
	}
	cfg.FlowControl, cfg.Metrics = flows, figures
	return figures, nil
}
