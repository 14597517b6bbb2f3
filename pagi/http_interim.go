package pagi

// sendInformational writes an interim response at once.
func (x *exchange) sendInformational(e *HTTPResponseInformational) error {
	if x.phase != phaseIdle {
		return &EventError{e.EventType(), "", "the response was started already"}
	}
	if !x.r.ProtoAtLeast(1, 1) {
		return nil // RFC 9110 section 15.2: never to an HTTP/1.0 client
	}
	if err := x.setHeader(e.EventType(), e.Headers); err != nil {
		x.resetHeader()
		return err
	}
	x.head.Del("content-length")
	x.setWriteDeadline()
	err := x.writeInformational(e.Status, x.head)
	x.resetHeader()
	if err != nil {
		return writeLost(err)
	}
	x.disarm()
	x.touch()
	return nil
}
