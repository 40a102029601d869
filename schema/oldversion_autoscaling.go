package schema

// convertSecondAutoscaler writes the metrics of autoscaling/v2beta1, each of which had fields of its own, as those of v2.
func convertSecondAutoscaler(_, spec *value) {
	metrics := spec.get("metrics")
	if metrics == nil {
		return
	}
	for _, m := range metrics.items {
		for _, source := range []string{"resource", "containerResource"} {
			s := m.get(source)
			s.target("targetAverageUtilization", "Utilization", "averageUtilization")
			s.target("targetAverageValue", "AverageValue", "averageValue")
		}
		pods := m.get("pods")
		pods.identify("metricName", "selector")
		pods.target("targetAverageValue", "AverageValue", "averageValue")

		// What is measured was called target, as what it should be is now.
		object := m.get("object")
		if t := object.get("target"); t.get("kind") != nil {
			object.rename("target", "describedObject")
		}
		object.identify("metricName", "selector")
		object.target("averageValue", "AverageValue", "averageValue")
		object.target("targetValue", "Value", "value")

		external := m.get("external")
		external.identify("metricName", "metricSelector")
		external.target("targetAverageValue", "AverageValue", "averageValue")
		external.target("targetValue", "Value", "value")
	}
}

// target moves an aim of a metric's source into its target.
func (v *value) target(from, typ, to string) {
	aim := v.get(from)
	if aim == nil {
		return
	}
	v.drop(from)
	if aim.kind == nullKind || v.get("target") != nil && v.get("target").str("type") != typ && aim.empty() {
		return // Kubernetes wrote the value that did not count as 0
	}
	t := v.within("target")
	t.set("type", text(typ, aim))
	t.set(to, aim)
}

// identify moves the name and the selector of a metric together.
func (v *value) identify(name, selector string) {
	for _, f := range []struct{ from, to string }{{name, "name"}, {selector, "selector"}} {
		if was := v.get(f.from); was != nil {
			v.drop(f.from)
			v.within("metric").set(f.to, was)
		}
	}
}
