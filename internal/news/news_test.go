package news_test

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"github.com/inboard/inboard/internal/news"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestUnreadNewsAreKeptOnce: in their order, and told again where a name is in the reader's hands already, who may
// have looked before.
func TestUnreadNewsAreKeptOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := news.Open()
		defer q.Close()
		q.Tell("web")
		synctest.Wait() // for it to be on offer
		for _, name := range []string{"db", "db", "web", "db"} {
			q.Tell(name)
		}
		if got := fmt.Sprint(<-q.Out()+" ", <-q.Out()+" ", <-q.Out()); got != "web db web" {
			t.Errorf("read %s", got)
		}
		synctest.Wait()
		select {
		case name := <-q.Out():
			t.Errorf("%s was read once more", name)
		default:
		}
	})
}

// TestEverythingToldIsRead: nothing is lost when many tell at once.
func TestEverythingToldIsRead(t *testing.T) {
	q := news.Open()
	var tellers sync.WaitGroup
	for i := range 8 {
		tellers.Go(func() {
			for j := range 100 {
				q.Tell(fmt.Sprint(i, " ", j))
			}
		})
	}
	got := map[string]bool{}
	for len(got) < 800 {
		got[<-q.Out()] = true
	}
	tellers.Wait()
	q.Close()
}

// TestClose: it ends those who wait for news, also while somebody tells, and again.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := news.Open()
		q.Tell("unread")
		q.Tell("also unread")
		synctest.Wait()
		q.Close()
		q.Close()
		q.Tell("too late")
		if name, ok := <-q.Out(); ok {
			t.Errorf("%q was read after Close", name)
		}
	})
}
