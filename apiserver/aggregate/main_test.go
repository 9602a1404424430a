package aggregate_test

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func ok[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
