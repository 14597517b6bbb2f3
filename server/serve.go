package server

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strings"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// Serve serves app until the process gets SIGTERM or SIGINT, as SignalContext describes, and returns
// nil then. It is the short form of a Server that needs no option but where it listens: addresses in
// the form that ParsePlace reads; none means 127.0.0.1:5000. Once the application is ready, Serve
// writes each address to the standard error: "Serving at http://127.0.0.1:5000/". Its errors are those
// of Server.Run.
func Serve(app pagi.App, listen ...string) error {
	ctx, stop := SignalContext(context.Background())
	defer stop()
	return serve(ctx, os.Stderr, app, listen)
}

func serve(ctx context.Context, w io.Writer, app pagi.App, listen []string) error {
	srv := Server{App: app, Listen: listen}
	srv.Ready = func(addrs []net.Addr) error {
		for _, a := range addrs {
			fmt.Fprintln(w, "Serving at", URL("http", a))
		}
		return nil
	}
	return srv.Run(ctx)
}

// URL returns the URL at which a browser finds a server that listens at a, as Ready gets it. scheme is
// "http" or "https". An address that stands for all addresses of the machine is shown as localhost, a
// Unix socket as "unix:" and its path.
func URL(scheme string, a net.Addr) string {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return "unix:" + strings.TrimPrefix(a.String(), "unix:")
	}
	host := tcp.IP.String()
	if tcp.IP.IsUnspecified() || tcp.IP == nil {
		host = "localhost"
	}
	return fmt.Sprintf("%s://%s/", scheme, net.JoinHostPort(host, fmt.Sprint(tcp.Port)))
}
