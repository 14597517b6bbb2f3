package natspubsub

import (
	"net/url"
	"strings"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// checkURL reports addresses that cannot be some. The error does not show them: they may have a
// password.
func checkURL(text string) error {
	for i, part := range strings.Split(text, ",") {
		u, err := url.Parse(strings.TrimSpace(part))
		switch {
		case err != nil:
			return pagi.BadOption("url", "address %d is no URL", i+1)
		case u.Scheme != "nats" && u.Scheme != "tls":
			return pagi.BadOption("url", "address %d must begin with nats:// or tls://", i+1)
		case u.Hostname() == "":
			return pagi.BadOption("url", "address %d has no host", i+1)
		case u.Path != "" || u.RawQuery != "" || u.Fragment != "":
			return pagi.BadOption("url", "address %d must end with the port", i+1)
		}
	}
	return nil
}
