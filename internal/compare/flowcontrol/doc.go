// Package flowcontrol compares priority and fairness with Kubernetes' own.
package flowcontrol
