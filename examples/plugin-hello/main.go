// Command plugin-hello is a plugin in Go. A site file mounts it by
//
//	plugin: {command: [./plugin-hello], config: {greeting: Moin}}
package main

import (
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/endpoint"
	"github.com/pagi-go/pagi-bridge/pagi/response"
	"github.com/pagi-go/pagi-bridge/plugin"
)

type config struct {
	Greeting string `yaml:"greeting" default:"Hello" help:"what it says"`
}

func main() {
	plugin.App[config]{Name: "hello", Version: "1.0", New: func(c *config) (pagi.App, error) {
		return endpoint.Func(func(*endpoint.Context) (*response.Response, error) {
			return response.Text(c.Greeting + ", world\n"), nil
		}), nil
	}}.Serve()
}
