package managed

import (
	"bytes"
	"sync"

	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// Sets of many objects are the same: what a controller sets in one pod it sets in all. So decoded sets
// are kept, up to these bounds; sets are not changed once they are made.
const (
	maxSets    = 1024
	maxSetSize = 16 << 10
)

type sets struct {
	mu   sync.Mutex
	kept map[string]*fieldpath.Set
}

var noFields = fieldpath.NewSet()

// set returns the set that raw describes, to be read only; nil is the empty set.
func (s *sets) set(raw []byte) (*fieldpath.Set, error) {
	if raw == nil {
		return noFields, nil
	}
	s.mu.Lock()
	set := s.kept[string(raw)]
	s.mu.Unlock()
	if set != nil {
		return set, nil
	}
	set = &fieldpath.Set{}
	if err := set.FromJSON(bytes.NewReader(raw)); err != nil {
		return nil, err
	}
	if len(raw) > maxSetSize {
		return set, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kept == nil || len(s.kept) >= maxSets {
		s.kept = map[string]*fieldpath.Set{}
	}
	s.kept[string(raw)] = set
	return set, nil
}
