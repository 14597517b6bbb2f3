package shared

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

// The calls of PROTOCOL.md.
const (
	opHello   = 1
	opGet     = 2
	opSet     = 3
	opDelete  = 4
	opAdd     = 5
	opClear   = 6
	opLock    = 7
	opUnlock  = 8
	opPublish = 9
)

// The results.
const (
	resultOK    = 0
	resultNo    = 1
	resultError = 2
)

const (
	headSize = 9 // length, id, call or result
	// maxFrame is the length of the largest frame of a process.
	maxFrame = max(MaxValue, MaxMessage, MaxKeys*(MaxName+4)) + 4096
	// maxReply is the length of the values that one call gets, in bytes.
	maxReply = 16 << 20
	// keptBuffer is the largest buffer that a connection keeps for its next call.
	keptBuffer = 64 << 10
)

// errProtocol is wrapped by the error for a connection that breaks the protocol.
var errProtocol = errors.New("it breaks the protocol")

// frame is a call, or what is answered.
type frame struct {
	id      uint32
	kind    byte
	payload []byte
}

// readFrame reads one frame. Its payload is in buffer, if that is large enough.
func readFrame(r io.Reader, buffer []byte) (frame, error) {
	var head [headSize]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return frame{}, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n < headSize-4 || n > maxFrame {
		return frame{}, fmt.Errorf("%w: a frame of %d bytes", errProtocol, n)
	}
	f := frame{id: binary.BigEndian.Uint32(head[4:]), kind: head[8]}
	if n -= headSize - 4; int(n) > cap(buffer) {
		buffer = make([]byte, n)
	}
	f.payload = buffer[:n]
	_, err := io.ReadFull(r, f.payload)
	return f, err
}

// appendFrame appends a frame.
func appendFrame(b []byte, f frame) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(headSize-4+len(f.payload)))
	b = binary.BigEndian.AppendUint32(b, f.id)
	return append(append(b, f.kind), f.payload...)
}

func appendText(b []byte, text string) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(text))), text...)
}

// reader takes a payload apart. After a mistake all it returns is zero, and wrong is set.
type reader struct {
	p     []byte
	wrong bool
}

func (r *reader) take(n int) []byte {
	if r.wrong || n < 0 || n > len(r.p) {
		r.wrong = true
		return nil
	}
	taken := r.p[:n]
	r.p = r.p[n:]
	return taken
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uint64() uint64 {
	if b := r.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// milliseconds reads a time, which is at most a little more than most.
func (r *reader) milliseconds(most time.Duration) time.Duration {
	return time.Duration(min(r.uint64(), uint64(most/time.Millisecond)+1)) * time.Millisecond
}

func (r *reader) text() string {
	if b := r.take(4); b != nil {
		return string(r.take(int(binary.BigEndian.Uint32(b))))
	}
	return ""
}

// texts reads what is left as a list.
func (r *reader) texts() (list []string) {
	for !r.wrong && len(r.p) > 0 {
		list = append(list, r.text())
	}
	return list
}

// end reports a payload that does not add up.
func (r *reader) end() error {
	if r.wrong || len(r.p) > 0 {
		return fmt.Errorf("%w: a call that does not add up", errProtocol)
	}
	return nil
}
