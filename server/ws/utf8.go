package ws

import "unicode/utf8"

// utf8Check checks a text that comes in pieces. It finds a wrong byte when the byte comes, not when
// the text is complete.
type utf8Check struct {
	rest [utf8.UTFMax]byte // the beginning of a character
	n    int
}

// add reports whether the text can still become valid with p.
func (u *utf8Check) add(p []byte) bool {
	for u.n > 0 && len(p) > 0 {
		u.rest[u.n] = p[0]
		u.n++
		p = p[1:]
		if utf8.FullRune(u.rest[:u.n]) { // also where the bytes are not a valid character
			if r, size := utf8.DecodeRune(u.rest[:u.n]); r == utf8.RuneError && size == 1 {
				return false
			}
			u.n = 0
		}
	}
	whole := len(p) - unfinished(p)
	u.n += copy(u.rest[u.n:], p[whole:])
	return utf8.Valid(p[:whole])
}

// done reports whether the text is complete.
func (u *utf8Check) done() bool { return u.n == 0 }

// unfinished returns how many bytes at the end of p begin a character that is not
// complete.
func unfinished(p []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(p); n++ {
		if tail := p[len(p)-n:]; utf8.RuneStart(tail[0]) {
			if !utf8.FullRune(tail) {
				return n
			}
			return 0
		}
	}
	return 0
}
