// Package natsserver is a NATS server within this process, for a natspubsub.Broker. The servers of
// several processes join, so that no other program is needed.
//
//	s := &natsserver.Server{Listen: "10.0.0.1:6222", Peers: []string{"10.0.0.2:6222"}, Secret: secret}
//	if err := s.Open(); err != nil {
//		return err
//	}
//	defer s.Close()
//	b := &natspubsub.Broker{Server: s}
//
// The only listener is that for other servers, at Listen. There is none for clients of NATS: the Broker
// has a connection within the process. JetStream is off.
//
// It is a package of its own because package server of NATS is large; a program that uses an existing
// NATS does not import it.
package natsserver

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/pagi-go/pagi-bridge/pagi"
)

const (
	// MinSecret is the smallest Server.Secret in bytes.
	MinSecret = 16
	// clusterName and user are the same in all servers, which would not join otherwise.
	clusterName = "pagi"
	user        = "pagi"
	// maxPayload is the size of a message of NATS.
	maxPayload = 8 << 20
	// noPort is a port for clients that no one can listen at. With the option DontListen the server would
	// not listen for other servers either (version 2.15). With this port it reports an error, which
	// logger leaves out, and goes on without a listener for clients.
	noPort = 1 << 16
	// startTime is how long a server may take to listen.
	startTime = 10 * time.Second
	// handshakeTime is how long a server that joins may take to say the secret.
	handshakeTime = 5 * time.Second
	// quiet is after how long without a sign a server is asked for one; the connection to one that has
	// not answered twice is closed.
	quiet = 2 * time.Second
	// freeEvery is how often an address that was taken is tried again.
	freeEvery = 500 * time.Millisecond
)

// Server is a server in this process. Open must be called before InProcessConn, and Close at the end. The
// fields must not change meanwhile. A Server must not be copied.
type Server struct {
	// Listen is the address for the servers of other processes, host:port.
	Listen string
	// Peers are the addresses at which the others listen. The own one may be among them, so that all may
	// have the same list. It is enough that one of two servers has the other's address.
	Peers []string
	// Secret is what servers say to each other when they join: the same text of at least MinSecret bytes
	// in all. It may be empty only if Listen is a loopback address. Without Cert it is not encrypted on its
	// way.
	Secret string
	// Cert and Key are PEM files with a certificate chain and its key. The servers then speak TLS, and ask
	// each other for certificates that CA has signed, a PEM file. All three are given, or none.
	Cert, Key, CA string
	// Logger is told what happens; nil means slog.Default.
	Logger *slog.Logger

	mu      sync.Mutex // guards the rest
	running *server.Server
	closed  chan struct{} // nil: not open
	work    sync.WaitGroup
}

// Check reports options that cannot work.
func (s *Server) Check() error {
	var errs []error
	host, _, err := splitAddress(s.Listen)
	if err != nil {
		errs = append(errs, pagi.BadOption("listen", "%w", err))
	}
	for i, peer := range s.Peers {
		if _, port, err := splitAddress(peer); err != nil || port == 0 {
			errs = append(errs, pagi.BadOption("peers", "number %d must be host:port", i+1))
		}
	}
	switch {
	case s.Secret == "" && err == nil && !isLoopback(host):
		errs = append(errs, pagi.BadOption("secret", "is needed, because others can reach %s: give all gateways the same text of at least %d bytes, from a variable of the environment for example, ${CLUSTER_SECRET}; or listen at 127.0.0.1", s.Listen, MinSecret))
	case s.Secret != "" && len(s.Secret) < MinSecret:
		errs = append(errs, pagi.BadOption("secret", "has %d bytes; it needs %d", len(s.Secret), MinSecret))
	}
	given := 0
	for _, file := range []string{s.Cert, s.Key, s.CA} {
		if file != "" {
			given++
		}
	}
	if given != 0 && given != 3 {
		errs = append(errs, pagi.BadOption("cert", "cert, key and ca are needed together"))
	}
	return errors.Join(errs...)
}

