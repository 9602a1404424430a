package main

import (
	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/crd"
	"github.com/inboard/inboard/apiserver/policy"
	"github.com/inboard/inboard/apiserver/webhook"
)

// extend adds to the API server what extends it: what a program chooses beyond the built-in kinds.
func (c *cluster) extend(cfg *apiserver.Config) error {
	var err error
	c.hooks, err = webhook.New(webhook.Config{Store: cfg.Store, Logger: c.log})
	if err != nil {
		return err
	}
	cfg.Kinds = append(cfg.Kinds, webhook.Kinds()...)
	cfg.Admission = append(cfg.Admission, c.hooks.Admission()...)
	policies, err := policy.New(policy.Config{Store: cfg.Store, Logger: c.log})
	if err != nil {
		return err
	}
	cfg.Kinds = policy.CheckSelectors(append(cfg.Kinds, policy.Kinds()...))
	cfg.Admission = append(cfg.Admission, policies.Admission()...)
	if err := c.define(cfg); err != nil {
		return err
	}
	return c.aggregate(cfg)
}

// typeChecker writes what the expressions of policies have wrong into their status.
func (c *cluster) typeChecker() *policy.TypeChecker {
	return policy.NewTypeChecker(c.itself(), c.server, c.log)
}

// define lets users define kinds of their own.
func (c *cluster) define(cfg *apiserver.Config) error {
	var err error
	c.definitions, err = crd.New(crd.Config{
		Store: cfg.Store, Logger: c.log,
		Resolve: crd.EndpointOf(func() client.Interface { return c.itself() }),
	})
	if err != nil {
		return err
	}
	cfg.Kinds = append(cfg.Kinds, c.definitions.Kinds()...)
	cfg.Sources = append(cfg.Sources, c.definitions)
	cfg.Admission = append(cfg.Admission, c.definitions.Admission()...)
	return nil
}

// itself is the API server as its own client.
func (c *cluster) itself() client.Interface {
	return c.server.Client(apiserver.Identity{User: "system:apiserver", Groups: []string{apiserver.GroupMasters}})
}
