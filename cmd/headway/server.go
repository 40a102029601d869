package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"headway.dev/headway/bus"
	"headway.dev/headway/bus/embedded"
	"headway.dev/headway/controller"
	"headway.dev/headway/seal"
	"headway.dev/headway/sync/mirror"
	"headway.dev/headway/sync/revert"
	"headway.dev/headway/sync/webhook"
)

// serverOptions are the flags of the control plane.
type serverOptions struct {
	repo, branch, path string
	poll               time.Duration
	email              string
	dir                string
	listen             string
	nats, credentials  string
	serviceCIDR        string
	nodeLease          time.Duration
	scalePeriod        time.Duration
	failoverLease      time.Duration
	webhook            string
	webhookSecret      string
	verbose            bool
}

func (o *serverOptions) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&o.repo, "repo", "", "Git repository to follow: a path, or an https or ssh URL")
	f.StringVar(&o.branch, "branch", "", "branch or tag to follow (default: the repository's own)")
	f.StringVar(&o.path, "path", "", "folder of the repository that holds the manifests (default: all of it)")
	f.DurationVar(&o.poll, "poll", 10*time.Second, "how often to look for commits when nothing tells of them")
	f.StringVar(&o.email, "email", "headway@localhost", "address under which the control plane commits, where it reverts what failed")
	f.StringVar(&o.serviceCIDR, "service-cidr", "10.96.0.0/16", "range of the services' addresses")
	f.DurationVar(&o.nodeLease, "node-lease", 10*time.Second, "how long a node may be silent before its pods are replaced")
	f.DurationVar(&o.scalePeriod, "autoscaler-period", 15*time.Second, "how often autoscalers reckon, and nodes say what their pods use")
	f.DurationVar(&o.failoverLease, "failover-lease", 40*time.Second, "how long a node may be silent before its StatefulSets' pods are replaced, which it stops by itself at half of that; the same on all servers")
	f.StringVar(&o.webhook, "webhook", "", "address on which to take push webhooks, such as :9443 (default: none)")
	f.StringVar(&o.webhookSecret, "webhook-secret-file", "", "file with the secret that webhooks are signed with")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "log more")
}

func (a app) serverCommand() *cobra.Command {
	var o serverOptions
	c := &cobra.Command{
		Use:   "server",
		Short: "Run the control plane",
		Long: `Run the control plane: follow the repository, plan, place and assign. It holds nothing that cannot be rebuilt from
Git and the nodes: it may be killed, moved or lost without a container being restarted.

NATS is embedded unless --nats names a server; nodes join with the credentials that it writes to
DIR/bus/credentials/node.json.`,
		Example: `  headway server --repo https://git.example/fleet.git --branch main --dir /var/lib/headway/server --listen 10.0.0.1:4222`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return runServer(c.Context(), o, nil, a.logger(o.verbose))
		},
	}
	o.flags(c)
	c.Flags().StringVar(&o.dir, "dir", "/var/lib/headway/server", "where to keep the mirror, the bus and its credentials")
	c.Flags().StringVar(&o.listen, "listen", "127.0.0.1:4222", "where the embedded NATS listens")
	c.Flags().StringVar(&o.nats, "nats", "", "URL of a NATS server to use instead of the embedded one")
	c.Flags().StringVar(&o.credentials, "credentials", "", "file with user and password for --nats")
	return c
}

// runServer runs the control plane until ctx is done. It closes started, unless that is nil, once the bus can be joined.
func runServer(ctx context.Context, o serverOptions, started chan<- struct{}, log *slog.Logger) error {
	if o.repo == "" {
		return errors.New("--repo must name the repository to follow")
	}
	conn, stop, err := o.openBus(ctx, log)
	if err != nil {
		return err
	}
	defer stop()
	id, release, err := serverIdentity(o.dir)
	if err != nil {
		return err
	}
	defer release()
	if started != nil {
		close(started)
	}
	source, err := mirror.Open(ctx, mirror.Options{
		URL: o.repo, Ref: o.branch, Path: o.path, Poll: o.poll,
		Dir: filepath.Join(o.dir, "mirror"), Logger: log.With("part", "mirror"),
	})
	if err != nil {
		return err
	}
	compiler, end, err := newCompiler(compilerOptions{cache: filepath.Join(o.dir, "evaluations")}, log.With("part", "evaluator"))
	if err != nil {
		return err
	}
	defer end()
	loop, err := controller.New(controller.Config{
		ID:            id,
		Repository:    o.repo,
		Source:        controller.FromMirror(source),
		Compiler:      compiler,
		Bus:           controllerBus{conn},
		Sealer:        seal.Seal,
		Reverter:      gitReverter{o.repo, o.branch, revert.Person{Name: "headway", Email: o.email}},
		ServiceCIDR:   o.serviceCIDR,
		NodeLease:     o.nodeLease,
		ScalePeriod:   o.scalePeriod,
		FailoverLease: o.failoverLease,
		Logger:        log.With("part", "controller"),
	})
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return loop.Run(ctx) })
	if o.webhook != "" {
		group.Go(func() error { return o.serveWebhooks(ctx, source.Wake) })
	}
	err = group.Wait()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// openBus connects to the bus, and starts it when it is to be embedded. The function it returns ends both.
func (o serverOptions) openBus(ctx context.Context, log *slog.Logger) (*bus.Conn, func(), error) {
	options := bus.Options{Name: "controller", Logger: log.With("part", "bus")}
	if o.nats != "" {
		if o.credentials != "" {
			var err error
			if options.Credentials, err = bus.LoadCredentials(o.credentials); err != nil {
				return nil, nil, err
			}
		}
		options.Credentials.URL = o.nats
		conn, err := bus.Connect(ctx, options)
		if err != nil {
			return nil, nil, err
		}
		return conn, conn.Close, nil
	}
	server, err := embedded.Start(embedded.Options{Dir: filepath.Join(o.dir, "bus"), Listen: o.listen, Logger: log.With("part", "nats")})
	if err != nil {
		return nil, nil, err
	}
	conn, err := bus.Connect(ctx, server.Options(options))
	if err != nil {
		server.Shutdown()
		return nil, nil, err
	}
	return conn, func() { conn.Close(); server.Shutdown() }, nil
}

// serveWebhooks takes push events until ctx is done.
func (o serverOptions) serveWebhooks(ctx context.Context, wake func()) error {
	var secret string
	if o.webhookSecret != "" {
		data, err := os.ReadFile(o.webhookSecret)
		if err != nil {
			return err
		}
		secret = strings.TrimSpace(string(data))
	}
	server := &http.Server{Addr: o.webhook, Handler: webhook.Handler(secret, wake), ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.ListenAndServe() }()
	select {
	case err := <-failed:
		return fmt.Errorf("webhooks on %s: %w", o.webhook, err)
	case <-ctx.Done():
		return server.Close()
	}
}
