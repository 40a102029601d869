package node

import (
	"fmt"
	"strings"

	"headway.dev/headway/api"
)

// serviceLinks are the variables that tell of the services of a namespace, in the form that Docker gave its links and
// Kubernetes kept: NAME_SERVICE_HOST, NAME_PORT_80_TCP_ADDR and so on. A service without an address of its own has none.
func serviceLinks(table api.RouteTable, namespace string) []variable {
	var all []variable
	for _, r := range table.Routes {
		if r.Service.Namespace != namespace || r.ClusterIP == "" || len(r.Ports) == 0 {
			continue
		}
		all = append(all, linksTo(r)...)
	}
	return all
}

// A variable is one of an environment.
type variable struct{ name, value string }

func linksTo(r api.Route) []variable {
	name := variableName(r.Service.Name)
	host := r.ClusterIP
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	address := func(p api.RoutePort) string {
		return fmt.Sprintf("%s://%s:%d", strings.ToLower(string(p.Protocol)), host, p.Port)
	}
	links := []variable{{name + "_SERVICE_HOST", r.ClusterIP}, {name + "_SERVICE_PORT", fmt.Sprint(r.Ports[0].Port)}}
	for _, p := range r.Ports {
		if p.Name != "" {
			links = append(links, variable{name + "_SERVICE_PORT_" + variableName(p.Name), fmt.Sprint(p.Port)})
		}
	}
	links = append(links, variable{name + "_PORT", address(r.Ports[0])})
	for _, p := range r.Ports {
		prefix := fmt.Sprintf("%s_PORT_%d_%s", name, p.Port, strings.ToUpper(string(p.Protocol)))
		links = append(links,
			variable{prefix, address(p)},
			variable{prefix + "_PROTO", strings.ToLower(string(p.Protocol))},
			variable{prefix + "_PORT", fmt.Sprint(p.Port)},
			variable{prefix + "_ADDR", r.ClusterIP},
		)
	}
	return links
}

// variableName makes the name of an object that of a variable.
func variableName(s string) string { return strings.ToUpper(strings.ReplaceAll(s, "-", "_")) }
