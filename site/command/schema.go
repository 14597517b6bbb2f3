package command

import (
	"context"
	"fmt"

	"github.com/pagi-go/pagi-bridge/site/schema"
)

// schemaCommand is the command "pagi-bridge schema".
func schemaCommand() *command {
	c := newCommand("schema", "", "Print a JSON Schema of site files, for editors.")
	c.usage = []string{"pagi-bridge schema > site.schema.json"}
	c.notes = `The first line of a site file names the schema to an editor with a YAML language server:
  # yaml-language-server: $schema=site.schema.json`
	c.run = func(_ context.Context, p Process) int {
		if c.flags.NArg() > 0 {
			return complain(p, ExitUsage, fmt.Errorf("unexpected argument %q", c.flags.Arg(0)))
		}
		text, err := schema.JSON()
		if err != nil {
			return complain(p, ExitFailure, err)
		}
		return say(p, string(text))
	}
	return c
}
