package image

import (
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"time"
)

// Config describes a Store.
type Config struct {
	// Dir holds the images. Empty means a temporary directory that Close removes.
	Dir string
	// Mirrors leads a registry ("docker.io", "localhost:5000") to the base URL that is asked in
	// its place, "http://..." or "https://...", with an optional path that the repository is
	// appended to. There is no falling back to the registry itself.
	Mirrors map[string]string
	// Proxy tells the proxy for a request, as in http.Transport. Default: what the environment's
	// HTTPS_PROXY, HTTP_PROXY and NO_PROXY say, as everywhere in net/http.
	Proxy func(*http.Request) (*url.URL, error)
	// Platform is what is picked from a multi-platform image, "os/arch[/variant]". Default: this
	// machine's.
	Platform string
	// ResponseTimeout bounds how long a registry may stay silent, before the head of an answer
	// and within its body. Default: 30 seconds.
	ResponseTimeout time.Duration
	// MaxLayerBytes and MaxLayerEntries bound what one layer may unpack to. Default: 16 GiB and
	// one million files.
	MaxLayerBytes   int64
	MaxLayerEntries int
	// MaxDownloads is how many layers are fetched at once. Default: 3.
	MaxDownloads int
	// Logger gets what is worth knowing; nil discards.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	c.Mirrors = maps.Clone(c.Mirrors)
	if c.Proxy == nil {
		c.Proxy = http.ProxyFromEnvironment
	}
	if c.Platform == "" {
		c.Platform = "linux/" + runtime.GOARCH
	}
	if c.ResponseTimeout == 0 {
		c.ResponseTimeout = 30 * time.Second
	}
	if c.MaxLayerBytes == 0 {
		c.MaxLayerBytes = 16 << 30
	}
	if c.MaxLayerEntries == 0 {
		c.MaxLayerEntries = 1_000_000
	}
	if c.MaxDownloads == 0 {
		c.MaxDownloads = 3
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func (c Config) validate() error {
	for host, base := range c.Mirrors {
		if !compiled().host.MatchString(host) {
			return fmt.Errorf("image: Config.Mirrors: %q is not a registry's host[:port]", host)
		}
		u, err := url.Parse(base)
		if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
			return fmt.Errorf("image: Config.Mirrors[%q]: %q is not an http:// or https:// URL", host, base)
		}
	}
	if n := strings.Count(c.Platform, "/"); n < 1 || n > 2 {
		return fmt.Errorf("image: Config.Platform: %q is not os/arch[/variant]", c.Platform)
	}
	for _, f := range []struct {
		name string
		bad  bool
	}{
		{"ResponseTimeout", c.ResponseTimeout < 0},
		{"MaxLayerBytes", c.MaxLayerBytes < 0},
		{"MaxLayerEntries", c.MaxLayerEntries < 0},
		{"MaxDownloads", c.MaxDownloads < 0},
	} {
		if f.bad {
			return fmt.Errorf("image: Config.%s must not be negative", f.name)
		}
	}
	return nil
}
