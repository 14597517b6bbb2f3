package engine

import "github.com/pagi-go/pagi-bridge/pagi"

// sendInformational writes an interim response at once.
func (x *exchange) sendInformational(e *pagi.HTTPResponseInformational) error {
	if err := x.setHeader(e.EventType(), e.Headers); err != nil {
		x.resetHeader()
		return err
	}
	x.head.Del("content-length")
	x.setWriteDeadline()
	err := x.stream.WriteInformational(e.Status, x.head)
	x.resetHeader()
	if err != nil {
		return writeLost(err)
	}
	x.armed = false
	x.touch()
	return nil
}
