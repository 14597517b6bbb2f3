package ws

import (
	"strconv"
	"strings"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// extension holds the agreed parameters of permessage-deflate (RFC 7692 section 7.1).
type extension struct {
	serverNoTakeover, clientNoTakeover bool
	serverBits                         int // the window for messages of the server; 15 by default
	bitsAsked                          bool
	minSize                            int // of the messages that the server compresses
}

// negotiate returns the extension for the client's first acceptable offer, or nil without one.
func negotiate(headers pagi.Headers) *extension {
	for value := range headers.Values("sec-websocket-extensions") {
		for offer := range strings.SplitSeq(value, ",") {
			if x := readOffer(offer); x != nil {
				return x
			}
		}
	}
	return nil
}

// readOffer returns nil for an offer that is malformed or of another extension.
func readOffer(offer string) *extension {
	name, rest, more := strings.Cut(offer, ";")
	if !pagi.EqualFold(strings.TrimSpace(name), "permessage-deflate") {
		return nil
	}
	x := &extension{serverBits: 15}
	seen := map[string]bool{}
	for more {
		var parameter string
		parameter, rest, more = strings.Cut(rest, ";")
		key, value, given := strings.Cut(parameter, "=")
		key = strings.TrimSpace(key)
		if seen[key] || !x.set(key, strings.Trim(strings.TrimSpace(value), `"`), given) {
			return nil
		}
		seen[key] = true
	}
	return x
}

// set sets a parameter and reports whether it is valid.
func (x *extension) set(key, value string, given bool) bool {
	switch key {
	case "server_no_context_takeover":
		x.serverNoTakeover = true
		return !given
	case "client_no_context_takeover":
		x.clientNoTakeover = true
		return !given
	case "server_max_window_bits":
		bits, ok := windowBits(value)
		x.serverBits, x.bitsAsked = bits, true
		return ok
	case "client_max_window_bits": // the inflater reads any window
		_, ok := windowBits(value)
		return ok || !given
	}
	return false
}

// windowBits reads 8 to 15, without zeros in front.
func windowBits(value string) (int, bool) {
	n, err := strconv.Atoi(value)
	return n, err == nil && n >= 8 && n <= 15 && value == strconv.Itoa(n)
}

// String returns the extension as the response to the handshake names it.
func (x *extension) String() string {
	s := "permessage-deflate"
	if x.serverNoTakeover {
		s += "; server_no_context_takeover"
	}
	if x.clientNoTakeover {
		s += "; client_no_context_takeover"
	}
	if x.bitsAsked {
		s += "; server_max_window_bits=" + strconv.Itoa(x.serverBits)
	}
	return s
}
