// Package podsecurity compares the admission plugin PodSecurity with Kubernetes' own.
package podsecurity
