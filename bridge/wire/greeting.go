package wire

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// Versions is a range of versions of the protocol.
type Versions struct{ Least, Most uint16 }

// Supported are the versions that this package speaks.
var Supported = Versions{Least: Version, Most: Version}

// common returns the highest version that both ranges have.
func (v Versions) common(other Versions) (version uint16, ok bool) {
	version = min(v.Most, other.Most)
	return version, version >= max(v.Least, other.Least)
}

func (v Versions) String() string {
	if v.Least == v.Most || v.Least == 0 { // up to version 2 a HELLO had one number of four bytes
		return fmt.Sprintf("version %d", v.Most)
	}
	return fmt.Sprintf("versions %d to %d", v.Least, v.Most)
}

// Features is a set of features.
type Features uint32

// The features of PROTOCOL.md, section 3.
const (
	// FeatureRequests: requests, one answer at a time.
	FeatureRequests Features = 1 << iota
	// FeatureScopes: scopes and events, many streams at once.
	FeatureScopes
	// FeatureFork: a zygote that forks workers.
	FeatureFork
	// FeaturePaths: files by their paths.
	FeaturePaths
	// FeatureDescriptors: files as descriptors.
	FeatureDescriptors
	// FeaturePing: PING is answered.
	FeaturePing
	// FeatureCalls: CALL and REPLY.
	FeatureCalls
	// FeatureCounts: COUNT.
	FeatureCounts
)

var featureNames = [...]string{"requests", "scopes", "fork", "paths", "descriptors", "ping", "calls", "counts"}

// Has reports whether all features of want are in the set.
func (f Features) Has(want Features) bool { return f&want == want }

// String returns the names of the features, separated by spaces, as HELLO has them.
func (f Features) String() string {
	var names []string
	for i, name := range featureNames {
		if f&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, " ")
}

// parseFeatures ignores names that it does not know.
func parseFeatures(text string) (f Features) {
	for name := range strings.FieldsSeq(text) {
		if i := slices.Index(featureNames[:], name); i >= 0 {
			f |= 1 << i
		}
	}
	return f
}

// Defaults and limits of an Offer.
const (
	DefaultStreams = 1000
	DefaultWindow  = 64 << 10
	MinWindow      = 16 << 10
	MaxWindow      = 16 << 20
	DefaultMessage = 16 << 20
	maxStreams     = 1 << 20
	maxMessage     = 1 << 30
)

// Offer is what one side of a connection says of itself in HELLO or WELCOME. The zero value of a
// number stands for its default.
type Offer struct {
	Features Features
	// Streams is how many streams a worker takes at once; DefaultStreams by default.
	Streams int
	// Window is how many bytes of EVENT frames the side takes on each stream before it grants more;
	// DefaultWindow by default, MinWindow to MaxWindow.
	Window int
	// Message is the size of the largest event that the side takes, in bytes; DefaultMessage by
	// default.
	Message int
	// Role is RoleZygote for a zygote, else "".
	Role string
	// Shared is the address at which a worker reaches what the processes of a site share; see internal/shared. Only a gateway
	// says it.
	Shared string
	// Runtime and RuntimeVersion describe a worker for people: "perl", "5.36.0".
	Runtime, RuntimeVersion string
}

// WithDefaults returns the offer with its defaults in place of zeros.
func (o Offer) WithDefaults() Offer {
	for value, def := range map[*int]int{&o.Streams: DefaultStreams, &o.Window: DefaultWindow, &o.Message: DefaultMessage} {
		if *value == 0 {
			*value = def
		}
	}
	return o
}

func (o Offer) pairs() []string {
	list := []string{"features", o.Features.String()}
	for _, number := range []struct {
		name  string
		value int
	}{{"streams", o.Streams}, {"window", o.Window}, {"message", o.Message}} {
		if number.value != 0 {
			list = append(list, number.name, strconv.Itoa(number.value))
		}
	}
	for _, text := range [][2]string{{"role", o.Role}, {"shared", o.Shared}, {"runtime", o.Runtime}, {"version", o.RuntimeVersion}} {
		if text[1] != "" {
			list = append(list, text[0], text[1])
		}
	}
	return list
}

// offerOf reads the pairs of a greeting.
func offerOf(info pagi.Headers) (Offer, error) {
	o := Offer{
		Features: parseFeatures(info.Get("features")), Role: info.Get("role"), Shared: info.Get("shared"),
		Runtime: info.Get("runtime"), RuntimeVersion: info.Get("version"),
	}
	var err error
	number := func(name string, least, most int) int {
		text, given := info.Lookup(name)
		if !given {
			return 0
		}
		n, wrong := strconv.Atoi(text)
		if wrong != nil || n < least || n > most {
			err = fmt.Errorf("%w: %s must be %d to %d, is %q", ErrMalformed, name, least, most, text)
		}
		return n
	}
	o.Streams = number("streams", 1, maxStreams)
	o.Window = number("window", MinWindow, MaxWindow)
	o.Message = number("message", 1, maxMessage)
	return o.WithDefaults(), err
}

