package etcd

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/inboard/inboard/store"
)

// kubernetes is the folder with the real kube-apiserver, which make test-kubernetes builds.
var kubernetes = flag.String("kubernetes", "", "folder with kube-apiserver, for the tests that need it")

// kubeAPI is a running kube-apiserver.
type kubeAPI struct {
	t    testing.TB
	url  string
	http *http.Client
}

const kubeToken = "compare"

// startKube starts a kube-apiserver on etcd servers for the length of the test.
func startKube(t testing.TB, etcds ...string) *kubeAPI {
	t.Helper()
	if *kubernetes == "" {
		t.Skip("needs -kubernetes DIR, a folder with kube-apiserver; see make test-etcd")
	}
	dir := t.TempDir()
	tokens, key := filepath.Join(dir, "tokens.csv"), filepath.Join(dir, "sa.key")
	writeFile(t, tokens, kubeToken+",admin,admin,system:masters\n")
	writeFile(t, key, newKey(t))
	addr := freeURL(t)
	exited := startProgram(t, dir, filepath.Join(*kubernetes, "kube-apiserver"),
		"--etcd-servers=http://"+strings.Join(etcds, ",http://"),
		"--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--secure-port="+addr.Port(), "--cert-dir="+dir,
		"--token-auth-file="+tokens, "--authorization-mode=RBAC", "--disable-admission-plugins=ServiceAccount",
		"--service-cluster-ip-range=10.96.0.0/16", "--endpoint-reconciler-type=none",
		"--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file="+key,
		"--service-account-signing-key-file="+key)
	k := &kubeAPI{t: t, url: "https://" + addr.Host, http: &http.Client{
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, MaxIdleConnsPerHost: 64},
	}}
	t.Cleanup(k.http.CloseIdleConnections)
	k.wait(exited)
	return k
}

// wait waits until the server is ready.
func (k *kubeAPI) wait(exited <-chan struct{}) {
	k.t.Helper()
	for deadline := time.Now().Add(patience); ; {
		_, err := k.do(http.MethodGet, "/readyz", nil)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			k.t.Fatalf("kube-apiserver is not ready: %v", err)
		}
		select {
		case <-exited:
			k.t.Fatal("kube-apiserver ended")
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (k *kubeAPI) request(ctx context.Context, method, path string, body any) (*http.Response, error) {
	var data bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&data).Encode(body); err != nil {
			return nil, err
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, k.url+path, &data)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+kubeToken)
	r.Header.Set("Content-Type", "application/json")
	return k.http.Do(r)
}

// do sends a request and returns the answer's body.
func (k *kubeAPI) do(method, path string, body any) ([]byte, error) {
	resp, err := k.request(context.Background(), method, path, body)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode >= 300 {
		err = fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, text)
	}
	return text, err
}

type object struct {
	APIVersion string            `json:"apiVersion,omitempty"`
	Kind       string            `json:"kind,omitempty"`
	Metadata   metadata          `json:"metadata"`
	Data       map[string]string `json:"data,omitempty"`
}

type metadata struct {
	Name            string `json:"name,omitempty"`
	ResourceVersion string `json:"resourceVersion,omitempty"`
	Continue        string `json:"continue,omitempty"`
}

type list struct {
	Metadata metadata `json:"metadata"`
	Items    []object `json:"items"`
}

func (k *kubeAPI) list(query string) list {
	k.t.Helper()
	text, err := k.do(http.MethodGet, configMaps+"?"+query, nil)
	if err != nil {
		k.t.Fatal(err)
	}
	var l list
	if err := json.Unmarshal(text, &l); err != nil {
		k.t.Fatal(err)
	}
	return l
}

const configMaps = "/api/v1/namespaces/default/configmaps"

func configMap(i int) object {
	return object{APIVersion: "v1", Kind: "ConfigMap", Metadata: metadata{Name: fmt.Sprintf("c%04d", i)},
		Data: map[string]string{"n": fmt.Sprint(i)}}
}

// TestKubernetes creates, lists and watches a thousand objects through a real kube-apiserver on a store.
func TestKubernetes(t *testing.T) {
	addr, _ := startStore(t, store.Config{})
	testKubernetes(t, startKube(t, addr))
}

