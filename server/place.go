package server

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os/user"
	"strconv"
	"strings"
)

// Place is an address to listen at, with its options.
type Place struct {
	// Address is one of: "host:port" or ":port"; "unix:" and the path of a Unix socket; "fd:" and
	// the number of a descriptor with which this process was started. It may also be "systemd:" and
	// the name of sockets that systemd has opened, or "systemd" for all of these.
	Address string
	// TLS and Plain say whether the place speaks TLS. Without either, it speaks TLS if there is a
	// certificate and it is not a Unix socket.
	TLS, Plain bool
	// Redirect sends every request to https, and speaks no TLS itself. RedirectPort is
	// the port to send it to; 0: that of the first TCP listener that speaks TLS.
	Redirect     bool
	RedirectPort int
	// Proxy requires every connection to begin with a PROXY header (version 1 or 2) from a trusted
	// proxy.
	Proxy bool
	// Mode, Owner and Group are those of a Unix socket's file. The zero values leave the file with
	// the mode of the umask and the owner of the process.
	Mode         fs.FileMode
	Owner, Group string
}

// ParsePlace reads a place in the form of Server.Listen: an address, and after commas "tls",
// "plain", "redirect" or "redirect=443", "proxy", "mode=0660", "owner=www-data" and
// "group=www-data". An address with a slash is the path of a Unix socket.
//
//	:443,tls
//	[::1]:8080,plain,proxy
//	/run/site/site.sock,mode=0660,group=www-data
func ParsePlace(text string) (Place, error) {
	address, options, more := strings.Cut(text, ",")
	p := Place{Address: address}
	for more {
		var option string
		option, options, more = strings.Cut(options, ",")
		if err := p.setWritten(option); err != nil {
			return Place{}, fmt.Errorf("%q: %w", text, err)
		}
	}
	if err := p.Check(); err != nil {
		return Place{}, fmt.Errorf("%q %w", text, err)
	}
	return p, nil
}

// Check reports an address that cannot be listened at and options that contradict one
// another. It puts "unix:" in front of a path.
func (p *Place) Check() error {
	if strings.ContainsAny(p.Address+p.Owner+p.Group, ",") {
		return errors.New("has a comma in its address, owner or group")
	}
	if err := p.checkAddress(); err != nil {
		return err
	}
	return p.check()
}

// setWritten sets an option in its written form: "tls", "redirect=443".
func (p *Place) setWritten(option string) error {
	name, value, hasValue := strings.Cut(option, "=")
	if isSwitch := IsPlaceSwitch(name); isSwitch && hasValue || !isSwitch && name != "redirect" && value == "" {
		return fmt.Errorf("%q is none of tls, plain, redirect, proxy, mode=, owner= and group=", option)
	}
	if !hasValue {
		value = "true"
	}
	if err := p.Set(name, value); !errors.Is(err, ErrNoPlaceOption) {
		return err
	}
	return fmt.Errorf("%q is none of tls, plain, redirect, proxy, mode=, owner= and group=", option)
}

// ErrNoPlaceOption is the error of Place.Set for an unknown option.
var ErrNoPlaceOption = errors.New("is no option of a place to listen at; there are tls, plain, redirect, proxy, mode, owner and group")

// PlaceOptions returns the names that Set knows.
func PlaceOptions() []string {
	return []string{"tls", "plain", "redirect", "proxy", "mode", "owner", "group"}
}

// IsPlaceSwitch reports whether an option of a place is true or false.
func IsPlaceSwitch(name string) bool { return name == "tls" || name == "plain" || name == "proxy" }

// Set sets an option by its name: "tls", "plain" and "proxy" to "true" or "false",
// "redirect" to one of them or to a port, "mode" to octal permissions, "owner" and "group"
// to a name or a number.
func (p *Place) Set(name, value string) (err error) {
	switch name {
	case "tls":
		p.TLS, err = parseSwitch(name, value)
	case "plain":
		p.Plain, err = parseSwitch(name, value)
	case "proxy":
		p.Proxy, err = parseSwitch(name, value)
	case "redirect":
		p.Redirect, p.RedirectPort = value != "false", 0
		if value == "true" || value == "false" {
			return nil
		}
		if p.RedirectPort, err = strconv.Atoi(value); err != nil || p.RedirectPort < 1 || p.RedirectPort > 65535 {
			err = fmt.Errorf("redirect must have a port, or be true or false, is %q", value)
		}
	case "mode":
		if p.Mode, err = ParseMode(value); err != nil {
			err = fmt.Errorf("mode %w", err)
		}
	case "owner":
		p.Owner = value
	case "group":
		p.Group = value
	default:
		err = fmt.Errorf("%q %w", name, ErrNoPlaceOption)
	}
	return err
}

