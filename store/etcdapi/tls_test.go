package etcdapi_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/inboard/inboard/store"
	"github.com/inboard/inboard/store/etcdapi"
)

// authority signs certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t, pool: x509.NewCertPool()}
	a.cert, a.key = a.sign(&x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil, nil)
	a.pool.AddCert(a.cert)
	return a
}

// sign makes a certificate; without a parent it signs itself.
func (a *authority) sign(template, parent *x509.Certificate, by *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template.SerialNumber, template.Subject = big.NewInt(1), pkix.Name{CommonName: "test"}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	if parent == nil {
		parent, by = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, by)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

func (a *authority) pair(use x509.ExtKeyUsage) tls.Certificate {
	cert, key := a.sign(&x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{use}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}, a.cert, a.key)
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
}

// serveTLS serves a store over TCP and returns its address.
func serveTLS(t *testing.T, s *store.Store, cfg *tls.Config) string {
	srv, err := etcdapi.New(etcdapi.Config{Store: s, TLS: cfg})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return l.Addr().String()
}

// putAs puts a key over a connection of its own.
func putAs(t *testing.T, addr string, creds credentials.TransportCredentials) error {
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err = pb.NewKVClient(conn).Put(ctx, &pb.PutRequest{Key: []byte("k"), Value: []byte("v")})
	return err
}

// With TLS, and certificates of clients, only those whose certificate the authority signed get anything.
func TestTLS(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	mutual := &tls.Config{
		Certificates: []tls.Certificate{ours.pair(x509.ExtKeyUsageServerAuth)},
		ClientCAs:    ours.pool, ClientAuth: tls.RequireAndVerifyClientCert,
	}
	client := func(roots *authority, certs ...tls.Certificate) credentials.TransportCredentials {
		return credentials.NewTLS(&tls.Config{RootCAs: roots.pool, Certificates: certs})
	}
	for _, c := range []struct {
		name   string
		server *tls.Config
		client credentials.TransportCredentials
		served bool
	}{
		{"mutual", mutual, client(ours, ours.pair(x509.ExtKeyUsageClientAuth)), true},
		{"server's only", &tls.Config{Certificates: mutual.Certificates}, client(ours), true},
		{"client without a certificate", mutual, client(ours), false},
		{"client of another authority", mutual, client(ours, theirs.pair(x509.ExtKeyUsageClientAuth)), false},
		{"client with a server's certificate", mutual, client(ours, ours.pair(x509.ExtKeyUsageServerAuth)), false},
		{"server of another authority", mutual, client(theirs, ours.pair(x509.ExtKeyUsageClientAuth)), false},
		{"client in plain text", mutual, insecure.NewCredentials(), false},
		{"server in plain text", nil, client(ours), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := store.Open(store.Config{})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			err = putAs(t, serveTLS(t, s, c.server), c.client)
			if c.served && err != nil || !c.served && status.Code(err) != codes.Unavailable {
				t.Errorf("a put: %v", err)
			}
			e, _, err := s.Get(t.Context(), "k")
			if err != nil || (e != nil) != c.served {
				t.Errorf("the store has %v, %v", e, err)
			}
		})
	}
}

// The streams work over TLS as well.
func TestTLSWatch(t *testing.T) {
	a := newAuthority(t)
	s, err := store.Open(store.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	addr := serveTLS(t, s, &tls.Config{
		Certificates: []tls.Certificate{a.pair(x509.ExtKeyUsageServerAuth)}, ClientCAs: a.pool, ClientAuth: tls.RequireAndVerifyClientCert,
	})
	creds := credentials.NewTLS(&tls.Config{RootCAs: a.pool, Certificates: []tls.Certificate{a.pair(x509.ExtKeyUsageClientAuth)}})
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	w, err := pb.NewWatchClient(conn).Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	create := &pb.WatchRequest_CreateRequest{CreateRequest: &pb.WatchCreateRequest{Key: []byte("k")}}
	if err := w.Send(&pb.WatchRequest{RequestUnion: create}); err != nil {
		t.Fatal(err)
	}
	if r, err := w.Recv(); err != nil || !r.Created {
		t.Fatalf("created: %v, %v", r, err)
	}
	if err := putAs(t, addr, creds); err != nil {
		t.Fatal(err)
	}
	if r, err := w.Recv(); err != nil || len(r.Events) != 1 || string(r.Events[0].Kv.Value) != "v" {
		t.Errorf("event: %v, %v", r, err)
	}
}
