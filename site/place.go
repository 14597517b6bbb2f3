package site

import (
	"errors"

	"github.com/goccy/go-yaml/ast"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/server"
)

// place is an address to listen at, with its text in the site file.
type place struct {
	server.Place
	spec string
}

// places parses the addresses to listen at. It leaves out those that cannot be parsed, and returns
// an error for each.
func (s *Settings) places() (all []place, errs []error) {
	for _, spec := range s.Listen {
		p, err := server.ParsePlace(spec)
		if err != nil {
			errs = append(errs, pagi.BadOption("listen", "%w", err))
			continue
		}
		all = append(all, place{p, spec})
	}
	return all, errs
}

// place decodes a place to listen at that is written as a mapping,
// {address: ":443", tls: true}, and returns it as text.
// The path of a Unix socket is resolved, as resolvePlace does.
func (d *decoder) place(n ast.Node) string {
	pairs, _ := d.mapping(n)
	p := server.Place{}
	given := map[string]string{}
	for _, option := range pairs {
		value, isScalar := d.scalar(option.value)
		at := d.at(d.plain(option.value))
		switch {
		case !isScalar:
			d.problems.add(at, "listen: %s: must be text, a number, true or false, is %s", option.key, d.describe(d.plain(option.value)))
		case option.key == "address":
			p.Address = value
		default:
			given[option.key] = value
			err := p.Set(option.key, value)
			if errors.Is(err, server.ErrNoPlaceOption) {
				at = option.at
			}
			if err != nil {
				d.problems.add(at, "listen: %w", err)
			}
		}
	}
	if p.Address == "" {
		d.problems.add(d.at(n), `listen: has no address; write a place as {address: ":443", tls: true}`)
		return ""
	}
	if given["tls"] == "false" { // also where there is a certificate
		if given["plain"] == "false" {
			d.problems.add(d.at(n), "listen: %q must be tls or plain; one of them is true", p.Address)
			return ""
		}
		p.Plain = true
	}
	if err := p.Check(); err != nil {
		d.problems.add(d.at(n), "listen: %q %w", p.Address, err)
		return ""
	}
	return d.resolvePlace(p.String())
}
