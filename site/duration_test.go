package site_test

import (
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/site"
)

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"30": 30 * time.Second, "1.5": 1500 * time.Millisecond, "1m30s": 90 * time.Second, "0": 0, "-1": -time.Second,
	} {
		if got, err := site.ParseDuration(text); got != want || err != nil {
			t.Errorf("%q: %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"inf", "-inf", "nan", "1e300", "", "soon", "5 minutes"} {
		if got, err := site.ParseDuration(text); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}
