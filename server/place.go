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

// Place is where to listen and how.
type Place struct {
	// Address is "host:port" or ":port", "unix:" and the path of a Unix socket, "fd:"
	// and the number of a descriptor this process was started with, or "systemd:" and
	// the name of sockets that systemd has opened; "systemd" stands for all of them.
	Address string
	// TLS and Plain say whether the place speaks TLS. Without either one it does where
	// there is a certificate and the place is not a Unix socket.
	TLS, Plain bool
	// Redirect sends every request to https, and speaks no TLS itself. RedirectPort is
	// the port to send it to; 0: that of the first TCP listener that speaks TLS.
	Redirect     bool
	RedirectPort int
	// Proxy expects every connection to begin with a PROXY header (version 1 or 2),
	// from a proxy that may connect.
	Proxy bool
	// Mode, Owner and Group are those of a Unix socket's file. The zero values leave
	// what the umask and the process make of it.
	Mode         fs.FileMode
	Owner, Group string
}

// ParsePlace reads a place as Server.Listen has it: an address, and after commas
// "tls", "plain", "redirect" or "redirect=443", "proxy", "mode=0660",
// "owner=www-data" and "group=www-data". An address with a slash is the path of a Unix socket.
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
		if err := p.set(option); err != nil {
			return Place{}, fmt.Errorf("%q: %w", text, err)
		}
	}
	err := p.checkAddress()
	if err == nil {
		err = p.check()
	}
	if err != nil {
		return Place{}, fmt.Errorf("%q %w", text, err)
	}
	return p, nil
}

func (p *Place) set(option string) (err error) {
	name, value, _ := strings.Cut(option, "=")
	switch {
	case option == "tls":
		p.TLS = true
	case option == "plain":
		p.Plain = true
	case option == "redirect":
		p.Redirect = true
	case name == "redirect":
		p.Redirect = true
		if p.RedirectPort, err = strconv.Atoi(value); err != nil || p.RedirectPort < 1 || p.RedirectPort > 65535 {
			err = fmt.Errorf("redirect must have a port, not %q", value)
		}
	case option == "proxy":
		p.Proxy = true
	case name == "mode":
		p.Mode, err = ParseMode(value)
	case name == "owner" && value != "":
		p.Owner = value
	case name == "group" && value != "":
		p.Group = value
	default:
		err = fmt.Errorf("%q is none of tls, plain, redirect, proxy, mode=, owner= and group=", option)
	}
	return err
}

// ParseMode reads the permissions of a file, in octal.
func ParseMode(text string) (fs.FileMode, error) {
	mode, err := strconv.ParseUint(strings.TrimPrefix(text, "0o"), 8, 32)
	if err != nil || mode > 0o777 {
		return 0, fmt.Errorf("must be an octal mode like 0660, is %q", text)
	}
	return fs.FileMode(mode), nil
}

// checkAddress makes one form of each kind of address.
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

// network is what net.Listen is asked for: a literal address of one family is not to
// stand for the other one, too.
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
