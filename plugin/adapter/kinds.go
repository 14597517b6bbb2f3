package adapter

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/pagi-go/pagi-bridge/apps"
	"github.com/pagi-go/pagi-bridge/bridge/cgi"
	"github.com/pagi-go/pagi-bridge/bridge/lease"
	"github.com/pagi-go/pagi-bridge/bridge/perlpagi"
	"github.com/pagi-go/pagi-bridge/bridge/psgi"
	"github.com/pagi-go/pagi-bridge/plugin/internal/control"
)

// request is what a gateway asks for, with what the adapter adds.
type request struct {
	name     string
	options  []byte // JSON
	dir      string // for sockets
	gateway  int    // its user
	aloneFor time.Duration
	alone    func() // called when there is no gateway for aloneFor; it does not wait
	log      *slog.Logger
}

// kinds are the kinds of mounts that an adapter keeps.
var kinds = map[string]func(request) (keeper, error){
	"psgi": func(r request) (keeper, error) {
		var o psgi.PSGI
		if err := r.decode(&o); err != nil {
			return nil, err
		}
		o.Logger = r.log
		return o.Keeper(r.keeping())
	},
	"cgi": func(r request) (keeper, error) {
		var o cgi.CGI
		if err := r.decode(&o); err != nil {
			return nil, err
		}
		return newCGI(o, r)
	},
	"perlpagi": func(r request) (keeper, error) {
		var o perlpagi.PAGI
		if err := r.decode(&o); err != nil {
			return nil, err
		}
		o.Logger = r.log
		return o.Keeper(r.keeping())
	},
}

// keeping are the options of a keeper of worker processes.
func (r request) keeping() lease.KeeperOptions {
	o := lease.KeeperOptions{Alone: r.alone, AloneFor: r.aloneFor}
	o.User = r.gateway
	return o
}

func (r request) decode(options any) error {
	if err := json.Unmarshal(r.options, options); err != nil {
		return fmt.Errorf("the options of %s: %w", r.name, err)
	}
	return nil
}

// newCGI keeps a CGI mount: the adapter itself runs its scripts.
func newCGI(o cgi.CGI, r request) (keeper, error) {
	k := newResident(r)
	o.Logger = k.log
	asides := control.NewAsides()
	o.Redirect = asides.Redirects()
	if o.Root != "" {
		o.Files = &apps.File{Root: o.Root, FollowSymlinks: o.FollowSymlinks, Logger: k.log}
	}
	for i := range o.Directories {
		if d := &o.Directories[i]; d.FollowSymlinks != "" {
			d.Files = &apps.File{Root: o.Root, FollowSymlinks: d.FollowSymlinks, Logger: k.log}
		}
	}
	app, err := o.Build()
	if err != nil {
		return nil, err
	}
	k.serves(app, asides)
	return k, nil
}
