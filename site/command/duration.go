package command

import (
	"errors"
	"time"

	"github.com/pagi-go/pagi-bridge/site"
)

// durationFlag is a number of seconds, or a duration with a unit: 90, 1.5, 1m30s.
type durationFlag time.Duration

func (d *durationFlag) String() string {
	if *d == 0 {
		return "" // the help of a flag has its default already
	}
	return time.Duration(*d).String()
}

// Type makes the flag's help short.
func (d *durationFlag) Type() string { return "seconds" }

// Set reads a value.
func (d *durationFlag) Set(text string) error {
	v, err := site.ParseDuration(text)
	if err != nil || v < 0 {
		return errors.New("must be a number of seconds, or a duration as 1m30s")
	}
	*d = durationFlag(v)
	return nil
}
