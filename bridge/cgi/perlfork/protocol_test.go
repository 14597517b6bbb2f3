//go:build linux && (amd64 || arm64 || riscv64)

package perlfork

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/bridge/cgi/internal/job"
	"github.com/pagi-go/pagi-bridge/internal/proc"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

func forkedPacket(pid int32) string {
	return "C" + string(binary.NativeEndian.AppendUint32(nil, uint32(pid)))
}

func TestAPacketFromAZygoteIsReadOrRefused(t *testing.T) {
	for name, c := range map[string]struct {
		packet     string
		descriptor bool
		want       fromZygote
		refused    string
	}{
		"ready":                          {"R", false, fromZygote{kind: ready}, ""},
		"ready, with names":              {"RPATH\x00HOME\x00", false, fromZygote{kind: ready, names: []string{"PATH", "HOME"}}, ""},
		"declined":                       {"Dit forks\n", false, fromZygote{kind: declined, text: "it forks\n"}, ""},
		"forbidden":                      {"Aread it", false, fromZygote{kind: forbidden, text: "read it"}, ""},
		"forked":                         {forkedPacket(4711), true, fromZygote{kind: forked, pid: 4711}, ""},
		"cannot fork":                    {"EResource temporarily unavailable", false, fromZygote{kind: cannotFork, text: "Resource temporarily unavailable"}, ""},
		"nothing":                        {"", false, fromZygote{}, "empty"},
		"an unknown kind":                {"Xyz", false, fromZygote{}, "unknown packet"},
		"a name without an end":          {"RPATH", false, fromZygote{}, "no end"},
		"forked without a descriptor":    {forkedPacket(4711), false, fromZygote{}, "descriptor"},
		"a descriptor with other words":  {"Eno", true, fromZygote{}, "descriptor"},
		"a number that is too short":     {"C123", true, fromZygote{}, "4 bytes"},
		"a number that is too long":      {"C12345", true, fromZygote{}, "4 bytes"},
		"the first process's number":     {forkedPacket(1), true, fromZygote{}, "no child"},
		"a process group, not a process": {forkedPacket(-2), true, fromZygote{}, "no child"},
	} {
		got, err := decode([]byte(c.packet), c.descriptor)
		switch {
		case c.refused != "":
			if err == nil || !strings.Contains(err.Error(), c.refused) {
				t.Errorf("%s: %v, want %q", name, err, c.refused)
			}
		case err != nil:
			t.Errorf("%s: %v", name, err)
		default:
			if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(fromZygote{})); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
		}
	}
}

// encode is what the Perl side does.
func (p fromZygote) encode() []byte {
	b := []byte{byte(p.kind)}
	switch p.kind {
	case ready:
		return appendPairs(b, p.names...)
	case forked:
		return binary.NativeEndian.AppendUint32(b, uint32(p.pid))
	}
	return append(b, p.text...)
}

func FuzzFromZygote(f *testing.F) {
	for _, seed := range []string{"R", "RPATH\x00HOME\x00", "Dit forks\n", "Aread it", forkedPacket(4711), forkedPacket(-1), "Eno room", "", "R\x00\x00", "C"} {
		f.Add([]byte(seed), strings.HasPrefix(seed, "C"))
	}
	f.Fuzz(func(t *testing.T, packet []byte, descriptor bool) {
		p, err := decode(packet, descriptor)
		if err != nil {
			return
		}
		if descriptor != (p.kind == forked) {
			t.Errorf("%q is taken, with a descriptor: %v", packet, descriptor)
		}
		if p.kind == forked && p.pid <= 1 {
			t.Errorf("process %d is taken", p.pid)
		}
		again := p.encode()
		if p.kind == ready { // empty names are left out
			packet = slices.Concat([]byte("R"), bytes.Join(slices.DeleteFunc(bytes.SplitAfter(packet[1:], []byte{0}), func(name []byte) bool { return len(name) < 2 }), nil))
		}
		if !bytes.Equal(again, packet) {
			t.Errorf("%q comes back as %q", packet, again)
		}
	})
}

// FuzzMark reads output in pieces: nothing of it is lost, and nothing is read behind the mark.
func FuzzMark(f *testing.F) {
	f.Add("Content-Type: text/plain\n\n"+markOfTest+"000", 7)
	f.Add(markOfTest[:20]+markOfTest+"255", 1)
	f.Add(markOfTest+"25x", 30)
	f.Add(markOfTest+markOfTest+"001", 29)
	f.Add("", 1)
	f.Fuzz(func(t *testing.T, output string, size int) {
		size = max(1, min(size, 1000))
		from := &chunks{last: io.EOF}
		for rest := output; rest != ""; {
			n := min(size, len(rest))
			from.pieces = append(from.pieces, rest[:n])
			rest = rest[n:]
		}
		m := &mark{text: markOfTest}
		got, err := readMarked(m, from)
		if err != nil {
			t.Fatal(err)
		}
		left := strings.Join(from.pieces, "")
		switch {
		case !m.seen:
			if string(got) != output {
				t.Errorf("%q became %q", output, got)
			}
		case m.status < 0 || m.status > 999:
			t.Errorf("status %d", m.status)
		default:
			read := strings.TrimSuffix(output, left)
			if want := string(got) + markOfTest; !strings.HasPrefix(read, want) || len(read) != len(want)+markStatus {
				t.Errorf("of %q, %q was output", read, got)
			}
		}
	})
}

