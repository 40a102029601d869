package schema

// convertFirstIngress moves backends to where they are now, and writes out the pathType that was meant by none.
func convertFirstIngress(_, spec *value) {
	spec.rename("backend", "defaultBackend")
	spec.get("defaultBackend").convertBackend()
	rules := spec.get("rules")
	if rules == nil {
		return
	}
	for _, r := range rules.items {
		paths := r.get("http").get("paths")
		if paths == nil {
			continue
		}
		for _, p := range paths.items {
			p.set("pathType", text("ImplementationSpecific", p))
			p.get("backend").convertBackend()
		}
	}
}

// convertBackend writes the serviceName and servicePort of an old backend as its service.
func (v *value) convertBackend() {
	name, port := v.get("serviceName"), v.get("servicePort")
	if name == nil && port == nil {
		return
	}
	v.drop("serviceName", "servicePort")
	service := v.within("service")
	if name != nil {
		service.set("name", name)
	}
	if port == nil {
		return
	}
	if port.kind == stringKind {
		service.within("port").set("name", port)
	} else {
		service.within("port").set("number", port)
	}
}

// rename gives a field of a struct another name.
func (v *value) rename(from, to string) {
	if v == nil || v.get(to) != nil {
		return
	}
	for i := range v.fields {
		if v.fields[i].name == from {
			v.fields[i].name = to
		}
	}
}
