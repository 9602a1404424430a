//go:build race

package apiserver_test

// raceDetector: pools keep next to nothing under the race detector, so that all memory is allocated anew.
const raceDetector = true
