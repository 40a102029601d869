package gittest

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// User and Password are what the servers of this package want to see.
const (
	User     = "ada"
	Password = "s3cret"
)

// ServeHTTP serves the repository over http on the loopback interface, to those who have User and Password. around, if
// it is not nil, sees each request first.
func (r *Repo) ServeHTTP(around func(http.Handler) http.Handler) (url string) {
	r.t.Helper()
	r.Git("config", "http.receivepack", "true")
	backend := &cgi.Handler{
		Path: filepath.Join(run(r.t, "", nil, "--exec-path"), "git-http-backend"),
		Env:  append(gitOnly(Env()), "GIT_HTTP_EXPORT_ALL=1", "GIT_PROJECT_ROOT="+filepath.Dir(r.Dir)),
	}
	var handler http.Handler = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if user, password, ok := req.BasicAuth(); !ok || user != User || password != Password {
			w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		backend.ServeHTTP(w, req)
	})
	if around != nil {
		handler = around(handler)
	}
	server := httptest.NewServer(handler)
	r.t.Cleanup(server.Close)
	return server.URL + "/" + filepath.Base(r.Dir)
}

func gitOnly(env []string) []string {
	var kept []string
	for _, v := range env {
		if strings.HasPrefix(v, "GIT_") || strings.HasPrefix(v, "PATH=") {
			kept = append(kept, v)
		}
	}
	return kept
}

// An SSH is a server of one repository, on the loopback interface.
type SSH struct {
	URL        string
	KeyFile    string // opens it
	KnownHosts string // names its own key
}

// ServeSSH serves the repository over ssh.
func (r *Repo) ServeSSH() SSH {
	r.t.Helper()
	dir := r.t.TempDir()
	host := r.key("")
	keyFile := filepath.Join(dir, "id")
	client := r.key(keyFile)
	config := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if string(key.Marshal()) != string(client.PublicKey().Marshal()) {
			return nil, errors.New("unknown key")
		}
		return nil, nil
	}}
	config.AddHostKey(host)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		r.t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { serveConn(conn, config) })
		}
	})
	r.t.Cleanup(func() {
		_ = listener.Close() // it is not needed any more
		serving.Wait()
	})
	addr := listener.Addr().String()
	known := filepath.Join(dir, "known_hosts")
	if err := os.WriteFile(known, []byte(knownhosts.Line([]string{addr}, host.PublicKey())+"\n"), 0o600); err != nil {
		r.t.Fatal(err)
	}
	return SSH{URL: fmt.Sprintf("ssh://git@%s%s", addr, r.Dir), KeyFile: keyFile, KnownHosts: known}
}

// key makes a key and writes it to a file, if one is named.
func (r *Repo) key(file string) ssh.Signer {
	r.t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		r.t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		r.t.Fatal(err)
	}
	if file != "" {
		block, err := ssh.MarshalPrivateKey(private, "")
		if err != nil {
			r.t.Fatal(err)
		}
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			r.t.Fatal(err)
		}
	}
	return signer
}

func serveConn(conn net.Conn, config *ssh.ServerConfig) {
	defer conn.Close()
	_, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	var sessions sync.WaitGroup
	defer sessions.Wait()
	sessions.Go(func() { ssh.DiscardRequests(requests) })
	for offered := range channels {
		channel, requests, err := offered.Accept()
		if err != nil {
			return
		}
		sessions.Go(func() { serveSession(channel, requests) })
	}
}

func serveSession(channel ssh.Channel, requests <-chan *ssh.Request) {
	defer channel.Close()
	for req := range requests {
		if req.Type != "exec" {
			_ = req.Reply(false, nil) // the client is told by the end of the connection if not by this
			continue
		}
		_ = req.Reply(true, nil)
		var command struct{ Line string }
		if ssh.Unmarshal(req.Payload, &command) != nil {
			return
		}
		name, path, _ := strings.Cut(command.Line, " ")
		name = strings.TrimPrefix(name, "git-")
		if name != "upload-pack" && name != "receive-pack" {
			return
		}
		cmd := exec.Command("git", name, strings.Trim(path, "'"))
		cmd.Env, cmd.Stdout, cmd.Stderr = Env(), channel, channel.Stderr()
		in, err := cmd.StdinPipe()
		if err != nil {
			return
		}
		// Not as cmd.Stdin: git may end before the client has said all it has to say, and must not be waited for.
		var feeding sync.WaitGroup
		defer feeding.Wait()
		feeding.Go(func() {
			_, _ = io.Copy(in, channel)
			_ = in.Close()
		})
		status := struct{ Code uint32 }{}
		if cmd.Run() != nil {
			status.Code = 1
		}
		defer channel.Close() // before the wait: it ends the feeding
		_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(status))
		return
	}
}
