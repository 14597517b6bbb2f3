package fakeworker

import (
	"bufio"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/wire"
)

// exiting says EXITING to the gateway, and to the keeper where that is another one.
func (f *fake) exiting(reason string) {
	f.put(wire.Exiting, 0, 0, []byte(reason))
	if f.keeper != f.conn {
		_, _ = f.keeper.Write(wire.AppendFrame(nil, wire.Exiting, 0, 0, []byte(reason))) // it may have gone
	}
}

// listen serves gateways that dial, one after another. The mode is the fault of a worker that lies.
func (f *fake) listen(config map[string]string, mode string) error {
	mask := syscall.Umask(0o177)
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: config["listen"], Net: "unix"})
	syscall.Umask(mask)
	if err != nil {
		return err
	}
	f.put(wire.Ready, 0, 0, nil)
	gone := make(chan bool) // whether the keeper has said DRAIN
	fromKeeper := f.frames
	go func() {
		frame, err := wire.ReadFrame(fromKeeper, nil)
		gone <- err == nil && frame.Type == wire.Drain
	}()
	conns := make(chan net.Conn)
	next := make(chan struct{}, 1)
	next <- struct{}{}
	go func() {
		for range next {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conns <- conn
		}
	}()
	if mode == "never accepts" {
		next = nil
		conns = nil
	}
	for {
		select {
		case told := <-gone:
			if told && f.linger {
				time.Sleep(time.Hour)
			}
			os.Exit(0)
		case conn := <-conns:
			if f.greet(conn, config["token"], mode) {
				_ = f.serve() // until the gateway has gone
			}
			_ = conn.Close() // the gateway has gone anyway
			next <- struct{}{}
		}
	}
}

// greet answers the HELLO of a gateway.
func (f *fake) greet(conn net.Conn, token, mode string) bool {
	*f = fake{conn: conn, keeper: f.keeper, frames: bufio.NewReader(conn), version: f.version, linger: f.linger, hears: true}
	switch mode {
	case "accepts and is silent":
		time.Sleep(time.Hour)
	case "speaks garbage":
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\nhello")
		time.Sleep(time.Hour)
	case "refuses":
		f.put(wire.Refused, 0, 0, []byte("not you"))
		time.Sleep(time.Hour)
	case "welcomes and is silent":
		f.put(wire.Welcome, 0, 0, wire.AppendWelcome(nil, wire.WelcomePayload{Version: wire.Version})[10:])
		time.Sleep(time.Hour)
	}
	frame, err := wire.ReadFrame(f.frames, nil)
	if err != nil || frame.Type != wire.Hello {
		return false
	}
	hello, err := wire.DecodeHello(frame.Payload)
	if err != nil || hello.Token != token {
		f.put(wire.Refused, 0, 0, []byte("the token is another one"))
		return false
	}
	terms, err := wire.Agree(wire.Offer{Features: wire.FeatureRequests | wire.FeaturePaths | wire.FeatureCounts}, wire.FeatureRequests, hello)
	if err != nil {
		f.put(wire.Refused, 0, 0, []byte(err.Error()))
		return false
	}
	_, err = conn.Write(wire.AppendFrame(wire.AppendWelcome(nil, terms.Welcome(os.Getpid())), wire.Ready, 0, 0, nil))
	return err == nil
}
