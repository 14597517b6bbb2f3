package server

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
)

func TestParsePlace(t *testing.T) {
	for text, want := range map[string]Place{
		":80":                           {Address: ":80"},
		"[::1]:80,tls":                  {Address: "[::1]:80", TLS: true},
		"host:0,plain,proxy":            {Address: "host:0", Plain: true, Proxy: true},
		":80,redirect":                  {Address: ":80", Redirect: true},
		":80,redirect=8443":             {Address: ":80", Redirect: true, RedirectPort: 8443},
		"./s,mode=0660,owner=0,group=0": {Address: "unix:./s", Mode: 0o660, Owner: "0", Group: "0"},
		"unix:s":                        {Address: "unix:s"},
		"systemd":                       {Address: "systemd"},
		"systemd:web,tls":               {Address: "systemd:web", TLS: true},
		"fd:3":                          {Address: "fd:3"},
	} {
		got, err := ParsePlace(text)
		if err != nil || !cmp.Equal(got, want) {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		"nowhere":                 "must be host:port",
		"unix:":                   "lacks the path",
		"::1:80":                  "brackets",
		"host:99999":              "0 to 65535",
		"fd:2":                    "3 or more",
		":80,":                    `"" is none of tls`,
		":80,ssl":                 `"ssl" is none of tls`,
		":80,tls,plain":           "cannot be tls and plain",
		":80,tls,redirect":        "cannot be tls and plain or redirect",
		":80,redirect=x":          "must have a port",
		":80,mode=0660":           "is no Unix socket",
		"./s,mode=9":              "octal mode",
		"./s,owner=":              `"owner=" is none of`,
		"./s,owner=no-such-user":  "names an owner there is not",
		"./s,group=no-such-group": "names a group there is not",
	} {
		if _, err := ParsePlace(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q in it", text, err, want)
		}
	}
}

// An address of one family does not stand for the other.
func TestFamilies(t *testing.T) {
	x := launch(t, &Server{App: echo, Listen: []string{"0.0.0.0:0"}})
	_, port, err := net.SplitHostPort(x.addr)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := net.Dial("tcp", "[::1]:"+port); err == nil {
		c.Close()
		t.Error("0.0.0.0 is listened at for IPv6, too")
	}
	launch(t, &Server{App: echo, Listen: []string{"[::]:" + port}})
	for _, host := range []string{"127.0.0.1", "[::1]"} {
		c := testkit.Dial(t, host+":"+port)
		c.Say(ask)
		c.Response("GET")
	}
}

func TestUnixSocketOfAnotherOwner(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can give files away")
	}
	path := filepath.Join(t.TempDir(), "s")
	launch(t, &Server{App: echo, SocketMode: 0o600, Listen: []string{path + ",owner=65534,group=65533,mode=0640", path + "2"}})
	var got [2]syscall.Stat_t
	for i, name := range []string{path, path + "2"} {
		if err := syscall.Stat(name, &got[i]); err != nil {
			t.Fatal(err)
		}
	}
	if got[0].Uid != 65534 || got[0].Gid != 65533 || got[0].Mode&0o777 != 0o640 || got[1].Uid != 0 || got[1].Mode&0o777 != 0o600 {
		t.Errorf("%+v", got)
	}
}

func TestBacklog(t *testing.T) {
	r := &running{first: &Server{Backlog: 1, Listen: []string{"127.0.0.1:0"}}, log: slog.New(slog.DiscardHandler)}
	set, err := r.listen()
	if err != nil {
		t.Fatal(err)
	}
	defer set.close()
	for n := range 10 { // the queue of established ones, that of others, and one more
		c, err := net.DialTimeout("tcp", set[0].Addr().String(), 100*time.Millisecond)
		if err != nil {
			return
		}
		defer c.Close()
		if n == 9 {
			t.Error("the queue has no end")
		}
	}
}

// version2 is a PROXY header of version 2 for a TCP connection over IPv4.
func version2(command byte) string {
	header := []byte(signature2)
	header = append(header, 0x20|command, 0x11, 0, 12, 192, 0, 2, 7, 198, 51, 100, 9)
	header = binary.BigEndian.AppendUint16(header, 4321)
	return string(binary.BigEndian.AppendUint16(header, 443))
}