func parseSwitch(name, value string) (bool, error) {
	if value != "true" && value != "false" {
		return false, fmt.Errorf("%s must be true or false, is %q", name, value)
	}
	return value == "true", nil
}

// String returns the place in the form that ParsePlace reads.
func (p *Place) String() string {
	text := p.Address
	for _, o := range []struct {
		set  bool
		text string
	}{
		{p.TLS, "tls"}, {p.Plain, "plain"},
		{p.Redirect && p.RedirectPort == 0, "redirect"}, {p.RedirectPort > 0, "redirect=" + strconv.Itoa(p.RedirectPort)},
		{p.Proxy, "proxy"}, {p.Mode != 0, fmt.Sprintf("mode=%#o", uint32(p.Mode))},
		{p.Owner != "", "owner=" + p.Owner}, {p.Group != "", "group=" + p.Group},
	} {
		if o.set {
			text += "," + o.text
		}
	}
	return text
}

// Path returns the path of a Unix socket's file; ok is false for other addresses and for
// abstract sockets, which have no file.
func (p *Place) Path() (path string, ok bool) {
	path, ok = p.path()
	return path, ok && !strings.HasPrefix(path, "@")
}

// ParseMode reads the permissions of a file, in octal.
func ParseMode(text string) (fs.FileMode, error) {
	mode, err := strconv.ParseUint(strings.TrimPrefix(text, "0o"), 8, 32)
	if err != nil || mode > 0o777 {
		return 0, fmt.Errorf("must be an octal mode like 0660, is %q", text)
	}
	return fs.FileMode(mode), nil
}

// checkAddress brings each kind of address into one form.
func (p *Place) checkAddress() error {
	kind, rest, _ := strings.Cut(p.Address, ":")
	switch {
	case kind == "unix":
		if rest == "" {
			return errors.New("lacks the path of the Unix socket")
		}
		return nil
	case strings.Contains(p.Address, "/"):
		p.Address = "unix:" + p.Address
		return nil
	case kind == "systemd":
		return nil
	case kind == "fd":
		if n, err := strconv.ParseUint(rest, 10, 16); err != nil || n < 3 {
			return fmt.Errorf("must have the number of a descriptor, 3 or more, not %q", rest)
		}
		return nil
	}
	i := strings.LastIndexByte(p.Address, ':')
	if i < 0 {
		return errors.New("must be host:port, or the path of a Unix socket with a slash in it")
	}
	if host := p.Address[:i]; strings.Contains(host, ":") && (!strings.HasPrefix(host, "[") || !strings.HasSuffix(host, "]")) {
		return errors.New("has an IPv6 address without brackets; write it as [::1]:5000")
	}
	if port := p.Address[i+1:]; !isPort(port) {
		return fmt.Errorf("has a port that is not 0 to 65535: %q", port)
	}
	return nil
}

func isPort(text string) bool {
	_, err := strconv.ParseUint(text, 10, 16)
	return err == nil
}

// check reports options that contradict one another.
func (p *Place) check() error {
	_, isUnix := p.path()
	switch {
	case p.TLS && (p.Plain || p.Redirect):
		return errors.New("cannot be tls and plain or redirect at once")
	case !isUnix && (p.Mode != 0 || p.Owner != "" || p.Group != ""):
		return errors.New("is no Unix socket: it has no mode, owner or group")
	}
	_, _, err := p.ids()
	return err
}

// path returns the path of a Unix socket.
func (p *Place) path() (path string, ok bool) { return strings.CutPrefix(p.Address, "unix:") }

// ids are the numbers of Owner and Group; -1 where they are not given.
func (p *Place) ids() (uid, gid int, err error) {
	uid, gid = -1, -1
	if p.Owner != "" {
		if uid, err = strconv.Atoi(p.Owner); err != nil {
			u, err := user.Lookup(p.Owner)
			if err != nil {
				return 0, 0, fmt.Errorf("names an owner there is not: %w", err)
			}
			uid, _ = strconv.Atoi(u.Uid) // a number on every Unix
		}
	}
	if p.Group != "" {
		if gid, err = strconv.Atoi(p.Group); err != nil {
			g, err := user.LookupGroup(p.Group)
			if err != nil {
				return 0, 0, fmt.Errorf("names a group there is not: %w", err)
			}
			gid, _ = strconv.Atoi(g.Gid)
		}
	}
	return uid, gid, nil
}

// network returns the network for net.Listen. A literal address of one family must not also stand
// for the other one.
func (p *Place) network() string {
	host, _, err := net.SplitHostPort(p.Address)
	ip := net.ParseIP(host)
	switch {
	case err != nil || ip == nil:
		return "tcp"
	case ip.To4() != nil:
		return "tcp4"
	}
	return "tcp6"
}
