package upstream

import "testing"

func TestAnIdleConnectionKeepsNoLargeBuffers(t *testing.T) {
	d := &Direct{maxIdle: 1}
	defer d.closeIdle(0)
	d.put(&directConn{raw: &memory{}, in: make([]byte, maxHead), out: make([]byte, 0, 1<<20)})
	if c := d.idle[0]; cap(c.in) > 4*readRoom || cap(c.out) > 4*readRoom {
		t.Errorf("it keeps %d bytes for reading and %d for writing", cap(c.in), cap(c.out))
	}
}
