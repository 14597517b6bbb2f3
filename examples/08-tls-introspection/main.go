// Command 08-tls-introspection tells what it knows of the TLS connection. With the flags -cert and -key it
// speaks TLS; see README.md.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"os"

	"github.com/pagi-go/pagi-bridge/examples/08-tls-introspection/tlsinfo"
	"github.com/pagi-go/pagi-bridge/server"
)

func main() {
	s := &server.Server{App: tlsinfo.New()}
	flag.StringVar(&s.TLSCert, "cert", "", "the certificate, a PEM `file`")
	flag.StringVar(&s.TLSKey, "key", "", "the key of the certificate, a PEM `file`")
	flag.Parse()
	scheme := "http"
	if s.TLSCert != "" {
		scheme = "https"
	}
	s.Ready = func(addrs []net.Addr) error {
		_, err := fmt.Fprintln(os.Stderr, "Serving at", server.URL(scheme, addrs[0]))
		return err
	}
	ctx, stop := server.SignalContext(context.Background())
	defer stop()
	if err := s.Run(ctx); err != nil {
		log.Fatal(err)
	}
}