func TestProxyProtocol(t *testing.T) {
	who := httpOnly(func(ctx context.Context, s *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		return reply(ctx, send, fmt.Sprint(s.Client, s.Server.Port))
	})
	s := &Server{App: who, Listen: []string{"127.0.0.1:0,proxy", filepath.Join(t.TempDir(), "s") + ",proxy"},
		ProxyProtocolFrom: []string{"127.0.0.0/8"}, Timeouts: Timeouts{HeaderTimeout: 200 * time.Millisecond}, AccessLogFormat: "%h"}
	x := launch(t, s)
	for header, want := range map[string]string{
		"PROXY TCP4 192.0.2.1 198.51.100.1 1234 80\r\n":  "{192.0.2.1 1234}80",
		"PROXY TCP6 2001:db8::1 2001:db8::2 99 8080\r\n": "{2001:db8::1 99}8080",
		"PROXY TCP6 192.0.2.9 2001:db8::2 99 8080\r\n":   "{192.0.2.9 99}8080",
		"PROXY TCP6 ::ffff:192.0.2.9 ::1 99 8080\r\n":    "{192.0.2.9 99}8080",
		version2(1): "{192.0.2.7 4321}443",
	} {
		for _, place := range s.run.Load().listeners.addrs() {
			c := testkit.Dial(t, place.String())
			c.Say(header + ask)
			if _, body := c.Response("GET"); body != strings.Replace(want, "}", "} ", 1) {
				t.Errorf("%q at %s: %q, want %q", header, place, body, want)
			}
		}
	}
	for _, header := range []string{"PROXY UNKNOWN\r\n", version2(0)} {
		c := x.dial()
		c.Say(header + ask)
		if _, body := c.Response("GET"); !strings.HasPrefix(body, "{127.0.0.1 ") {
			t.Errorf("%q: %q", header, body)
		}
	}
	for _, header := range []string{
		ask, "PROXY TCP4 nonsense\r\n", "PROXY TCP4 192.0.2.1 198.51.100.1 1234", "PROXY " + strings.Repeat("x", 200), "PRO",
		signature2 + "\x21\x11\xff\xff", signature2 + "\x31\x11\x00\x0c............", version2(1)[:20],
	} {
		c := x.dial()
		c.Say(header)
		c.Cut()
	}
	x.log.WaitFor(t, "level=WARN", "does not begin with a PROXY header", "peer=127.0.0.1")
	x.log.WaitFor(t, "level=WARN", "PROXY header of a proxy is malformed", "peer=127.0.0.1")
	x.stop()
	if text := x.log.String(); strings.Contains(text, "not from a proxy that may connect") {
		t.Errorf("a proxy that may connect is called one that may not:\n%s", text)
	}
	if access := x.access.String(); !strings.Contains(access, "192.0.2.7\n") || !strings.Contains(access, "2001:db8::1\n") {
		t.Errorf("access log %q", access)
	}

	stranger := launch(t, &Server{App: who, Listen: []string{"127.0.0.1:0,proxy"}, ProxyProtocolFrom: []string{"10.0.0.0/8", "::1"}})
	c := stranger.dial()
	c.Say("PROXY TCP4 192.0.2.1 198.51.100.1 1234 80\r\n" + ask)
	c.Cut()
	stranger.log.WaitFor(t, "level=WARN", "not from a proxy that may connect", "peer=127.0.0.1")
	for want, s := range map[string]*Server{
		"no proxy may connect": {Listen: []string{"127.0.0.1:0,proxy"}},
		"neither an IP":        {ProxyProtocolFrom: []string{"10.0.0.0/99"}},
	} {
		s.App = echo
		if err := s.Run(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q in it", err, want)
		}
	}
}

func TestProxyProtocolBeforeTLS(t *testing.T) {
	pair := testkit.Certificate(t)
	x := launch(t, &Server{App: echo, TLSCert: pair.CertFile, TLSKey: pair.KeyFile, Listen: []string{"127.0.0.1:0,proxy"}, ProxyProtocolFrom: []string{"127.0.0.1"}, AccessLogFormat: "%h"})
	client := https(t, pair.Pool, true)
	transport(client).DialContext = func(_ context.Context, network, addr string) (net.Conn, error) {
		c, err := net.Dial(network, addr)
		if err == nil {
			_, err = c.Write([]byte(version2(1)))
		}
		return c, err
	}
	if res, body := testkit.Get(t, client, "https://"+x.addr+"/y"); res.ProtoMajor != 2 || body != "/y " {
		t.Errorf("%s %q", res.Proto, body)
	}
	x.stop()
	if access := x.access.String(); access != "192.0.2.7\n" {
		t.Errorf("access log %q", access)
	}
}

func TestConnectionsPerAddress(t *testing.T) {
	x := launch(t, &Server{App: echo, Limits: Limits{MaxConnectionsPerAddress: 2}, AccessLogFormat: "%h %s %b %r"})
	first := x.dial()
	for range 1 {
		x.dial()
	}
	testkit.Eventually(t, "two connections", func() bool { return x.connections() == 2 })
	c := x.dial()
	if res, _ := c.Response("GET"); res.StatusCode != 503 {
		t.Errorf("the third: %d", res.StatusCode)
	}
	other, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}).Dial("tcp", x.addr)
	if err != nil {
		t.Fatal(err)
	}
	another := testkit.NewConn(t, other)
	another.Say(ask)
	another.Response("GET")
	first.Close()
	testkit.Eventually(t, "room for another one", func() bool {
		c := x.dial()
		defer c.Close()
		c.Say(ask)
		res, _ := c.Response("GET")
		return res.StatusCode == 200
	})
	x.log.WaitFor(t, "level=WARN", "too many connections from one address", "--max-connections-per-address", "limit=2")
	x.stop()
	if access := x.access.String(); !strings.Contains(access, "127.0.0.1 503 20 -\n") {
		t.Errorf("access log %q", access)
	}
}

func TestAddressKey(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "::ffff:192.0.2.1": "192.0.2.1", "2001:db8::1": "2001:db8::/64", "2001:db8::ffff:1": "2001:db8::/64",
		"2001:db8:0:1::1": "2001:db8:0:1::/64", "fe80::1%lo": "fe80::/64",
	} {
		ip, err := net.ResolveIPAddr("ip", addr)
		if err != nil {
			t.Fatal(err)
		}
		if got := addressKey(&net.TCPAddr{IP: ip.IP, Zone: ip.Zone, Port: 1}); got != want {
			t.Errorf("%s: %q", addr, got)
		}
	}
	if got := addressKey(&net.UnixAddr{Name: "@"}); got != "" {
		t.Errorf("a Unix socket: %q", got)
	}
}

func TestRequestsPerConnection(t *testing.T) {
	x := launch(t, &Server{App: echo, Limits: Limits{MaxRequestsPerConnection: 3}})
	c := x.dial()
	c.Say(ask + ask + ask + ask)
	for i := range 3 {
		if res, _ := c.Response("GET"); res.Close != (i == 2) {
			t.Errorf("response %d: close %v", i, res.Close)
		}
	}
	c.Cut()
}