func testKubernetes(t *testing.T, k *kubeAPI) {
	const objects = 1000
	before := k.list("")
	watched := k.watch(before.Metadata.ResourceVersion, 2*objects+objects/2)
	begin := time.Now()
	k.each(objects, func(i int) (string, string, any) { return http.MethodPost, configMaps, configMap(i) })
	t.Logf("%d created in %v", objects, time.Since(begin))
	// A list without a version is as new as the last write, also when it comes from the watch cache: that
	// asks the store for progress.
	if n := len(k.list("").Items) - len(before.Items); n != objects {
		t.Errorf("%d listed", n)
	}
	k.each(objects, func(i int) (string, string, any) {
		o := configMap(i)
		o.Data["changed"] = "true"
		return http.MethodPut, configMaps + "/" + o.Metadata.Name, o
	})
	k.each(objects/2, func(i int) (string, string, any) {
		return http.MethodDelete, configMaps + "/" + configMap(i).Metadata.Name, nil
	})
	k.checkPages(objects / 2)
	k.checkWatch(watched, objects)
}

// each sends n requests, some at a time.
func (k *kubeAPI) each(n int, request func(int) (method, path string, body any)) {
	k.t.Helper()
	numbers := make(chan int)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for i := range numbers {
				method, path, body := request(i)
				if _, err := k.do(method, path, body); err != nil {
					k.t.Error(err)
				}
			}
		})
	}
	for i := range n {
		numbers <- i
	}
	close(numbers)
	wg.Wait()
}

// checkPages lists in pages, while others write: all pages are of one version.
func (k *kubeAPI) checkPages(want int) {
	k.t.Helper()
	seen, version, next := 0, "", ""
	for {
		l := k.list("limit=70&continue=" + next)
		if version == "" {
			version = l.Metadata.ResourceVersion
		}
		if l.Metadata.ResourceVersion != version {
			k.t.Errorf("a page of version %s after one of %s", l.Metadata.ResourceVersion, version)
		}
		for _, o := range l.Items {
			if strings.HasPrefix(o.Metadata.Name, "c0") && o.Data["changed"] != "" {
				seen++
			}
		}
		if next = l.Metadata.Continue; next == "" {
			break
		}
		extra := object{APIVersion: "v1", Kind: "ConfigMap", Metadata: metadata{Name: "z" + fmt.Sprint(seen)}}
		if _, err := k.do(http.MethodPost, configMaps, extra); err != nil {
			k.t.Error(err)
		}
	}
	if seen != want {
		k.t.Errorf("%d listed in pages, want %d", seen, want)
	}
}

type event struct {
	Type   string `json:"type"`
	Object object `json:"object"`
}

// watch watches the test's objects from a version on, until it has seen n events.
func (k *kubeAPI) watch(version string, n int) <-chan []event {
	k.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	k.t.Cleanup(cancel)
	resp, err := k.request(ctx, http.MethodGet, configMaps+"?watch=1&resourceVersion="+version, nil)
	if err != nil {
		k.t.Fatal(err)
	}
	seen := make(chan []event, 1)
	go func() {
		defer resp.Body.Close()
		var events []event
		for decoder := json.NewDecoder(resp.Body); len(events) < n; {
			var ev event
			if err := decoder.Decode(&ev); err != nil {
				k.t.Errorf("watch after %d events: %v", len(events), err)
				break
			}
			if strings.HasPrefix(ev.Object.Metadata.Name, "c0") {
				events = append(events, ev)
			}
		}
		seen <- events
	}()
	return seen
}

// checkWatch holds the events against what was done to each object.
func (k *kubeAPI) checkWatch(watched <-chan []event, objects int) {
	k.t.Helper()
	told := map[string]string{}
	for _, ev := range <-watched {
		told[ev.Object.Metadata.Name] += ev.Type + " "
	}
	for i := range objects {
		want := "ADDED MODIFIED "
		if i < objects/2 {
			want += "DELETED "
		}
		if name := configMap(i).Metadata.Name; told[name] != want {
			k.t.Errorf("%s: %s, want %s", name, told[name], want)
		}
	}
}

// startProgram starts a program, and ends it with the test. The channel is closed when it exits.
func startProgram(t testing.TB, dir, program string, args ...string) <-chan struct{} {
	t.Helper()
	log, err := os.Create(filepath.Join(dir, filepath.Base(program)+".log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(done)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-done
		log.Close()
		if text, _ := os.ReadFile(log.Name()); t.Failed() {
			t.Logf("the end of %s:\n%s", log.Name(), text[max(0, len(text)-4000):])
		}
	})
	return done
}

func newKey(t testing.TB) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}))
}

func writeFile(t testing.TB, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