// FuzzVariables does to an environment what a request says, as the Perl side does, and looks whether it is the request's.
func FuzzVariables(f *testing.F) {
	f.Add("PATH=/bin\nHOME=/root", "PATH=/bin\nQUERY_STRING=x=1")
	f.Add("A=1\nB=", "B=\nA=2\nC==")
	f.Add("", "")
	f.Fuzz(func(t *testing.T, compiledWith, request string) {
		base, child := variables(compiledWith)
		env, want := variables(request)
		known, whole := map[string]bool{}, map[string]bool{}
		for _, variable := range base {
			name, _, _ := strings.Cut(variable, "=")
			known[name], whole[variable] = true, true
		}
		packet := string(appendVariables(nil, env, whole, known))
		if packet != "" && !strings.HasSuffix(packet, "\x00") {
			t.Fatalf("%q has no end", packet)
		}
		for variable := range strings.SplitSeq(strings.TrimSuffix(packet, "\x00"), "\x00") {
			if name, value, set := strings.Cut(variable, "="); set {
				child[name] = value
			} else {
				delete(child, name)
			}
		}
		if !maps.Equal(child, want) {
			t.Errorf("%q makes %q, want %q", packet, child, want)
		}
	})
}

// variables returns the variables of a text, one in a line, as a list and as a map.
func variables(text string) (list []string, all map[string]string) {
	all = map[string]string{}
	for line := range strings.SplitSeq(text, "\n") {
		name, value, is := strings.Cut(line, "=")
		if _, there := all[name]; !is || there || name == "" || strings.Contains(line, "\x00") {
			continue
		}
		all[name] = value
		list = append(list, line)
	}
	return list, all
}

func TestAMalformedRequestEndsTheProcessThatGetsIt(t *testing.T) {
	const good, last = "\x00\x00\x00\x00", "\x00\x00\x00\x00A=1\x00"
	for name, c := range map[string]struct {
		mode   string
		packet func(z *zygote) string
		files  int
	}{
		"a child, too short":                {ModeFork, func(z *zygote) string { return string(z.shown) + "\x00\x00\x00" }, 3},
		"a child, without descriptors":      {ModeFork, func(z *zygote) string { return string(z.shown) + good }, 0},
		"a child, with two":                 {ModeFork, func(z *zygote) string { return string(z.shown) + good }, 2},
		"a child, a variable without end":   {ModeFork, func(z *zygote) string { return string(z.shown) + last + "B=2" }, 3},
		"a worker, too short":               {ModePersistent, func(*zygote) string { return good + "\x02" + markOfTest[:25] }, 2},
		"a worker, unknown flags":           {ModePersistent, func(*zygote) string { return good + "\x06" + markOfTest }, 2},
		"a worker, a malformed mark":        {ModePersistent, func(*zygote) string { return good + "\x02" + strings.ToLower(markOfTest) }, 2},
		"a worker, without its descriptors": {ModePersistent, func(*zygote) string { return good + "\x03" + markOfTest }, 2},
		"a worker, a variable without end":  {ModePersistent, func(*zygote) string { return good + "\x02" + markOfTest + "A=1\x00B" }, 2},
	} {
		t.Run(name, func(t *testing.T) {
			h := serveTree(t, c.mode, Config{}, map[string]string{"a.cgi": `print 1;`})
			if got := h.body(t, "a.cgi"); got != "1" {
				t.Fatalf("got %q", got)
			}
			z := h.zygote("a.cgi")
			var child *child
			testkit.Eventually(t, "a process that waits", func() bool {
				if c.mode == ModePersistent { // the one that has answered is not the one that is taken
					z.supply.mu.Lock()
					idle := z.supply.idle
					z.supply.idle, z.supply.count = nil, 0
					z.supply.mu.Unlock()
					for _, c := range idle {
						c.dismiss()
					}
				}
				child = z.take(t.Context())
				return child != nil
			})
			out, errs, err := job.Outputs()
			if err != nil {
				t.Fatal(err)
			}
			null, err := job.DevNull()
			if err != nil {
				t.Fatal(err)
			}
			fds := []int{int(null.Fd()), out.Theirs(), errs.Theirs()}
			if c.mode == ModePersistent {
				fds = fds[1:]
			}
			p, err := proc.Adopt(child.pid, child.reaped)
			if err != nil {
				t.Fatal(err)
			}
			if err := child.send([]byte(c.packet(z)), fds[:c.files]); err != nil && !errors.Is(err, syscall.EPIPE) {
				t.Fatal(err)
			}
			out.CloseTheirs()
			errs.CloseTheirs()
			if !p.EndsWithin(testkit.Patience) {
				p.Signal(syscall.SIGKILL)
				t.Error("it goes on")
			}
			if exit := p.Finish(); exit.Status != 0 {
				t.Errorf("%v", exit)
			}
			for _, pipe := range []*job.Pipe{out, errs} {
				if text, err := io.ReadAll(pipe); err != nil || len(text) > 0 {
					t.Errorf("it has written %q, %v", text, err)
				}
				pipe.Close()
			}
			_ = syscall.Close(child.socket)
			if got := h.body(t, "a.cgi"); got != "1" {
				t.Errorf("the next request gets %q", got)
			}
		})
	}
}
