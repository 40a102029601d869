package embedded

import (
	"bytes"
	"fmt"
	"text/template"

	"golang.org/x/crypto/bcrypt"

	"headway.dev/headway/bus"
	"headway.dev/headway/bus/internal/wire"
)

// accounts is the part of the server's configuration that says who may do what.
//
// Permissions alone would not do. NATS checks the subject that a client publishes to, but not the subject that it asks
// an answer on, and an answer can be a stored message: a node could store an assignment as its status, and have it
// answered to the subject that assignments are stored by. So nodes and operators live in an account of their own. What
// they may reach of the control plane's is imported, and every answer comes out on their side, where nothing is stored.
//
// An account without JetStream gets, by itself, an API that answers that it has none, beside what it imports. The server
// leaves that out for an account that imports $JS.API.INFO; nobody there may ask for that.
const accounts = `
accounts {
  control {
    jetstream: enabled
    users: [{user: controller, password: "{{.Controller}}"}]
    exports: [
      {service: "$JS.API.INFO", accounts: [fleet]}
{{- range .Reads}}
      {service: "{{.}}", accounts: [fleet], response: stream}
{{- end}}
{{- range .Writes}}
      {service: "{{.}}", accounts: [fleet]}
{{- end}}
{{- range .Live}}
      {stream: "{{.}}", accounts: [fleet]}
{{- end}}
    ]
    imports: [
      {stream: {account: fleet, subject: "{{.Heartbeats}}"}}
      {stream: {account: fleet, subject: "{{.Usages}}"}}
      {stream: {account: fleet, subject: "{{.Down}}"}}
      {service: {account: fleet, subject: "{{.Open}}"}}
      {service: {account: fleet, subject: "{{.Up}}"}}
    ]
  }
  fleet {
    users: [
      {user: node, password: "{{.Node}}", permissions: {
        publish: [
{{- range .Reads}} "{{.}}",{{end}}{{range .Writes}} "{{.}}",{{end}} "{{.Heartbeats}}", "{{.Usages}}", "{{.Down}}"]
        subscribe: [{{range .Live}}"{{.}}", {{end}}"{{.Open}}", "{{.Up}}", "_INBOX_node.>"]
      }}
      {user: operator, password: "{{.Operator}}", permissions: {
        publish: [
{{- range .Reads}} "{{.}}",{{end}} "{{.Open}}", "{{.Up}}"]
        subscribe: [{{range .Live}}"{{.}}", {{end}}"{{.Down}}", "_INBOX_operator.>"]
      }}
    ]
    imports: [
      {service: {account: control, subject: "$JS.API.INFO"}}
{{- range .Reads}}
      {service: {account: control, subject: "{{.}}"}}
{{- end}}
{{- range .Writes}}
      {service: {account: control, subject: "{{.}}"}}
{{- end}}
{{- range .Live}}
      {stream: {account: control, subject: "{{.}}"}}
{{- end}}
    ]
    exports: [
      {stream: "{{.Heartbeats}}", accounts: [control]}
      {stream: "{{.Usages}}", accounts: [control]}
      {stream: "{{.Down}}", accounts: [control]}
      {service: "{{.Open}}", accounts: [control]}
      {service: "{{.Up}}", accounts: [control]}
    ]
  }
}
`

// renderAccounts gives the configuration. It holds only hashes of the passwords.
func renderAccounts(c credentials) (string, error) {
	data := struct {
		Controller, Node, Operator string
		Reads, Writes, Live        []string
		Heartbeats, Usages         string
		Open, Up, Down             string
	}{
		Heartbeats: wire.Heartbeat(wire.Any),
		Usages:     wire.Usage(wire.Any),
		Open:       wire.Open(wire.Any),
		Up:         wire.Up("*"),
		Down:       wire.Down("*"),
		Writes: []string{
			wire.Key(wire.Nodes, wire.Any),
			wire.Key(wire.Statuses, wire.Any),
			wire.Key(wire.Acks, wire.Any),
			wire.EventsFrom("node." + wire.Any),
		},
		Live: []string{wire.StreamActions, wire.Live(wire.Events, wire.Any), wire.Grant(wire.Any)},
	}
	streams := []string{wire.Events}
	for _, bucket := range wire.Buckets() {
		streams = append(streams, wire.Stream(bucket))
		data.Live = append(data.Live, wire.Live(bucket, wire.Any))
	}
	for _, stream := range streams {
		data.Reads = append(data.Reads, wire.Info(stream), wire.Get(stream))
	}
	for to, from := range map[*string]bus.Credentials{&data.Controller: c.controller, &data.Node: c.node, &data.Operator: c.operator} {
		// The passwords are random and long: the hash need not be slow as well.
		hash, err := bcrypt.GenerateFromPassword([]byte(from.Password), bcrypt.MinCost)
		if err != nil {
			return "", fmt.Errorf("hash the password of %s: %w", from.User, err)
		}
		*to = string(hash)
	}
	parsed, err := template.New("accounts").Parse(accounts)
	if err != nil {
		return "", fmt.Errorf("accounts of the embedded NATS: %w", err)
	}
	var out bytes.Buffer
	if err := parsed.Execute(&out, data); err != nil {
		return "", fmt.Errorf("accounts of the embedded NATS: %w", err)
	}
	return out.String(), nil
}
