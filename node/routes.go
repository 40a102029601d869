package node

import (
	"context"
	"errors"
	"io/fs"

	"headway.dev/headway/api"
)

// runRoutes keeps the kernel's routes those of the newest table, until ctx is done. What the kernel has is also kept on
// disk: after a restart of the machine services answer without the bus.
func (a *Agent) runRoutes(ctx context.Context) {
	var restored api.RouteTable
	switch err := a.disk.read(routesFile, &restored); {
	case err == nil:
		a.applyRestored(ctx, restored)
	case !errors.Is(err, fs.ErrNotExist):
		a.log.Error("the routes on disk cannot be read: they are in force again when the bus tells them", "error", err)
	}
	done := make(chan struct{}, 2)
	go func() {
		defer func() { done <- struct{}{} }()
		a.watch(ctx, "the routes", func(ctx context.Context) error { return a.config.Bus.WatchRoutes(ctx, a.routes.put) })
	}()
	go func() {
		defer func() { done <- struct{}{} }()
		// Beside the applying, which need not wait for the disk.
		a.savedTable.each(ctx, func(_ context.Context, t api.RouteTable) error { return a.disk.write(routesFile, t, false) }, a.failed("write the routes to disk"))
	}()
	a.routes.each(ctx, a.applyRoutes, a.failed("apply the routes"))
	<-done
	<-done
}

// applyRestored applies the table of the last run. It is acknowledged to nobody: who waits for an acknowledgement waits
// for a table of now. If it fails, the table that the bus tells will do.
func (a *Agent) applyRestored(ctx context.Context, table api.RouteTable) {
	a.table.Store(&table)
	if err := a.config.Router.Apply(ctx, table); err != nil && ctx.Err() == nil {
		a.log.Error("the routes on disk cannot be applied: they are in force again when the bus tells them", "error", err)
	}
	if a.config.Ingress != nil {
		a.config.Ingress.SetRoutes(ctx, table)
	}
}

// applyRoutes makes a table the kernel's and says so. Applying it again does no harm.
func (a *Agent) applyRoutes(ctx context.Context, table api.RouteTable) error {
	a.table.Store(&table)
	if err := a.config.Router.Apply(ctx, table); err != nil {
		return err
	}
	if a.config.Ingress != nil {
		a.config.Ingress.SetRoutes(ctx, table)
	}
	a.savedTable.put(table)
	return a.config.Bus.PutAck(ctx, api.Ack{Node: a.config.Info.Name, Revision: table.Revision})
}

func (a *Agent) failed(what string) func(error) {
	return func(err error) { a.log.Warn("failed and is tried again", "what", what, "error", err) }
}
