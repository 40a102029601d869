package main

import (
	"slices"
	"strings"
	"testing"
)

func TestExecArguments(t *testing.T) {
	for line, want := range map[string]struct {
		namespace, err string
		command        []string
	}{
		"pod -n shop -- ls -n":         {namespace: "shop", command: []string{"ls", "-n"}},
		"-n shop pod -- ls":            {namespace: "shop", command: []string{"ls"}},
		"pod -it --namespace shop ls":  {namespace: "shop", command: []string{"ls"}},
		"pod -- sh -c true -- -n none": {command: []string{"sh", "-c", "true", "--", "-n", "none"}},
		"pod -- -n":                    {command: []string{"-n"}},
		"pod ls -l":                    {err: "unknown shorthand flag: 'l' in -l; flags of what is to run follow a \"--\""},
		"pod ls -- -l":                 {err: "\"ls\" is before the \"--\""},
		"pod":                          {err: "what is to run is missing"},
		"pod -n shop --":               {err: "what is to run is missing"},
		"-n shop -- ls":                {err: "where it is to run is missing"},
	} {
		t.Run(line, func(t *testing.T) {
			c := app{}.execCommand()
			var command []string
			err := c.ParseFlags(strings.Fields(line))
			if err != nil {
				err = c.FlagErrorFunc()(c, err)
			} else {
				command, err = commandOf(c.Flags().Args(), c.ArgsLenAtDash())
			}
			switch {
			case err == nil && want.err != "", err != nil && (want.err == "" || !strings.HasPrefix(err.Error(), want.err)):
				t.Fatalf("%v, want %q", err, want.err)
			case err != nil:
				return
			}
			if namespace := c.Flag("namespace").Value.String(); !slices.Equal(command, want.command) || namespace != want.namespace {
				t.Errorf("namespace %q, command %q", namespace, command)
			}
		})
	}
}
