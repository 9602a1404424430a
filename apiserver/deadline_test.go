package apiserver

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fired := 0
		d := deadline{expire: func(at time.Time) error {
			if !at.Before(time.Now()) {
				t.Error("the deadline that is set is still to come")
			}
			fired++
			return nil
		}}
		for range 3 {
			d.start(time.Second)
			time.Sleep(time.Second - 1)
			d.stop()
			time.Sleep(time.Minute)
		}
		if fired != 0 {
			t.Fatalf("what ended in time was cut off %d times", fired)
		}
		d.start(time.Second)
		time.Sleep(time.Second + 1)
		synctest.Wait()
		if d.stop(); fired != 1 {
			t.Fatalf("what took too long was cut off %d times", fired)
		}
	})
}
