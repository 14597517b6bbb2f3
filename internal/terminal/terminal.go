// Package terminal prepares texts of clients for a terminal: nothing in them moves the cursor, changes colours or hides text, and
// they take the columns that are meant for them.
package terminal

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/width"
)

// Safe writes what is no graphic character of s as Go does in a string: control characters, bytes that are no UTF-8, and
// characters that change the direction of text.
func Safe(s string) string {
	plain := true
	for i := 0; i < len(s) && plain; i++ {
		plain = s[i] >= ' ' && s[i] < utf8.RuneSelf && s[i] != 0x7f && s[i] != '\\'
	}
	if plain {
		return s
	}
	quoted := strconv.QuoteToGraphic(s)
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
}

// Width returns how many columns a safe text takes.
func Width(s string) (columns int) {
	for _, r := range s {
		columns += widthOf(r)
	}
	return columns
}

func widthOf(r rune) int {
	if r < 0x300 {
		return 1
	}
	if unicode.In(r, unicode.Mn, unicode.Me) {
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}

// Cut returns a safe text that takes at most some columns. A text that is cut ends with a tilde.
func Cut(s string, columns int) string {
	if columns <= 0 {
		return ""
	}
	if Width(s) <= columns {
		return s
	}
	taken := 0
	for i, r := range s {
		if w := widthOf(r); taken+w > columns-1 {
			return s[:i] + "~"
		} else {
			taken += w
		}
	}
	return s
}

// Left returns a safe text in exactly some columns, at their left.
func Left(s string, columns int) string {
	s = Cut(s, columns)
	return s + strings.Repeat(" ", max(0, columns-Width(s)))
}

// Right returns a safe text in exactly some columns, at their right.
func Right(s string, columns int) string {
	s = Cut(s, columns)
	return strings.Repeat(" ", max(0, columns-Width(s))) + s
}
