package headername

import "testing"

func TestIsToken(t *testing.T) {
	for s, want := range map[string]bool{
		"": false, "x": true, "Content-Type": true, "!#$%&'*+-.^_`|~09azAZ": true,
		"a b": false, "a:": false, "a\x00": false, "é": false, "(": false, "a/b": false, `"a"`: false, "[x]": false, "a=": false, "\x7f": false,
	} {
		if IsToken(s) != want {
			t.Errorf("%q", s)
		}
	}
}
