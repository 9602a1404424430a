package kubelet_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/inboard/inboard/kubelet"
)

// The log of a container is read as kubectl logs shows it, whatever runtime wrote it.
func ExampleReadLog() {
	dir, err := os.MkdirTemp("", "logs")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "0.log")
	w, err := kubelet.OpenLogWriter(path, 0, 0)
	if err != nil {
		panic(err)
	}
	_ = w.Copy("stdout", strings.NewReader("one\ntwo\nthree\n"))
	_ = w.Close()

	var out bytes.Buffer
	tail := int64(2)
	if err := kubelet.ReadLog(context.Background(), path, kubelet.LogOptions{Tail: &tail}, &out); err != nil {
		panic(err)
	}
	fmt.Print(out.String())
	// Output:
	// two
	// three
}

// A Config that can't work is refused with an error that names its field.
func ExampleNew() {
	_, err := kubelet.New(kubelet.Config{NodeName: "node-a"})
	fmt.Println(err)
	// Output: kubelet: Config.Client is nil
}
