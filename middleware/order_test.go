package middleware_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	_ "github.com/pagi-go/pagi-bridge/apps"
	"github.com/pagi-go/pagi-bridge/internal/parts"
	"github.com/pagi-go/pagi-bridge/middleware"
)

func TestTheRecommendedOrderHasEveryMiddleware(t *testing.T) {
	if diff := cmp.Diff(parts.MiddlewareNames(), slices.Sorted(slices.Values(middleware.Recommended))); diff != "" {
		t.Errorf("registered (-), recommended (+): %s", diff)
	}
	if wrong := middleware.Misplaced(middleware.Recommended); len(wrong) > 0 {
		t.Errorf("the recommended order has warnings: %v", wrong)
	}
}

func TestTheDocumentedOrderIsTheRecommendedOne(t *testing.T) {
	text, err := os.ReadFile("../docs/middleware.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## Order\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var documented []string
	for line := range strings.Lines(section) {
		if cells := strings.Split(line, "|"); strings.HasPrefix(line, "| `") && len(cells) == 4 {
			for name := range strings.SplitSeq(cells[1], ",") {
				documented = append(documented, strings.Trim(name, " `"))
			}
		}
	}
	if diff := cmp.Diff(middleware.Recommended, documented); diff != "" {
		t.Errorf("recommended (-), documented (+): %s", diff)
	}
}

func TestMisplaced(t *testing.T) {
	for name, tc := range map[string]struct {
		list []string
		want []middleware.Misplacement
	}{
		"a right order":                {[]string{"reverse_proxy", "session", "csrf"}, nil},
		"names that are not known":     {[]string{"mine", "session", "mine", "csrf"}, nil},
		"one of the two is not there":  {[]string{"csrf"}, nil},
		"a session inside its user":    {[]string{"csrf", "session"}, []middleware.Misplacement{{Index: 1, Text: "session must stand in front of csrf, because otherwise csrf finds no session"}}},
		"a second one that is needed":  {[]string{"session", "csrf", "session"}, nil},
		"compression before its users": {[]string{"gzip", "etag"}, nil},
		"two at once": {[]string{"rate_limit", "etag", "x", "gzip", "reverse_proxy"}, []middleware.Misplacement{
			{Index: 3, Text: "gzip must stand in front of etag, because otherwise etag sees the compressed body, which comes in pieces"},
			{Index: 4, Text: "reverse_proxy must stand in front of rate_limit, because otherwise rate_limit sees the proxy instead of the client"},
		}},
	} {
		if diff := cmp.Diff(tc.want, middleware.Misplaced(tc.list)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}
