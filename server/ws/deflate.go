package ws

import (
	"bytes"

	"github.com/klauspost/compress/flate"
)

const (
	// minCompressed is the size of the smallest message that is compressed, unless the scope has
	// another.
	minCompressed = 128
	// maxHistory is how many of the last bytes sent are remembered for the next message. The window
	// could be four times as large, but every connection would hold that much.
	maxHistory = 8 << 10
)

// deflater compresses outgoing messages (RFC 7692 section 7.2.1). Between messages it holds only
// their last bytes.
type deflater struct {
	takeover bool
	minSize  int // smaller messages are not compressed
	history  []byte
	most     int // how many bytes of history, and how many are compressed in one go; see newDeflater
	step     int
	packed   bytes.Buffer
}

// newDeflater returns a deflater for the agreed parameters. A match may reach back over the history
// and the bytes compressed in one go together. So with a window below the largest one, each of the
// two is at most half of the window.
func newDeflater(agreed *extension) *deflater {
	d := &deflater{takeover: !agreed.serverNoTakeover, minSize: max(agreed.minSize, 1), most: maxHistory}
	if agreed.serverBits < 15 {
		d.step = 1 << (agreed.serverBits - 1)
		d.most = min(d.most, d.step)
	}
	return d
}

// tail ends every flushed message. The sender leaves it out (section 7.2.1).
var tail = []byte{0, 0, 0xff, 0xff}

// deflate returns payload compressed, valid until the next call.
func (d *deflater) deflate(payload []byte) []byte {
	d.packed.Reset()
	if d.packed.Cap() > keptOutput {
		d.packed = bytes.Buffer{}
	}
	history := d.history
	for rest := payload; len(rest) > 0; {
		part := rest
		if d.step > 0 {
			part = rest[:min(len(rest), d.step)]
		}
		rest = rest[len(part):]
		// A bytes.Buffer takes everything.
		_ = flate.StatelessDeflate(&d.packed, part, false, history)
		if len(rest) > 0 || d.takeover {
			history = d.remember(history, part)
		}
	}
	if d.takeover {
		d.history = append(d.history[:0], history...)
	}
	return bytes.TrimSuffix(d.packed.Bytes(), tail)
}

// remember returns the last bytes of history and part.
func (d *deflater) remember(history, part []byte) []byte {
	if len(part) >= d.most {
		return part[len(part)-d.most:]
	}
	keep := min(len(history), d.most-len(part))
	return append(append(make([]byte, 0, keep+len(part)), history[len(history)-keep:]...), part...)
}
