// Package scheduler holds a test that gives kube-scheduler's own framework and plugins, and this
// project's, the same random clusters and pods.
package scheduler