// HelloPayload is the content of a HELLO frame. The Offer of a decoded one has its defaults filled
// in.
type HelloPayload struct {
	Versions Versions
	PID      uint32
	Token    string
	Offer    Offer
}

// AppendHello appends a HELLO frame.
func AppendHello(b []byte, h HelloPayload) []byte {
	payload := binary.BigEndian.AppendUint16(nil, h.Versions.Least)
	payload = binary.BigEndian.AppendUint16(payload, h.Versions.Most)
	payload = binary.BigEndian.AppendUint32(payload, h.PID)
	payload = appendString(payload, h.Token)
	return AppendFrame(b, Hello, 0, 0, AppendPairs(payload, h.Offer.pairs()...))
}

// DecodeHello decodes a HELLO frame.
func DecodeHello(p []byte) (HelloPayload, error) {
	d := decoder{p: p}
	h := HelloPayload{Versions: Versions{d.uint16(), d.uint16()}, PID: d.uint32()}
	h.Token = string(d.take(int(d.uint32())))
	info := d.headers()
	if err := d.err(Hello); err != nil {
		return h, err
	}
	var err error
	h.Offer, err = offerOf(info)
	return h, err
}

// WelcomePayload is the content of a WELCOME frame. The features of its Offer are those in use.
type WelcomePayload struct {
	Version uint16
	PID     uint32
	Offer   Offer
}

// AppendWelcome appends a WELCOME frame.
func AppendWelcome(b []byte, w WelcomePayload) []byte {
	payload := binary.BigEndian.AppendUint16(nil, w.Version)
	payload = binary.BigEndian.AppendUint32(payload, w.PID)
	return AppendFrame(b, Welcome, 0, 0, AppendPairs(payload, w.Offer.pairs()...))
}

// DecodeWelcome decodes a WELCOME frame.
func DecodeWelcome(p []byte) (WelcomePayload, error) {
	d := decoder{p: p}
	w := WelcomePayload{Version: d.uint16(), PID: d.uint32()}
	info := d.headers()
	if err := d.err(Welcome); err != nil {
		return w, err
	}
	var err error
	w.Offer, err = offerOf(info)
	return w, err
}

// Terms are what the two sides of a connection have agreed on.
type Terms struct {
	Version  uint16
	Features Features
	// Own is what this side has offered, Peer what the other side has.
	Own, Peer Offer
}

// Agree returns the terms for a HELLO, seen from the side that was dialled. The features in use
// are those of both sides; need are those that must be among them. The text of the error is that
// of a REFUSED frame.
func Agree(own Offer, need Features, h HelloPayload) (Terms, error) {
	own = own.WithDefaults()
	version, ok := Supported.common(h.Versions)
	if !ok {
		return Terms{}, fmt.Errorf("it speaks %s of the protocol, and this side %s", h.Versions, Supported)
	}
	t := Terms{Version: version, Features: own.Features & h.Offer.Features, Own: own, Peer: h.Offer}
	if !t.Features.Has(need) {
		return Terms{}, fmt.Errorf("it has the features %q, and this side needs %q", h.Offer.Features, need)
	}
	return t, nil
}

// Welcome returns the payload that tells the other side of the terms.
func (t Terms) Welcome(pid int) WelcomePayload {
	offer := t.Own
	offer.Features = t.Features
	return WelcomePayload{Version: t.Version, PID: uint32(pid), Offer: offer}
}

// Accept returns the terms for a WELCOME, seen from the side that has dialled with the offer own.
// The other side may not choose a version or a feature that was not offered.
func Accept(own Offer, w WelcomePayload) (Terms, error) {
	own = own.WithDefaults()
	if w.Version < Supported.Least || w.Version > Supported.Most {
		return Terms{}, fmt.Errorf("%w: WELCOME with version %d, and this side speaks %s", ErrMalformed, w.Version, Supported)
	}
	if !own.Features.Has(w.Offer.Features) {
		return Terms{}, fmt.Errorf("%w: WELCOME with the features %q, of %q", ErrMalformed, w.Offer.Features, own.Features)
	}
	return Terms{Version: w.Version, Features: w.Offer.Features, Own: own, Peer: w.Offer}, nil
}
