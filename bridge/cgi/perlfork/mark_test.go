//go:build unix

package perlfork

import (
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

const markOfTest = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

// chunks are read one by one; then there is an error.
type chunks struct {
	pieces []string
	last   error
}

func (c *chunks) Read(p []byte) (int, error) {
	if len(c.pieces) == 0 {
		return 0, c.last
	}
	n := copy(p, c.pieces[0])
	if c.pieces[0] = c.pieces[0][n:]; c.pieces[0] == "" {
		c.pieces = c.pieces[1:]
	}
	return n, nil
}

func TestTheMarkIsFoundWhereverItIsCut(t *testing.T) {
	for _, output := range []string{"", "x", "Content-Type: text/plain\n\nA", "AB ABC " + markOfTest[:25], strings.Repeat("ABCDEFGH", 1000), markOfTest + "00"} {
		whole := output + markOfTest + "042"
		for cut := range len(whole) + 1 {
			if cut > 60 && cut < len(whole)-60 {
				continue
			}
			m := &mark{text: markOfTest}
			from := &chunks{[]string{whole[:cut], whole[cut:]}, io.ErrNoProgress}
			got, err := readMarked(m, from)
			if string(got) != output || err != nil || !m.seen || m.status != 42 {
				t.Fatalf("%.30q cut at %d: %d bytes, %v, seen %v, status %d", output, cut, len(got), err, m.seen, m.status)
			}
		}
		m, bytewise := &mark{text: markOfTest}, iotest.OneByteReader(strings.NewReader(whole))
		got, err := readMarked(m, bytewise)
		if string(got) != output || err != nil || m.status != 42 {
			t.Fatalf("%.30q byte by byte: %d bytes, %v, status %d", output, len(got), err, m.status)
		}
	}
}

func TestOutputThatEndsLikeAMarkIsOutput(t *testing.T) {
	for _, output := range []string{"", "text", "text" + markOfTest[:7], "text" + markOfTest, "text" + markOfTest + "04"} {
		m := &mark{text: markOfTest}
		from := &chunks{[]string{output}, io.EOF}
		if output == "" {
			from.pieces = nil
		}
		got, err := readMarked(m, from)
		if string(got) != output || err != nil || m.seen {
			t.Errorf("%q: got %q, %v, seen %v", output, got, err, m.seen)
		}
	}
}

func TestWhatIsHeldOutlivesADeadline(t *testing.T) {
	m := &mark{text: markOfTest}
	from := &chunks{[]string{"text" + markOfTest[:9]}, io.ErrNoProgress}
	buf := make([]byte, 1000)
	if n, err := m.read(from, buf); string(buf[:n]) != "text" || err != nil {
		t.Fatalf("%q, %v", buf[:n], err)
	}
	if n, err := m.read(from, buf); n != 0 || err != io.ErrNoProgress {
		t.Fatalf("%d, %v", n, err)
	}
	from.pieces = []string{markOfTest[9:] + "255"}
	if n, err := m.read(from, buf); n != 0 || err != io.EOF || m.status != 255 {
		t.Fatalf("%d, %v, status %d", n, err, m.status)
	}
}

func TestASmallBufferIsRefused(t *testing.T) {
	m := &mark{text: markOfTest}
	if n, err := m.read(strings.NewReader("text"), make([]byte, markLength)); n != 0 || err != io.ErrShortBuffer {
		t.Errorf("%d, %v", n, err)
	}
}

// readMarked reads to the end.
func readMarked(m *mark, from io.Reader) ([]byte, error) {
	var all []byte
	for buf := make([]byte, 100); ; {
		n, err := m.read(from, buf)
		all = append(all, buf[:n]...)
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return all, err
		}
	}
}
