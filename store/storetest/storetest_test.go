package storetest_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/inboard/inboard/store"
	"github.com/inboard/inboard/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMemory(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Store {
		s, err := store.Open(store.Config{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return storetest.Local(s)
	})
}

func TestScripts(t *testing.T) {
	storetest.RunScripts(t, "testdata", func(t *testing.T) storetest.Store {
		s, err := store.Open(store.Config{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return storetest.Local(s)
	})
}
