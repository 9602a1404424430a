package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/inboard/inboard/kubelet"
)

// ErrTimeout means that a registry did not answer, or stopped in the midst of an answer.
var ErrTimeout = errors.New("registry does not answer")

// ErrUnauthorized means that a registry wants other credentials.
var ErrUnauthorized = errors.New("pull access denied")

func newTransport(cfg Config) *http.Transport {
	return &http.Transport{
		Proxy:                 cfg.Proxy,
		DialContext:           (&net.Dialer{Timeout: cfg.ResponseTimeout}).DialContext,
		TLSHandshakeTimeout:   cfg.ResponseTimeout,
		ResponseHeaderTimeout: cfg.ResponseTimeout,
		IdleConnTimeout:       30 * time.Second,
		MaxIdleConnsPerHost:   cfg.MaxDownloads,
		ForceAttemptHTTP2:     true,
	}
}

// remoteName is where a reference is really fetched from: its registry or the mirror of that.
func (s *Store) remoteName(r Reference) (name.Reference, error) {
	host, path := r.Host, r.Path
	var opts []name.Option
	if base, ok := s.cfg.Mirrors[r.Host]; ok {
		u, err := url.Parse(base)
		if err != nil {
			return nil, err
		}
		host = u.Host
		if prefix := strings.Trim(u.Path, "/"); prefix != "" {
			path = prefix + "/" + path
		}
		if u.Scheme == "http" {
			opts = append(opts, name.Insecure)
		}
	}
	registry, err := name.NewRegistry(host, opts...)
	if err != nil {
		return nil, fmt.Errorf("%w %q: %v", kubelet.ErrInvalidImageName, r, err)
	}
	if r.Digest != "" {
		return registry.Repo(path).Digest(r.Digest), nil
	}
	return registry.Repo(path).Tag(r.Tag), nil
}

func (s *Store) remoteOptions(ctx context.Context, auth kubelet.Auth) []remote.Option {
	return []remote.Option{
		remote.WithContext(ctx),
		remote.WithTransport(stallGuard{s.transport, s.cfg.ResponseTimeout}),
		remote.WithUserAgent("inboard"),
		remote.WithAuth(authn.FromConfig(authn.AuthConfig{
			Username: auth.Username, Password: auth.Password,
			IdentityToken: auth.IdentityToken, RegistryToken: auth.RegistryToken,
		})),
		remote.WithRetryBackoff(remote.Backoff{Duration: 200 * time.Millisecond, Factor: 3, Jitter: 0.1, Steps: 3}),
		remote.WithRetryPredicate(worthRetrying),
		remote.WithRetryStatusCodes(http.StatusBadGateway, http.StatusServiceUnavailable),
	}
}

// worthRetrying leaves out time-outs: the kubelet's back-off tries those again, and a registry that
// hangs is better reported soon.
func worthRetrying(err error) bool {
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed)
}

// stallGuard ends an answer whose body makes no progress for a while.
type stallGuard struct {
	next    http.RoundTripper
	timeout time.Duration
}

func (g stallGuard) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	resp, err := g.next.RoundTrip(req.WithContext(ctx))
	if err != nil {
		cancel(nil)
		// Said here, because a caller that tries several ways joins their errors.
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() && req.Context().Err() == nil {
			err = fmt.Errorf("%w: %w", ErrTimeout, err)
		}
		return nil, err
	}
	b := &guardedBody{ReadCloser: resp.Body, ctx: ctx, cancel: cancel, timeout: g.timeout}
	b.timer = time.AfterFunc(g.timeout, func() { cancel(ErrTimeout) })
	resp.Body = b
	if strings.Contains(req.URL.Path, "/manifests/") {
		resp.Body = &limitedBody{ReadCloser: b, left: maxManifestBytes}
	}
	return resp, nil
}

// maxManifestBytes is what registries accept, too: a manifest is read into memory, and there it may be
// in a few copies.
const maxManifestBytes = 4 << 20

// limitedBody is an answer that must not be longer than it says.
type limitedBody struct {
	io.ReadCloser
	left int64
}

func (b *limitedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, fmt.Errorf("the manifest has more than %d MiB", maxManifestBytes>>20)
	}
	return n, err
}

type guardedBody struct {
	io.ReadCloser
	ctx     context.Context
	cancel  context.CancelCauseFunc
	timer   *time.Timer
	timeout time.Duration
	once    sync.Once
}

func (b *guardedBody) Read(p []byte) (int, error) {
	b.timer.Reset(b.timeout)
	n, err := b.ReadCloser.Read(p)
	b.timer.Stop()
	if err != nil && err != io.EOF {
		if cause := context.Cause(b.ctx); cause != nil {
			err = cause
		}
	}
	return n, err
}

func (b *guardedBody) Close() error {
	b.once.Do(func() {
		b.timer.Stop()
		b.cancel(nil)
	})
	return b.ReadCloser.Close()
}

// PullError tells why an image could not be pulled. Its text is for the pod's events and status;
// errors.Is tells the kind: kubelet.ErrImageNotFound, ErrUnauthorized, ErrTimeout, or a cause.
type PullError struct {
	Ref  string
	text string
	kind error
	err  error
}

func (e *PullError) Error() string {
	return fmt.Sprintf("failed to pull image %q: %s", e.Ref, e.text)
}

// Unwrap returns the kind and the cause.
func (e *PullError) Unwrap() []error { return []error{e.kind, e.err} }

func (s *Store) pullError(ctx context.Context, given string, ref Reference, err error) error {
	if errors.Is(err, kubelet.ErrInvalidImageName) {
		return err
	}
	e := &PullError{Ref: given, err: err, kind: err, text: err.Error()}
	var answer *transport.Error
	switch {
	case ctx.Err() != nil:
		e.kind, e.text = ctx.Err(), context.Cause(ctx).Error()
	case errors.As(err, &answer):
		e.text, e.kind = describeAnswer(ref, answer)
	case errors.Is(err, kubelet.ErrImageNotFound):
		e.kind = kubelet.ErrImageNotFound
	case errors.Is(err, ErrTimeout):
		e.kind = ErrTimeout
		e.text = fmt.Sprintf("registry %s did not answer within %s: check that it is up and reachable from this node",
			s.asked(ref.Host), s.cfg.ResponseTimeout)
	default:
		e.text = fmt.Sprintf("%s: %s", ref, strings.TrimSpace(err.Error()))
	}
	return e
}

// asked names a registry as a user can recognize it, with its mirror.
func (s *Store) asked(host string) string {
	if m, ok := s.cfg.Mirrors[host]; ok {
		return fmt.Sprintf("%s (mirror of %s)", m, host)
	}
	return host
}

func describeAnswer(ref Reference, answer *transport.Error) (text string, kind error) {
	switch answer.StatusCode {
	case http.StatusNotFound:
		return fmt.Sprintf("%s: not found", ref), kubelet.ErrImageNotFound
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Sprintf("%s: pull access denied, repository does not exist or may require authorization: set imagePullSecrets (%s)",
			ref, http.StatusText(answer.StatusCode)), ErrUnauthorized
	case http.StatusTooManyRequests:
		return fmt.Sprintf("%s: the registry limits the rate of pulls (429 Too Many Requests)", ref), answer
	}
	return fmt.Sprintf("%s: %s", ref, answer), answer
}
