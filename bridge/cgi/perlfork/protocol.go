//go:build unix

package perlfork

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// PROTOCOL.md says what the packets of this file mean.

// largestPacket is how many bytes a packet holds at most, but for the first one of a zygote.
const largestPacket = 64 << 10

// largestReport is how many bytes the first packet of a zygote holds at most: it names the variables that the compilation
// has looked at.
const largestReport = 256 << 10

// kind is the first byte of a packet from a zygote.
type kind byte

const (
	ready      kind = 'R'
	declined   kind = 'D'
	forbidden  kind = 'A'
	forked     kind = 'C'
	cannotFork kind = 'E'
)

// fromZygote is a packet from a zygote.
type fromZygote struct {
	kind  kind
	names []string // of ready: the variables that were looked at
	pid   int      // of forked
	text  string   // of the others: why
}

// decode reads a packet from a zygote. hasDescriptor says whether a descriptor came with it.
func decode(packet []byte, hasDescriptor bool) (fromZygote, error) {
	if len(packet) == 0 {
		return fromZygote{}, errors.New("an empty packet")
	}
	p := fromZygote{kind: kind(packet[0])}
	rest := packet[1:]
	if hasDescriptor != (p.kind == forked) {
		return p, fmt.Errorf("%s: with a descriptor: %v", excerpt(packet), hasDescriptor)
	}
	switch p.kind {
	case ready:
		if len(rest) > 0 && rest[len(rest)-1] != 0 {
			return p, fmt.Errorf("%s: the last name has no end", excerpt(packet))
		}
		for name := range strings.SplitSeq(string(rest), "\x00") {
			if name != "" {
				p.names = append(p.names, name)
			}
		}
	case forked:
		if len(rest) != 4 {
			return p, fmt.Errorf("%s: the number of a process has 4 bytes", excerpt(packet))
		}
		if p.pid = int(int32(binary.NativeEndian.Uint32(rest))); p.pid <= 1 {
			return p, fmt.Errorf("%s: %d is the number of no child", excerpt(packet), p.pid)
		}
	case declined, forbidden, cannotFork:
		p.text = string(rest)
	default:
		return p, fmt.Errorf("unknown packet %s", excerpt(packet))
	}
	return p, nil
}

// excerpt quotes the beginning of a packet, for the log.
func excerpt(b []byte) string {
	const most = 80
	if len(b) > most {
		return strconv.Quote(string(b[:most])) + "..."
	}
	return strconv.Quote(string(b))
}

// appendPairs appends pairs of a key and a value, as a zygote takes them.
func appendPairs(b []byte, pairs ...string) []byte {
	for _, s := range pairs {
		b = append(append(b, s...), 0)
	}
	return b
}

// What the fifth byte of a request tells a worker. A process of one request gets descriptors for STDIN, STDOUT and STDERR
// in any case.
const (
	withInput  = 1 << iota // one for STDIN comes along; else that is /dev/null
	withOutput             // those for STDOUT and STDERR do, for this and all later requests
)

// appendVariables appends in what an environment differs from the one that a child has. base holds that, "NAME=VALUE", and
// known the names in it.
func appendVariables(b []byte, env []string, base, known map[string]bool) []byte {
	present := 0
	for _, variable := range env {
		if name, _, _ := strings.Cut(variable, "="); known[name] {
			present++
		}
		if !base[variable] {
			b = append(append(b, variable...), 0)
		}
	}
	if present < len(known) {
		for name := range known {
			if lookup(env, name) == "" {
				b = append(append(b, name...), 0)
			}
		}
	}
	return b
}

// lookup returns "NAME=VALUE" of an environment, or "".
func lookup(env []string, name string) string {
	for _, variable := range env {
		if len(variable) > len(name) && variable[len(name)] == '=' && variable[:len(name)] == name {
			return variable
		}
	}
	return ""
}
