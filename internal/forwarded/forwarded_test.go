package forwarded_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/pagi-go/pagi-bridge/internal/forwarded"
)

func TestParse(t *testing.T) {
	type e = forwarded.Element
	broken := e{Broken: true}
	textless := cmpopts.IgnoreFields(e{}, "Text")
	for header, want := range map[string][]e{
		``:                        {{}},
		`for=192.0.2.1`:           {{For: "192.0.2.1"}},
		`For="[2001:db8::1]:80"`:  {{For: "[2001:db8::1]:80"}},
		`for=192.0.2.1:80`:        {{For: "192.0.2.1:80"}},
		`for=a;proto=https;by=b`:  {{For: "a", Proto: "https"}},
		`for=a;;host="x:1";`:      {{For: "a", Host: "x:1"}},
		`for=a , for=b`:           {{For: "a"}, {For: "b"}},
		`for="a\"b"`:              {{For: `a"b`}},
		`for=a,,for=b`:            {{For: "a"}, {}, {For: "b"}},
		`for=a;for=b`:             {broken},
		`for`:                     {broken},
		`=a`:                      {broken},
		`for=`:                    {broken},
		`for="a`:                  {broken},
		`for="a\`:                 {broken},
		`for=a b`:                 {broken},
		`garbage, for=b`:          {broken, {For: "b"}},
		`for=", for=b`:            {broken, {For: "b"}},
		`for=", for="[::1]"`:      {broken, {For: "[::1]"}},
		`for="\, for="[::1]"`:     {broken, {For: "[::1]"}},
		`x=", for=b;host="y"`:     {broken, {For: "b", Host: "y"}},
		`for=a, for=", for=c;x=y`: {{For: "a"}, broken, {For: "c"}},
	} {
		if diff := cmp.Diff(want, forwarded.Parse(header), textless); diff != "" {
			t.Errorf("%s: %s", header, diff)
		}
	}
}

func TestElementsKeepTheirText(t *testing.T) {
	var texts []string
	for _, e := range forwarded.Parse(`for=", For="[::1]";x=y ,for=b`) {
		texts = append(texts, e.Text)
	}
	if diff := cmp.Diff([]string{`for="`, `For="[::1]";x=y`, `for=b`}, texts); diff != "" {
		t.Error(diff)
	}
}

func TestParseNode(t *testing.T) {
	for text, want := range map[string]struct {
		addr string
		port int
	}{
		"192.0.2.1": {"192.0.2.1", 0}, " 192.0.2.1 ": {"192.0.2.1", 0}, "192.0.2.1:80": {"192.0.2.1", 80}, "192.0.2.1:_x": {"192.0.2.1", 0},
		"2001:db8::1": {"2001:db8::1", 0}, "[2001:db8::1]": {"2001:db8::1", 0}, "[2001:db8::1]:80": {"2001:db8::1", 80}, "::ffff:192.0.2.1": {"192.0.2.1", 0},
		"fe80::1%eth0": {"fe80::1", 0},
		"unknown":      {}, "_hidden": {}, "": {}, "192.0.2.1:": {}, "192.0.2.1:x": {}, "192.0.2.1:70000": {}, "[192.0.2.1]": {}, "[192.0.2.1]:80": {},
		"[::1": {}, "::1]:80": {}, "1.2.3": {}, "1.2.3.4, 5.6.7.8": {}, "localhost:80": {},
	} {
		addr, port, ok := forwarded.ParseNode(text)
		if ok != (want.addr != "") || ok && (addr.String() != want.addr || port != want.port) {
			t.Errorf("%q: %v %d %v", text, addr, port, ok)
		}
	}
}

// An element that a proxy appends is found whatever a client has written in front of it.
func FuzzParseFindsTheLastElement(f *testing.F) {
	for _, seed := range []string{`for="`, `for="\`, `a="b`, `a`, `,`, `for=1;"`, `"`, `x="\",`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, client string) {
		if strings.ContainsAny(client, "\r\n\x00") {
			return // no header value has them
		}
		for _, own := range []string{"192.0.2.7", `"[2001:db8::7]"`, `"[2001:db8::7]:1";proto=https;host="x"`} {
			all := forwarded.Parse(client + ", for=" + own)
			want := strings.Trim(strings.SplitN(own, ";", 2)[0], `"`)
			if got := all[len(all)-1].For; got != want {
				t.Errorf("behind %q: %q, want %q", client, got, want)
			}
		}
	})
}
