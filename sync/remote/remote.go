// Package remote reaches Git repositories by their URL: it tells local ones from others, keeps secrets out of what is
// printed, and opens sessions over https and ssh.
package remote

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"
	gitssh "github.com/go-git/go-git/v5/plumbing/transport/ssh"
)

// Auth is what a server wants to see. The zero value is for public repositories over https; over ssh it is the running
// ssh agent.
type Auth struct {
	// Username and Password are for https. A token goes into Password; Username may then be empty, and over ssh it is
	// the one in the URL.
	Username, Password string
	// KeyFile holds a private key for ssh, Passphrase opens it.
	KeyFile, Passphrase string
	// KnownHosts is the file with the server's ssh key; empty is the user's and the system's own.
	KnownHosts string
}

// String hides the secrets, in whatever way an Auth is printed.
func (a Auth) String() string {
	switch {
	case a.KeyFile != "":
		return "ssh key " + a.KeyFile
	case a.Password != "":
		return "password of " + or(a.Username, tokenUser)
	}
	return "none"
}

// GoString hides the secrets.
func (a Auth) GoString() string { return a.String() }

// LogValue hides the secrets.
func (a Auth) LogValue() slog.Value { return slog.StringValue(a.String()) }

// tokenUser goes with a token: the servers look at the token alone, but some refuse an empty name.
const tokenUser = "git"

// A URL is a repository's place.
type URL struct {
	local    string
	endpoint *transport.Endpoint
}

// Parse reads a path, or a URL of the schemes file, https, http and ssh, or ssh's short form user@host:path.
func Parse(s string) (URL, error) {
	if s == "" {
		return URL{}, errors.New("no repository is named: give a path, or an https or ssh URL")
	}
	ep, err := transport.NewEndpoint(s)
	if err != nil {
		// The library's error repeats the URL, which may hold a password.
		return URL{}, errors.New("the repository's URL cannot be read: give a path, or an https or ssh URL")
	}
	switch ep.Protocol {
	case "file":
		if ep.Host != "" && ep.Host != "localhost" {
			return URL{}, fmt.Errorf("file://%s: a file URL has three slashes: file:///srv/repository.git", ep.Host)
		}
		path, err := filepath.Abs(filepath.FromSlash(ep.Path))
		return URL{local: path}, err
	case "https", "http", "ssh":
		if ep.Host == "" || strings.Trim(ep.Path, "/") == "" {
			return URL{}, fmt.Errorf("the repository's URL names no host or no path: %s", redact(ep))
		}
		return URL{endpoint: ep}, nil
	}
	return URL{}, fmt.Errorf("the scheme %q of the repository's URL is unknown: give a path, or an https or ssh URL", ep.Protocol)
}

// Local is the path of a repository on this machine.
func (u URL) Local() (string, bool) { return u.local, u.local != "" }

// String gives the URL without its secrets.
func (u URL) String() string {
	if u.endpoint == nil {
		return u.local
	}
	return redact(u.endpoint)
}

func redact(ep *transport.Endpoint) string {
	shown := *ep
	shown.Password = ""
	if shown.Protocol != "ssh" {
		// A token may stand in the place of the name, or in a query, which the library takes as a part of the path.
		shown.User = ""
		if i := strings.IndexAny(shown.Path, "?#"); i >= 0 {
			shown.Path = shown.Path[:i]
		}
	}
	return shown.String()
}

// A Client opens sessions with the server of one repository.
type Client struct {
	endpoint  *transport.Endpoint
	transport transport.Transport
	auth      transport.AuthMethod
	dialing   chan struct{} // holds one while a connection is being made
	close     func()
}

// Dial makes a client; it sends nothing yet. Close ends the connections that it keeps.
func Dial(u URL, a Auth) (*Client, error) {
	if u.endpoint == nil {
		return nil, fmt.Errorf("%s is a path on this machine", u)
	}
	if u.endpoint.Protocol == "ssh" {
		auth, err := a.ssh(u)
		if err != nil {
			return nil, err
		}
		return newClient(u, gitssh.DefaultClient, auth, func() {}), nil
	}
	auth, err := a.http(u)
	if err != nil {
		return nil, err
	}
	client := httpClient()
	return newClient(u, githttp.NewClient(client), auth, client.CloseIdleConnections), nil
}

func newClient(u URL, t transport.Transport, a transport.AuthMethod, stop func()) *Client {
	// The secrets are in auth; out of the endpoint they cannot get into an error.
	endpoint := *u.endpoint
	endpoint.Password = ""
	if endpoint.Protocol != "ssh" {
		endpoint.User = ""
	}
	return &Client{endpoint: &endpoint, transport: t, auth: a, dialing: make(chan struct{}, 1), close: stop}
}

// Close ends idle connections.
func (c *Client) Close() { c.close() }

func (a Auth) http(u URL) (transport.AuthMethod, error) {
	user, password := or(a.Username, u.endpoint.User), or(a.Password, u.endpoint.Password)
	if user == "" && password == "" {
		return nil, nil
	}
	if u.endpoint.Protocol == "http" && !loopback(u.endpoint.Host) {
		return nil, fmt.Errorf("%s: the password would be sent in the clear: use https", u)
	}
	return &githttp.BasicAuth{Username: or(user, tokenUser), Password: password}, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (a Auth) ssh(u URL) (transport.AuthMethod, error) {
	user := or(u.endpoint.User, a.Username, "git")
	var helper gitssh.HostKeyCallbackHelper
	if a.KnownHosts != "" {
		db, err := gitssh.NewKnownHostsDb(a.KnownHosts)
		if err != nil {
			return nil, fmt.Errorf("known hosts in %s: %w", a.KnownHosts, err)
		}
		helper.HostKeyCallback = db.HostKeyCallback()
	}
	switch {
	case a.KeyFile != "":
		pem, err := os.ReadFile(a.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("ssh key: %w", err)
		}
		keys, err := gitssh.NewPublicKeys(user, pem, a.Passphrase)
		if err != nil {
			return nil, fmt.Errorf("ssh key %s: %w", a.KeyFile, err)
		}
		keys.HostKeyCallbackHelper = helper
		return keys, nil
	case a.Password != "":
		return &gitssh.Password{User: user, Password: a.Password, HostKeyCallbackHelper: helper}, nil
	}
	// The agent may come and go: it is asked at each session.
	return agentAuth{user: user, helper: helper}, nil
}

// hideURL takes the URL, with what secrets it may hold, out of errors of net/http.
func hideURL(err error) error {
	var at *url.Error
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}

// or gives the first string that is not empty.
func or(options ...string) string {
	for _, s := range options {
		if s != "" {
			return s
		}
	}
	return ""
}