// splitAddress returns the host and the port of an address.
func splitAddress(address string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(address)
	if err == nil {
		port, err = strconv.Atoi(text)
	}
	if err != nil || host == "" || port < 0 || port > 65535 {
		return "", 0, fmt.Errorf("must be host:port, is %q", address)
	}
	return host, port, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Open starts the server. While Listen is taken, by the process that this one replaces for example, it
// listens at another port of the same host, which the peers learn.
func (s *Server) Open() error {
	if err := s.Check(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed != nil {
		return errors.New("natsserver: open already")
	}
	host, _, err := splitAddress(s.Listen)
	if err != nil {
		return err
	}
	address, err := free(s.Listen)
	if errors.Is(err, errTaken) {
		address = net.JoinHostPort(host, "0")
	} else if err != nil {
		return fmt.Errorf("natsserver: %w", err)
	}
	if s.running, err = s.start(address); err != nil {
		return err
	}
	s.closed = make(chan struct{})
	if address != s.Listen {
		s.logger().Info("the address for other gateways is taken; this process listens at another one until it is free", "address", s.Listen)
		s.work.Go(s.moveBack)
	}
	return nil
}

// Close ends the server and its connections.
func (s *Server) Close() {
	s.mu.Lock()
	if s.closed == nil || s.isClosed() {
		s.mu.Unlock()
		return
	}
	close(s.closed)
	s.mu.Unlock()
	s.work.Wait()
	end(s.running)
}

func (s *Server) isClosed() bool {
	select {
	case <-s.closed:
		return true
	default:
		return false
	}
}

func end(s *server.Server) {
	s.Shutdown()
	s.WaitForShutdown()
}

// InProcessConn returns a connection to the server.
func (s *Server) InProcessConn() (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed == nil || s.isClosed() {
		return nil, errors.New("natsserver: closed")
	}
	return s.running.InProcessConn()
}

// Address returns the address for other servers.
func (s *Server) Address() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.running.ClusterAddr(); a != nil {
		return a.String()
	}
	return ""
}

// Joined returns how many other servers this one has joined.
func (s *Server) Joined() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := map[string]bool{}
	routes, err := s.running.Routez(nil)
	if err != nil {
		return 0
	}
	for _, r := range routes.Routes {
		seen[r.RemoteID] = true
	}
	return len(seen)
}

// moveBack starts the server again at Listen once that is free. The Broker connects again.
func (s *Server) moveBack() {
	ticker := time.NewTicker(freeEvery)
	defer ticker.Stop()
	for {
		select {
		case <-s.closed:
			return
		case <-ticker.C:
		}
		if _, err := free(s.Listen); err != nil {
			continue
		}
		fresh, err := s.start(s.Listen)
		if err != nil {
			continue // another process was faster
		}
		s.mu.Lock()
		old := s.running
		s.running = fresh
		s.mu.Unlock()
		end(old)
		s.logger().Info("this process listens for other gateways", "address", s.Listen)
		return
	}
}

// errTaken says that a port is in use.
var errTaken = errors.New("the address is in use")

// free returns the address if a server can listen at it.
func free(address string) (string, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		if isInUse(err) {
			return "", errTaken
		}
		return "", err
	}
	return address, l.Close()
}

// start starts a server that listens at an address.
func (s *Server) start(address string) (*server.Server, error) {
	options, err := s.options(address)
	if err != nil {
		return nil, fmt.Errorf("natsserver: %w", err)
	}
	running, err := server.NewServer(options)
	if err != nil {
		return nil, fmt.Errorf("natsserver: %w", err)
	}
	log := &logger{to: s.logger()}
	running.SetLoggerV2(log, false, false, false)
	running.Start()
	// Start returns when the goroutine that listens for other servers has begun.
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for begin := time.Now(); running.ClusterAddr() == nil; <-ticker.C {
		if reason := log.reason(); reason != "" || time.Since(begin) > startTime {
			end(running)
			return nil, fmt.Errorf("natsserver: it does not listen at %s: %s", address, cmp.Or(reason, "it takes too long"))
		}
	}
	return running, nil
}

func (s *Server) options(address string) (*server.Options, error) {
	host, port, err := splitAddress(address)
	if err != nil {
		return nil, err
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	o := &server.Options{
		Host: "127.0.0.1", Port: noPort, NoSigs: true, MaxPayload: maxPayload, MaxPending: server.MAX_PENDING_SIZE,
		Cluster: server.ClusterOpts{
			Name: clusterName, Host: host, Port: port, AuthTimeout: handshakeTime.Seconds(),
			PingInterval: quiet, MaxPingsOut: 2,
		},
	}
	if s.Secret != "" {
		o.Cluster.Username, o.Cluster.Password = user, s.Secret
	}
	peers := s.Peers
	if address != s.Listen {
		peers = append(slices.Clone(peers), s.Listen) // the process that has it
	}
	for _, peer := range peers {
		u := &url.URL{Scheme: "nats-route", Host: peer}
		if s.Secret != "" {
			u.User = url.UserPassword(user, s.Secret)
		}
		o.Routes = append(o.Routes, u)
	}
	if s.Cert != "" {
		if o.Cluster.TLSConfig, err = s.tls(); err != nil {
			return nil, err
		}
		o.Cluster.TLSTimeout = handshakeTime.Seconds()
	}
	return o, nil
}

// tls returns what both ends of a connection between servers need.
func (s *Server) tls() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(s.Cert, s.Key)
	if err != nil {
		return nil, fmt.Errorf("cert: %w", err)
	}
	text, err := os.ReadFile(s.CA)
	if err != nil {
		return nil, fmt.Errorf("ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("ca: %s has no certificate", s.CA)
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair},
		RootCAs: pool, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
	}, nil
}

func (s *Server) logger() *slog.Logger {
	if s.Logger != nil {
		return s.Logger
	}
	return slog.Default()
}
