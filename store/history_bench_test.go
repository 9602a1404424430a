package store

import (
	"fmt"
	"runtime"
	"testing"
)

// BenchmarkHistory tells how much memory a kept revision with one change costs beside its key and value.
func BenchmarkHistory(b *testing.B) {
	const revisions = 10_000
	for b.Loop() {
		m, kept := newMachine(), make([]*record, 0, revisions)
		keys := make([]string, 100_000)
		for i := range keys {
			keys[i] = fmt.Sprintf("/registry/pods/default/pod-%06d", i)
			applyAlone(&m, &Txn{Then: []Op{OpPut(keys[i], nil)}})
		}
		before := heapBytes()
		for i := range revisions {
			kept = append(kept, applyAlone(&m, &Txn{Then: []Op{OpPut(keys[i*7%len(keys)], nil)}})...)
		}
		b.ReportMetric(float64(heapBytes()-before)/revisions, "B/revision")
		runtime.KeepAlive(kept)
	}
}

func heapBytes() int {
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return int(s.HeapAlloc)
}
