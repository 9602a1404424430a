package aggregate

import (
	"errors"
	"strings"

	"github.com/inboard/inboard/store"
)

// news are the changes of what a keeper is interested in.
type news struct {
	keys     []string
	watchers []*store.Watcher
}

// listen begins to note changes, which are announced by k.kick.
func (k *keeper) listen() (*news, error) {
	n := &news{keys: k.interests()}
	for _, key := range n.keys {
		cfg := store.WatchConfig{Key: key, Notify: func() {
			select {
			case k.kick <- struct{}{}:
			default:
			}
		}}
		if strings.HasSuffix(key, "/") {
			cfg.End = store.PrefixEnd(key)
		}
		w, err := k.cfg.Store.Watch(cfg)
		if err != nil {
			n.close()
			return nil, err
		}
		n.watchers = append(n.watchers, w)
	}
	return n, nil
}

var errNoNews = errors.New("not listening yet")

// take returns the keys, or the prefix of the keys, that changed since it was last called: of what lies in namespaces
// each key, of all else what was listened to. An error means that changes were missed.
func (n *news) take(namespaced ...string) ([]string, error) {
	if n == nil {
		return nil, errNoNews
	}
	var out []string
	for i, w := range n.watchers {
		for changed := false; ; {
			batch, ok, err := w.TryNext()
			if err != nil {
				return nil, err
			}
			if !ok {
				break
			}
			if !isOneOf(n.keys[i], namespaced) {
				if !changed {
					out = append(out, n.keys[i])
				}
				changed = true
				continue
			}
			for j := range batch.Events {
				out = append(out, batch.Events[j].Entry.Key)
			}
		}
	}
	return out, nil
}

func isOneOf(key string, list []string) bool {
	for _, x := range list {
		if x == key {
			return true
		}
	}
	return false
}

func (n *news) close() {
	if n == nil {
		return
	}
	for _, w := range n.watchers {
		w.Close()
	}
}
