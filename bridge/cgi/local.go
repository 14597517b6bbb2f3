//go:build unix

package cgi

import (
	"context"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// FollowRedirect answers a local redirect to location (RFC 3875 section 6.2.2) by site, for a script that another process
// has run. scope, receive and send are those of the request that the script has answered.
func FollowRedirect(ctx context.Context, site pagi.App, scope *pagi.Scope, location string, receive pagi.Receive, send pagi.Send) error {
	a := &app{CGI: CGI{Redirect: site}}
	return a.redirect(ctx, scope, location, receive, send)
}
