package routetree

import (
	"slices"
	"strings"
)

// Path is a decoded path that can be cut into segments.
type Path struct {
	// Text is the decoded path; it begins with a slash.
	Text string
	// Slashes are the indexes in Text of slashes that the client has sent percent-encoded, in order. Each
	// is part of its segment.
	Slashes []int
}

// NewPath returns the path of a request. decoded is the path below root, raw the whole path as the
// client sent it. Encoded slashes are found in raw if it is the encoded form of root and decoded, and
// if raw ends a segment where root ends. Otherwise a middleware has changed one of them, and raw does
// not count.
func NewPath(decoded, root, raw string) Path {
	p := Path{Text: decoded}
	if !strings.Contains(raw, "%2F") && !strings.Contains(raw, "%2f") {
		return p
	}
	var slashes []int
	at := 0 // in root and decoded together
	for i := 0; i < len(raw); i++ {
		c, encoded := raw[i], false
		if c == '%' && i+2 < len(raw) {
			if high, low := hex(raw[i+1]), hex(raw[i+2]); high >= 0 && low >= 0 {
				c, encoded = byte(high<<4|low), true
				i += 2
			}
		}
		below := at - len(root)
		switch {
		case below < 0 && root[at] != c, below >= len(decoded), below >= 0 && decoded[below] != c, below == 0 && encoded:
			return p
		case below > 0 && encoded && c == '/':
			slashes = append(slashes, below)
		}
		at++
	}
	if at == len(root)+len(decoded) {
		p.Slashes = slashes
	}
	return p
}

// hex returns the value of a hexadecimal digit, or -1.
func hex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// Encoded reports whether there is an encoded slash at an index.
func (p *Path) Encoded(i int) bool {
	if p.Slashes == nil {
		return false
	}
	_, found := slices.BinarySearch(p.Slashes, i) // there may be thousands
	return found
}

// end returns the index where the segment that begins at start ends.
func (p *Path) end(start int) int {
	for i := start; ; i++ {
		n := strings.IndexByte(p.Text[i:], '/')
		if n < 0 {
			return len(p.Text)
		}
		i += n
		if !p.Encoded(i) {
			return i
		}
	}
}
