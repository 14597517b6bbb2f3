package pagi

// Transport is the "pagi.transport" handle: how much the server has taken from
// the application and not yet written to the network. All methods are safe for
// concurrent use.
//
// If an application never calls a method, the server writes its events through: Send returns when
// the network has taken the bytes. From the first call on, events of an event stream or a streaming
// body wait in the server's memory, and Send blocks only at the high mark.
type Transport interface {
	// BufferedAmount is the number of bytes waiting to be written.
	BufferedAmount() int
	// HighWaterMark is the amount at or above which Send blocks; 0: none.
	HighWaterMark() int
	// LowWaterMark is the amount below which a blocked Send goes on; 0: none.
	LowWaterMark() int
	// OnHighWater registers a callback for the moment when the amount reaches the high mark. It
	// runs at once if the amount is that high already.
	OnHighWater(f func())
	// OnDrain registers a callback for the moment when the amount falls below the low mark after it
	// had reached the high one.
	OnDrain(f func())
}
