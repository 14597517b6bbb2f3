package command_test

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/site/command"
)

func TestPluginCommand(t *testing.T) {
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"plugin --help", command.ExitOK, "pagi-bridge plugin verify"},
		{"plugin", command.ExitUsage, "must be followed by verify or describe"},
		{"plugin frobnicate ./x", command.ExitUsage, `is "frobnicate"`},
		{"plugin verify", command.ExitUsage, "name the program"},
		{"plugin verify ./nothing", command.ExitUsage, "./nothing cannot be run"},
		{"plugin verify --config [] sh", command.ExitUsage, "--config: must be a JSON object"},
		{"plugin describe /bin/echo hi", command.ExitFailure, `prints "hi"`},
		{"plugin verify /bin/echo hi", command.ExitFailure, "✗ it greets and describes itself"},
		{"plugin describe --protocol wire /bin/echo", command.ExitFailure, "describes nothing"},
	} {
		var out bytes.Buffer
		code := command.Run(context.Background(), strings.Fields(c.args), command.Process{Stdout: &out, Stderr: &out})
		if code != c.code || !strings.Contains(out.String(), c.want) {
			t.Errorf("%s: %d, %s\nwant %d, %s", c.args, code, out.String(), c.code, c.want)
		}
	}
}
