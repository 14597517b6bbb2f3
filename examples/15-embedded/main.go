// Command 15-embedded is a program with work of its own that also has a server.
package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"os"
	"time"

	"github.com/pagi-go/pagi-bridge/examples/15-embedded/host"
	"github.com/pagi-go/pagi-bridge/server"
)

func main() {
	ctx, stop := server.SignalContext(context.Background())
	defer stop()
	program := host.Program{Interval: 2 * time.Second}
	program.Server.Ready = func(addrs []net.Addr) error {
		_, err := fmt.Fprintln(os.Stderr, "Serving at", server.URL("http", addrs[0]))
		return err
	}
	if err := program.Run(ctx); err != nil {
		log.Fatal(err)
	}
}
