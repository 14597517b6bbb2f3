package top

import "strings"

// key is what the user has typed: a character, or one of the constants.
type key rune

// Keys that are no characters, and names of those that are.
const (
	keyUp key = -1 - iota
	keyDown
	keyPageUp
	keyPageDown
	keyHome
	keyEnd

	keyQuit         key = 'q'
	keyPause        key = 'p'
	keyWorkers      key = 'w'
	keyHelp         key = 'h'
	keyNextSort     key = '>'
	keyPreviousSort key = '<'
)

// sortKeys are the keys that choose an order.
var sortKeys = map[key]Sort{'s': SortSite, 'n': SortMount, 'r': SortRate, 'l': SortP99, 'u': SortQueue, 'e': SortFailed, 'm': SortMemory}

// sequences are what terminals send for keys that are no characters, behind ESC.
var sequences = map[string]key{
	"[A": keyUp, "OA": keyUp, "[B": keyDown, "OB": keyDown, "[5~": keyPageUp, "[6~": keyPageDown,
	"[H": keyHome, "OH": keyHome, "[1~": keyHome, "[F": keyEnd, "OF": keyEnd, "[4~": keyEnd,
}

// aliases are other keys for the same.
var aliases = map[byte]key{
	'k': keyUp, 'j': keyDown, 'g': keyHome, 'G': keyEnd, 'Q': keyQuit, 0x03: keyQuit, 0x04: keyQuit, ' ': keyPause, '?': keyHelp,
	0x02: keyPageUp, 0x06: keyPageDown,
}

// parseKeys returns the keys that a read from the terminal has. A terminal sends the bytes of one key together, so a sequence that
// is not known or not complete is dropped.
func parseKeys(text string) (keys []key) {
	for text != "" {
		if text[0] == 0x1b {
			rest := text[1:]
			n := sequenceLength(rest)
			if k, known := sequences[rest[:n]]; known {
				keys = append(keys, k)
			}
			text = rest[n:]
			continue
		}
		if k, is := aliases[text[0]]; is {
			keys = append(keys, k)
		} else if text[0] > ' ' && text[0] < 0x7f {
			keys = append(keys, key(text[0]))
		}
		text = text[1:]
	}
	return keys
}

// sequenceLength returns the length of an escape sequence without its ESC: ECMA-48 has "[", parameters, and one final byte from @
// to ~; SS3 is "O" and one byte.
func sequenceLength(rest string) int {
	switch {
	case strings.HasPrefix(rest, "O"):
		return min(2, len(rest))
	case strings.HasPrefix(rest, "["):
		for i := 1; i < len(rest); i++ {
			if rest[i] >= '@' && rest[i] <= '~' {
				return i + 1
			}
		}
		return len(rest)
	}
	return 0
}
