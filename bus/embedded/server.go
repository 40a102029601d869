// Package embedded runs a NATS server with JetStream inside this process, set up for the bus: one folder, three users,
// little memory.
package embedded

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"headway.dev/headway/bus"
)

const (
	// MaxPayload is the largest message. Assignments and reports are one message each.
	MaxPayload = 8 << 20

	maxMemoryStore = 1 << 20 // nothing is kept in memory: every bucket is on disk
	maxFileStore   = 8 << 30
	startTimeout   = 10 * time.Second
)

// Options say how to run a server.
type Options struct {
	// Dir holds the store and the credentials. It is made if missing, and only its owner can read it.
	Dir string
	// Listen is the host and port to listen on; empty is 127.0.0.1:4222, and port 0 chooses a free one.
	Listen string
	// Advertise is the host and port that the credentials tell others to connect to; empty is where it listens, or this
	// machine's first address when that is every address.
	Advertise string
	Logger    *slog.Logger // nil is silent
}

// A Server is a running NATS server.
type Server struct {
	nats        *server.Server
	credentials credentials
	url         string
}

// Start runs a server until Shutdown. Everyone needs a password, on loopback too: the first start writes them to
// CredentialsPath, for the controller, the nodes and the operators.
//
// A store that cannot be read, as a whole or in part, is moved aside and a new one begun: all that it held can be had
// again from Git and the nodes.
func Start(o Options) (*Server, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Listen == "" {
		o.Listen = "127.0.0.1:4222"
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("folder of the embedded NATS: %w", err)
	}
	all, err := loadCredentials(o.Dir)
	if err != nil {
		return nil, err
	}
	nats, err := o.run(all)
	var bad *storeError
	if errors.As(err, &bad) {
		aside := fmt.Sprintf("%s.damaged-%s", o.store(), time.Now().UTC().Format("20060102T150405.000000000"))
		o.Logger.Error("the NATS store cannot be read: it is moved aside and a new one begun; nodes go on with what they run",
			"reason", bad, "moved", aside)
		if err := os.Rename(o.store(), aside); err != nil {
			return nil, fmt.Errorf("move the damaged NATS store aside: %w", err)
		}
		nats, err = o.run(all)
	}
	if err != nil {
		return nil, err
	}
	s := &Server{nats: nats, credentials: all}
	if s.url, err = o.clientURL(nats.Addr()); err == nil {
		err = all.save(o.Dir, s.url)
	}
	if err != nil {
		s.Shutdown()
		return nil, err
	}
	return s, nil
}

// ClientURL is where others connect.
func (s *Server) ClientURL() string { return s.url }

// Options completes the options of a connection from this process: as the controller, without TCP.
func (s *Server) Options(o bus.Options) bus.Options {
	o.Credentials = s.credentials.controller
	o.InProcess = s.nats
	return o
}

// Shutdown stops the server and waits until its store is on disk.
func (s *Server) Shutdown() {
	s.nats.Shutdown()
	s.nats.WaitForShutdown()
}

// A storeError says that the server runs, or would, but for its store.
type storeError struct{ reason string }

func (e *storeError) Error() string { return e.reason }

func (o Options) store() string { return filepath.Join(o.Dir, "store") }

// run starts a server and sees that all of its store is there.
func (o Options) run(all credentials) (*server.Server, error) {
	host, port, err := o.listenAddress()
	if err != nil {
		return nil, err
	}
	settings := &server.Options{
		ServerName:             "headway",
		Host:                   host,
		Port:                   port,
		MaxPayload:             MaxPayload,
		JetStream:              true,
		StoreDir:               o.store(),
		JetStreamMaxMemory:     maxMemoryStore,
		JetStreamMaxStore:      maxFileStore,
		NoSigs:                 true,
		DisableJetStreamBanner: true,
		// A cut connection is noticed within ten seconds.
		PingInterval: 5 * time.Second,
		MaxPingsOut:  2,
	}
	text, err := renderAccounts(all)
	if err != nil {
		return nil, err
	}
	if err := settings.ProcessConfigString(text); err != nil {
		return nil, fmt.Errorf("accounts of the embedded NATS: %w", err)
	}
	nats, err := server.NewServer(settings)
	if err != nil {
		return nil, fmt.Errorf("embedded NATS: %w", err)
	}
	log := &logger{to: o.Logger}
	nats.SetLoggerV2(log, false, false, false)
	nats.Start()
	if err := o.check(nats, log); err != nil {
		nats.Shutdown()
		nats.WaitForShutdown()
		return nil, err
	}
	return nats, nil
}

// check tells a server that runs from one that could not start, and from one that left part of its store out.
func (o Options) check(nats *server.Server, log *logger) error {
	switch reason := log.fatalReason(); {
	case strings.HasPrefix(reason, "Can't start JetStream"):
		return &storeError{reason}
	case reason != "":
		return fmt.Errorf("embedded NATS at %s: %s", o.Listen, reason)
	case !nats.ReadyForConnections(startTimeout):
		return fmt.Errorf("embedded NATS at %s did not start within %s", o.Listen, startTimeout)
	}
	kept, err := os.ReadDir(filepath.Join(o.store(), server.JetStreamStoreDir, "control", "streams"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return &storeError{err.Error()}
	}
	account, err := nats.JszAccount(&server.JSzOptions{Account: "control", Streams: true})
	if err != nil {
		return fmt.Errorf("embedded NATS: %w", err)
	}
	for _, entry := range kept {
		loaded := slices.ContainsFunc(account.Streams, func(s server.StreamDetail) bool { return s.Name == entry.Name() })
		if !loaded && !strings.HasPrefix(entry.Name(), ".") {
			return &storeError{fmt.Sprintf("stream %s does not load", entry.Name())}
		}
	}
	return nil
}

func (o Options) listenAddress() (host string, port int, err error) {
	host, text, err := net.SplitHostPort(o.Listen)
	if err == nil {
		port, err = strconv.Atoi(text)
	}
	if err != nil {
		return "", 0, fmt.Errorf("the address to listen on is %q: it must be host:port, such as 10.0.0.1:4222: %w", o.Listen, err)
	}
	if host == "" {
		host = "0.0.0.0"
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	return host, port, nil
}

// clientURL is what the credentials say: listening on every address is no address to connect to.
func (o Options) clientURL(listening net.Addr) (string, error) {
	if o.Advertise != "" {
		return "nats://" + o.Advertise, nil
	}
	tcp, ok := listening.(*net.TCPAddr)
	if !ok {
		return "", fmt.Errorf("embedded NATS listens on %v, which is not TCP", listening)
	}
	ip := tcp.IP
	if ip.IsUnspecified() {
		ip = net.IPv4(127, 0, 0, 1)
		addresses, err := net.InterfaceAddrs()
		if err != nil {
			return "", fmt.Errorf("addresses of this machine: %w", err)
		}
		for _, a := range addresses {
			if network, ok := a.(*net.IPNet); ok && network.IP.IsGlobalUnicast() && network.IP.To4() != nil {
				ip = network.IP
				break
			}
		}
	}
	return "nats://" + net.JoinHostPort(ip.String(), strconv.Itoa(tcp.Port)), nil
}
