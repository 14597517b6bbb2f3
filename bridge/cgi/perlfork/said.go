//go:build linux && (amd64 || arm64 || riscv64)

package perlfork

import (
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/cgi/internal/job"
)

// mostSaid is how many bytes that a compilation writes to standard error are kept.
const mostSaid = 64 << 10

// sayings reads what a process writes to a pipe as it comes, so that the process never waits.
type sayings struct {
	from *job.Pipe
	done sync.WaitGroup
	text []byte
}

func listen(p *job.Pipe) *sayings {
	s := &sayings{from: p}
	s.done.Go(func() {
		buf := make([]byte, 4<<10)
		for {
			n, err := p.Read(buf)
			s.add(buf[:n])
			if err != nil {
				return
			}
		}
	})
	return s
}

func (s *sayings) add(b []byte) { s.text = append(s.text, b[:min(len(b), mostSaid-len(s.text))]...) }

// end returns what has been written up to now, 64 KiB at most.
func (s *sayings) end() []byte {
	s.from.Limit(time.Unix(1, 0))
	s.done.Wait()
	for buf, n := make([]byte, 4<<10), -1; n != 0 && len(s.text) < mostSaid; {
		n = s.from.ReadNow(buf)
		s.add(buf[:n])
	}
	s.from.Close()
	return s.text
}
