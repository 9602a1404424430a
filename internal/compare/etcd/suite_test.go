package etcd

import (
	"testing"

	"github.com/inboard/inboard/store"
	"github.com/inboard/inboard/store/storetest"
)

// The suite of package store passes over etcd's client, and on a real etcd: what it asks for is what etcd
// does.

func openRemoteStore(t *testing.T) storetest.Store {
	addr, _ := startStore(t, store.Config{})
	return remote{connect(t, addr)}
}

func openEtcd(t *testing.T) storetest.Store { return remote{connect(t, startEtcd(t))} }

func TestSuiteOverClient(t *testing.T) { storetest.Run(t, openRemoteStore) }
func TestSuiteOnEtcd(t *testing.T)     { storetest.Run(t, openEtcd) }

func TestScriptsOverClient(t *testing.T) {
	storetest.RunScripts(t, "../../../store/storetest/testdata", openRemoteStore)
}

func TestScriptsOnEtcd(t *testing.T) {
	storetest.RunScripts(t, "../../../store/storetest/testdata", openEtcd)
}
