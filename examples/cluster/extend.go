package main

import (
	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/policy"
	"github.com/inboard/inboard/apiserver/webhook"
)

// extend adds to the API server what extends it: what a program chooses beyond the built-in kinds.
func (c *cluster) extend(cfg *apiserver.Config) error {
	hooks, err := webhook.New(webhook.Config{Store: cfg.Store, Logger: c.log})
	if err != nil {
		return err
	}
	cfg.Kinds = append(cfg.Kinds, webhook.Kinds()...)
	cfg.Admission = append(cfg.Admission, hooks.Admission()...)
	policies, err := policy.New(policy.Config{Store: cfg.Store, Logger: c.log})
	if err != nil {
		return err
	}
	cfg.Kinds = policy.CheckSelectors(append(cfg.Kinds, policy.Kinds()...))
	cfg.Admission = append(cfg.Admission, policies.Admission()...)
	return c.aggregate(cfg)
}

// typeChecker writes what the expressions of policies have wrong into their status.
func (c *cluster) typeChecker() *policy.TypeChecker {
	own := c.server.Client(apiserver.Identity{User: "system:apiserver", Groups: []string{apiserver.GroupMasters}})
	return policy.NewTypeChecker(own, c.server, c.log)
}
