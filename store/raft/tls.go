package raft

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"
)

// TLSConfig tells how members prove themselves to each other. Either the three files are given, which are
// read again when they change, or the two functions, which are asked for each connection.
type TLSConfig struct {
	// CertFile and KeyFile are the member's certificate and key, CAFile the authorities that the others'
	// certificates come from; all in PEM. The certificate is for servers and for clients, and for the host of
	// the member's address.
	CertFile, KeyFile, CAFile string
	// Certificate and Authorities return the same as values.
	Certificate func() (*tls.Certificate, error)
	Authorities func() (*x509.CertPool, error)
	// Names, when not empty, are the only names that members have: a certificate of the authorities without
	// any of them, as common name, DNS name or IP address, is refused. When it is empty, every certificate of the
	// authorities is taken for a member's, and a member may claim to be any other: the authorities must then sign
	// for members of this cluster only. An authority that also signs for clients, such as a cluster's own, needs
	// Names.
	Names []string
	// Logger is told of files that cannot be read again, and of peers that are refused; nil discards.
	Logger *slog.Logger
}

// How long a handshake may take, and how many may be under way.
const (
	handshakeTimeout = 5 * time.Second
	maxHandshakes    = 64
)

// TLS is the network of members that talk over mutual TLS 1.3. Certificates are looked at anew for each
// connection, so that new ones count without a restart; connections that are open stay.
func TLS(cfg TLSConfig) (Network, error) {
	files := cfg.CertFile != "" || cfg.KeyFile != "" || cfg.CAFile != ""
	funcs := cfg.Certificate != nil || cfg.Authorities != nil
	switch {
	case files && funcs:
		return nil, errors.New("raft: TLSConfig has files and functions; give one or the other")
	case files && (cfg.CertFile == "" || cfg.KeyFile == "" || cfg.CAFile == ""):
		return nil, errors.New("raft: TLSConfig needs CertFile, KeyFile and CAFile")
	case !files && (cfg.Certificate == nil || cfg.Authorities == nil):
		return nil, errors.New("raft: TLSConfig needs Certificate and Authorities, or files")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	cfg.Names = slices.Clone(cfg.Names)
	if files {
		r := &reloader{cfg: cfg}
		if err := r.load(); err != nil {
			return nil, err
		}
		cfg.Certificate, cfg.Authorities = r.certificate, r.authorities
	}
	return &tlsNetwork{cfg: cfg}, nil
}

type tlsNetwork struct {
	cfg     TLSConfig
	refusal quiet
}

// config is what counts for one connection.
func (n *tlsNetwork) config() (*tls.Config, error) {
	own, err := n.cfg.Certificate()
	if err != nil {
		return nil, fmt.Errorf("raft: certificate: %w", err)
	}
	pool, err := n.cfg.Authorities()
	if err != nil {
		return nil, fmt.Errorf("raft: authorities: %w", err)
	}
	return &tls.Config{
		Certificates: []tls.Certificate{*own}, RootCAs: pool, ClientCAs: pool,
		ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13,
		// A resumed session would not be checked against new authorities.
		SessionTicketsDisabled: true,
		VerifyConnection:       n.checkName,
	}, nil
}

// checkName refuses certificates of others than members.
func (n *tlsNetwork) checkName(state tls.ConnectionState) error {
	if len(n.cfg.Names) == 0 {
		return nil
	}
	c := state.PeerCertificates[0]
	names := append([]string{c.Subject.CommonName}, c.DNSNames...)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	if !slices.ContainsFunc(names, func(name string) bool { return slices.Contains(n.cfg.Names, name) }) {
		return fmt.Errorf("raft: a certificate for %q is not a member's", names)
	}
	return nil
}

// Dial implements Network. The member at the address must have a certificate for its host.
func (n *tlsNetwork) Dial(ctx context.Context, address string) (net.Conn, error) {
	cfg, err := n.config()
	if err != nil {
		return nil, err
	}
	if cfg.ServerName, _, err = net.SplitHostPort(address); err != nil {
		return nil, fmt.Errorf("raft: dial: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	return (&tls.Dialer{NetDialer: &net.Dialer{KeepAliveConfig: keepAlive}, Config: cfg}).DialContext(ctx, "tcp", address)
}

// keepAlive finds peers that are gone without having told.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3}

// Listen implements Network.
func (n *tlsNetwork) Listen(address string) (net.Listener, error) {
	inner, err := (&net.ListenConfig{KeepAliveConfig: keepAlive}).Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, err
	}
	l := &tlsListener{network: n, Listener: inner, ready: make(chan net.Conn)}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.wg.Go(l.run)
	return l, nil
}

// tlsListener accepts connections whose handshakes are done; a slow peer holds up no other.
type tlsListener struct {
	net.Listener
	network *tlsNetwork
	ready   chan net.Conn
	ctx     context.Context
	cancel  context.CancelFunc
	wg      sync.WaitGroup

	mu      sync.Mutex
	shaking []net.Conn // the handshakes under way, oldest first
}

func (l *tlsListener) run() {
	for l.ctx.Err() == nil {
		conn, err := l.Listener.Accept()
		if err != nil {
			select { // such as too many open files
			case <-l.ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
			continue
		}
		l.begin(conn)
		l.wg.Go(func() { l.shake(conn) })
	}
}

// begin notes a handshake. When there are too many, the oldest ends: a member's takes milliseconds, so that
// strangers who connect and keep silent cannot keep members out.
func (l *tlsListener) begin(conn net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.shaking) == maxHandshakes {
		l.shaking[0].Close()
		l.shaking = slices.Delete(l.shaking, 0, 1)
	}
	l.shaking = append(l.shaking, conn)
}

func (l *tlsListener) end(conn net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.Index(l.shaking, conn); i >= 0 {
		l.shaking = slices.Delete(l.shaking, i, i+1)
	}
}

// shake hands a connection over when the other side has proved to be a member, and closes it when not.
func (l *tlsListener) shake(conn net.Conn) {
	cfg, err := l.network.config()
	var secure *tls.Conn
	if err == nil {
		secure = tls.Server(conn, cfg)
		ctx, cancel := context.WithTimeout(l.ctx, handshakeTimeout)
		err = secure.HandshakeContext(ctx)
		cancel()
	}
	l.end(conn)
	if err != nil {
		conn.Close()
		l.network.refusal.warn(l.network.cfg.Logger, "a peer is refused", "from", conn.RemoteAddr().String(), "error", err)
		return
	}
	select {
	case l.ready <- secure:
	case <-l.ctx.Done():
		secure.Close()
	}
}

// Accept implements net.Listener.
func (l *tlsListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.ready:
		return c, nil
	case <-l.ctx.Done():
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener; connections that were accepted stay open.
func (l *tlsListener) Close() error {
	l.cancel()
	err := l.Listener.Close()
	l.wg.Wait()
	return err
}
