//go:build amd64 || arm64 || riscv64

package perlfork

import (
	"testing"
	"time"
)

func TestTheYearIsThatOfAllTimeZones(t *testing.T) {
	at := func(s string) time.Time {
		t.Helper()
		parsed, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return parsed
	}
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"2026-03-01T00:00:00Z", "2026-11-01T00:00:00Z", true},
		{"2026-03-01T00:00:00Z", "2027-03-01T00:00:00Z", false},
		{"2026-12-31T12:00:00Z", "2026-12-31T12:00:00Z", false},
		{"2026-12-31T08:00:00Z", "2026-12-31T09:59:00Z", true},
		{"2027-01-01T11:00:00Z", "2027-01-01T11:00:00Z", false},
		{"2027-01-01T12:00:00Z", "2027-01-02T12:00:00Z", true},
	} {
		if got := isOneYear(at(c.a), at(c.b)); got != c.want {
			t.Errorf("%s and %s: %v", c.a, c.b, got)
		}
	}
}
