package engine

import (
	"github.com/pagi-go/pagi-bridge/pagi"
)

// sendTrailers ends the response. HTTP/1.0 and responses without a body cannot
// carry trailers; the ResponseWriter leaves them out there.
func (x *exchange) sendTrailers(e *pagi.HTTPResponseTrailers) error {
	x.setWriteDeadline()
	if err := x.stream.WriteTrailers(e.Headers); err != nil {
		return writeLost(err)
	}
	x.phase = phaseComplete
	x.armed = false
	return nil
}
