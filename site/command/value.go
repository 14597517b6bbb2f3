package command

import (
	"time"

	"github.com/pagi-go/pagi-bridge/internal/option"
)

// durationFlag is a number of seconds, or a duration with a unit: 90, 1.5, 1m30s.
type durationFlag time.Duration

func (d *durationFlag) String() string {
	if *d == 0 {
		return "" // the help of a flag already has its default
	}
	return time.Duration(*d).String()
}

// Type returns the placeholder of the value in the help.
func (d *durationFlag) Type() string { return "SECONDS" }

// Set reads a value.
func (d *durationFlag) Set(text string) error {
	v, err := option.ParseDuration(text)
	*d = durationFlag(v)
	return err
}
