package main

import (
	"testing"
	"time"
)

// Every line can be measured, of both.
func TestCompare(t *testing.T) {
	cfg := config{dir: t.TempDir(), duration: 50 * time.Millisecond, rounds: 1, keys: 100, manyKeys: 1000}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			row, err := compare(cfg, c)
			if err != nil {
				t.Fatal(err)
			}
			if row.etcd <= 0 || row.store <= 0 || row.ratio <= 0 {
				t.Errorf("measured %v", row)
			}
		})
	}
	for _, f := range figures {
		if _, err := f.measure(cfg); err != nil {
			t.Errorf("%s: %v", f.name, err)
		}
	}
}
