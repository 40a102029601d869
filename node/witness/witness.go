package witness

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"headway.dev/headway/api"
)

// Port is where nodes answer.
const Port = 4223

// Options say who answers, and where.
type Options struct {
	// Address is the node's own; Port is where it and all others listen, by default Port.
	Address netip.Addr
	Port    uint16
	// Seal seals to a node's key, Open opens what was sealed to this one's.
	Seal   func(plain []byte, recipient string) ([]byte, error)
	Open   func(sealed []byte) ([]byte, error)
	Logger *slog.Logger // nil discards
}

// A Witness asks other nodes, and answers them.
type Witness struct{ options Options }

// New makes a witness. It touches nothing until it runs.
func New(o Options) *Witness {
	if o.Port == 0 {
		o.Port = Port
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Witness{o}
}

const (
	nonceSize  = 32
	maxMessage = 1024
	// resendAfter is how soon a question is asked again that has had no answer.
	resendAfter = 500 * time.Millisecond
	// maxAsked bounds how many nodes are asked at the same time.
	maxAsked = 64
	// retryEvery is how soon an address that cannot be had is tried again.
	retryEvery = 5 * time.Second
)

// The answers.
var (
	saysLost  = []byte{1}
	saysHears = []byte{0}
)

// answer is what a node says that could read the nonce.
func answer(nonce, says []byte) []byte {
	mac := hmac.New(sha256.New, nonce)
	mac.Write(says)
	return append(bytes.Clone(says), mac.Sum(nil)...)
}

// Run answers other nodes until ctx is done, by what lost says. An address that another program has is logged, and tried
// again: the node is only no witness then.
func (w *Witness) Run(ctx context.Context, lost func() bool) error {
	for {
		if err := w.serve(ctx, lost); ctx.Err() == nil {
			w.options.Logger.Warn("other nodes cannot ask this one whether it hears the leader; it is tried again", "error", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(retryEvery):
		}
	}
}

func (w *Witness) serve(ctx context.Context, lost func() bool) error {
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(w.options.Address, w.options.Port)))
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // it ends the read below
	defer stop()
	defer conn.Close()
	question := make([]byte, maxMessage)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(question)
		if err != nil {
			return err
		}
		nonce, err := w.options.Open(question[:n])
		if err != nil || len(nonce) != nonceSize {
			continue // not of a node that knows this one
		}
		says := saysHears
		if lost() {
			says = saysLost
		}
		if _, err := conn.WriteToUDPAddrPort(answer(nonce, says), from); err != nil {
			w.options.Logger.Debug("a node's question is not answered", "from", from, "error", err)
		}
	}
}

// Ask asks peers whether they have lost the leader. It gives how many said so, when enough have or ctx is done.
func (w *Witness) Ask(ctx context.Context, peers []api.NodeInfo, enough int) (lost int) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	votes := make(chan bool)
	slots := make(chan struct{}, maxAsked)
	var asking sync.WaitGroup
	for _, peer := range peers {
		asking.Go(func() {
			select {
			case slots <- struct{}{}:
				defer func() { <-slots }()
			case <-ctx.Done():
				return
			}
			vote, err := w.ask(ctx, peer)
			if err != nil {
				w.options.Logger.Debug("a node does not say whether it hears the leader", "node", peer.Name, "error", err)
				return
			}
			select {
			case votes <- vote:
			case <-ctx.Done():
			}
		})
	}
	go func() { asking.Wait(); close(votes) }()
	for vote := range votes {
		if vote {
			lost++
		}
		if lost >= enough {
			cancel()
		}
	}
	return lost
}

// ask asks one node.
func (w *Witness) ask(ctx context.Context, peer api.NodeInfo) (lost bool, err error) {
	if len(peer.Addresses) == 0 || peer.SealKey == "" {
		return false, errors.New("it has said neither address nor key")
	}
	address, err := netip.ParseAddr(peer.Addresses[0])
	if err != nil {
		return false, fmt.Errorf("address of node %s: %w", peer.Name, err)
	}
	nonce := make([]byte, nonceSize)
	_, _ = rand.Read(nonce) // it never fails
	question, err := w.options.Seal(nonce, peer.SealKey)
	if err != nil {
		return false, err
	}
	conn, err := net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(w.options.Address, 0)), net.UDPAddrFromAddrPort(netip.AddrPortFrom(address, w.options.Port)))
	if err != nil {
		return false, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	said := make([]byte, maxMessage)
	for ctx.Err() == nil {
		if _, err := conn.Write(question); err != nil {
			return false, err
		}
		if err := conn.SetReadDeadline(time.Now().Add(resendAfter)); err != nil {
			return false, err
		}
		n, err := conn.Read(said)
		switch {
		case isTimeout(err):
			continue
		case err != nil:
			return false, err
		case hmac.Equal(said[:n], answer(nonce, saysLost)):
			return true, nil
		case hmac.Equal(said[:n], answer(nonce, saysHears)):
			return false, nil
		}
	}
	return false, ctx.Err()
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}
