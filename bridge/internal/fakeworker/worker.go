// Package fakeworker is a worker for the tests of the packages that run workers: the test program itself, started again
// with FAKE_WORKER set. A mode says how it starts, and the first variable of a request what it does then.
//
// worker.go is the worker, zygote.go a zygote that starts such workers.
package fakeworker

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	ossignal "os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/wire"
	"github.com/pagi-go/pagi-bridge/internal/tally"
)

// Main runs the tests, or in a program that Command has started the worker. It is for TestMain.
func Main(m *testing.M) {
	if mode, is := os.LookupEnv("FAKE_WORKER"); is {
		if err := runFake(mode); err != nil {
			fmt.Fprintln(os.Stderr, "fake worker:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// Command returns the command of worker number n in that mode, and what it reads from its standard input.
//
// listen is where it listens for gateways, "" if it does not: then it serves on the connection that it dials.
func Command(mode, socket, listen, token string, n int) (*exec.Cmd, []byte) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "FAKE_WORKER="+mode, fmt.Sprint("FAKE_NUMBER=", n), "GORACE=atexit_sleep_ms=0")
	return cmd, wire.AppendPairs(nil, "socket", socket, "listen", listen, "token", token)
}

// Zygote returns the command of a zygote with that fault, whose workers run in that mode, and what it reads from its
// standard input.
func Zygote(fault, mode, socket, token string) (*exec.Cmd, []byte) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "FAKE_WORKER="+mode, "FAKE_ZYGOTE="+fault, "GORACE=atexit_sleep_ms=0")
	return cmd, wire.AppendPairs(nil, "socket", socket, "token", token, "preload", "1")
}

type fake struct {
	conn   net.Conn // to the gateway, which is the keeper of a worker that does not listen
	keeper net.Conn
	frames *bufio.Reader
	queue  []wire.Frame
	told   bool // whether the names of the requests' values are known
	// version is the content of the version file when the worker started.
	version string
	// linger: stay after DRAIN, and do not listen to TERM.
	linger bool
	// hears: the end of the connection does not end the process, which takes the next gateway.
	hears bool
}

// value returns the only value of a request.
func (f *fake) value(frame wire.Frame) string {
	if !f.told {
		fmt.Fprintln(os.Stderr, "fake worker: a request whose names are not known")
		os.Exit(1)
	}
	value, _, _ := strings.Cut(string(frame.Payload[2:]), "\x00")
	return value
}

func runFake(mode string) error {
	input, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	if len(input) == 0 {
		os.Exit(0) // a zygote has died that was about to say what this is for
	}
	config := decodePairs(input)
	if config["preload"] != "" {
		return runFakeZygote(config, os.Getenv("FAKE_ZYGOTE"))
	}
	if mode == "no start" {
		fmt.Fprintln(os.Stderr, "cannot find my boots")
		os.Exit(9)
	}
	conn, err := net.Dial("unix", config["socket"])
	if err != nil {
		return err
	}
	f := &fake{conn: conn, keeper: conn, frames: bufio.NewReader(conn)}
	version, token := uint16(wire.Version), config["token"]
	mode, arg, _ := strings.Cut(mode, ":")
	switch mode {
	case "wrong version":
		version = 99
	case "wrong token":
		token = "guess"
	}
	f.hello(version, token, "")
	switch mode {
	case "failed":
		f.put(wire.Failed, 0, 0, []byte("no app today\n"))
		return nil
	case "failed and stays":
		f.put(wire.Failed, 0, 0, []byte("no app today\n"))
		time.Sleep(time.Hour)
	case "idle before ready":
		f.put(wire.Idle, 0, 0, nil)
		time.Sleep(time.Hour)
	case "fails when": // the file exists; before it, a second one is waited for
		file, gate, _ := strings.Cut(arg, ":")
		for _, err := os.Stat(gate); gate != "" && err != nil; _, err = os.Stat(gate) {
			time.Sleep(time.Millisecond)
		}
		if _, err := os.Stat(file); err == nil {
			f.put(wire.Failed, 0, 0, []byte("no app today\n"))
			time.Sleep(time.Hour)
		}
	case "fails from": // the n-th worker on, when the file exists
		n, file, _ := strings.Cut(arg, ":")
		from, _ := strconv.Atoi(n)
		number, _ := strconv.Atoi(os.Getenv("FAKE_NUMBER"))
		if _, err := os.Stat(file); err == nil && number >= from {
			f.put(wire.Failed, 0, 0, []byte("no app today\n"))
			return nil
		}
	case "dies when": // the file exists
		if _, err := os.Stat(arg); err == nil {
			return errors.New("cannot find my boots")
		}
	case "exits when": // the file exists
		if _, err := os.Stat(arg); err == nil {
			os.Exit(9)
		}
	case "hangs deaf when": // the file exists
		if _, err := os.Stat(arg); err == nil {
			ossignal.Ignore(syscall.SIGTERM)
			_ = os.WriteFile(arg+".deaf", nil, 0o600)
			time.Sleep(time.Hour)
		}
	case "hangs when": // the file exists
		if _, err := os.Stat(arg); err == nil {
			time.Sleep(time.Hour)
		}
	case "lingers":
		f.linger = true
		ossignal.Ignore(syscall.SIGTERM)
	case "starts when": // the file exists
		for _, err := os.Stat(arg); err != nil; _, err = os.Stat(arg) {
			time.Sleep(time.Millisecond)
		}
	case "ends when": // the file exists, after it was ready
		if _, err := os.Stat(arg); err == nil {
			f.put(wire.Ready, 0, 0, nil)
			os.Exit(5)
		}
	case "talks":
		fmt.Println("deprecated: all of it")
	case "version": // in the file
		version, err := os.ReadFile(arg)
		if err != nil {
			f.put(wire.Failed, 0, 0, []byte("no app today\n"))
			return nil
		}
		f.version = string(version)
	case "silent":
		time.Sleep(time.Hour)
	}
	if config["listen"] != "" {
		return f.listen(config, mode)
	}
	f.put(wire.Ready, 0, 0, nil)
	return f.serve()
}

func (f *fake) hello(version uint16, token, role string) {
	features := wire.FeatureRequests | wire.FeaturePaths | wire.FeatureCounts
	if role != "" {
		features = wire.FeatureFork
	}
	hello := wire.HelloPayload{
		Versions: wire.Versions{Least: version, Most: version}, PID: uint32(os.Getpid()), Token: token, Offer: wire.Offer{Features: features, Role: role},
	}
	if _, err := f.conn.Write(wire.AppendHello(nil, hello)); err != nil {
		return
	}
	if answer, err := wire.ReadFrame(f.frames, nil); err == nil && answer.Type != wire.Welcome {
		fmt.Fprintf(os.Stderr, "%s: %s\n", answer.Type, answer.Payload)
		time.Sleep(time.Hour)
	}
}

func decodePairs(p []byte) map[string]string {
	pairs, err := wire.DecodePairs(p)
	if err != nil {
		fmt.Fprintln(os.Stderr, "fake worker:", err)
		os.Exit(1)
	}
	m := map[string]string{}
	for _, pair := range pairs {
		m[pair.Name] = pair.Value
	}
	return m
}

func (f *fake) put(t wire.Type, flags uint8, stream uint32, payload []byte) {
	if _, err := f.conn.Write(wire.AppendFrame(nil, t, flags, stream, payload)); err != nil && !f.hears {
		os.Exit(0)
	}
}

func (f *fake) reply(stream uint32, body string) {
	f.put(wire.Response, wire.FlagFin, stream, append(wire.AppendPairs([]byte{0, 200}), body...))
}

// serve reads as many frames as there are, so that it knows the size of a batch.
func (f *fake) serve() error {
	for {
		if err := f.read(true); err != nil {
			return nil // the gateway has gone
		}
		batch := len(f.queue)
		for len(f.queue) > 0 {
			frame := f.queue[0]
			f.queue = f.queue[1:]
			switch frame.Type {
			case wire.Drain:
				if f.linger {
					time.Sleep(time.Hour)
				}
				os.Exit(0)
			case wire.Names:
				batch--
				f.told = true
			case wire.Request:
				f.do(frame, batch)
			}
		}
	}
}

// read reads the frames that have arrived. It answers cancelled requests and drops them.
func (f *fake) read(wait bool) error {
	for wait || f.frames.Buffered() > 0 {
		frame, err := wire.ReadFrame(f.frames, nil)
		if err != nil {
			return err
		}
		wait = false
		if frame.Type != wire.Cancel {
			f.queue = append(f.queue, frame)
			continue
		}
		for i, waiting := range f.queue {
			if waiting.Stream == frame.Stream {
				f.queue = append(f.queue[:i], f.queue[i+1:]...)
				f.put(wire.Body, wire.FlagFin, frame.Stream, nil)
				break
			}
		}
	}
	return nil
}

func (f *fake) do(frame wire.Frame, batch int) {
	s := frame.Stream
	verb, arg, _ := strings.Cut(f.value(frame), " ")
	switch verb {
	case "pid":
		f.reply(s, strconv.Itoa(os.Getpid()))
	case "bloat":
		bloat(arg)
		f.reply(s, strconv.Itoa(os.Getpid()))
	case "version":
		f.reply(s, f.version)
	case "batch":
		f.reply(s, strconv.Itoa(batch))
	case "echo":
		f.reply(s, arg)
	case "echo-pieces": // repeats the text a number of times, each time in a frame of its own
		n, nonce, _ := strings.Cut(arg, " ")
		times, _ := strconv.Atoi(n)
		f.put(wire.Response, 0, s, wire.AppendPairs([]byte{0, 200}))
		for range times {
			f.put(wire.Body, 0, s, []byte(nonce))
		}
		f.put(wire.Body, wire.FlagFin, s, nil)
	case "echo-large": // repeats the text up to that length
		n, nonce, _ := strings.Cut(arg, " ")
		size, _ := strconv.Atoi(n)
		f.put(wire.Response, 0, s, wire.AppendPairs([]byte{0, 200}))
		body := []byte(strings.Repeat(nonce, size/len(nonce)))
		for ; len(body) > 64<<10; body = body[64<<10:] {
			f.put(wire.Body, 0, s, body[:64<<10])
		}
		f.put(wire.Body, wire.FlagFin, s, body)
	case "echo-file": // answers with a file that contains the text
		dir, nonce, _ := strings.Cut(arg, " ")
		path := filepath.Join(dir, nonce)
		info, err := writeFile(path, nonce)
		if err != nil {
			os.Exit(1)
		}
		f.put(wire.Response, 0, s, wire.AppendPairs([]byte{0, 200}))
		file := binary.BigEndian.AppendUint64(make([]byte, 8), uint64(info.Size))
		file = binary.BigEndian.AppendUint64(file, uint64(info.Dev))
		file = binary.BigEndian.AppendUint64(file, info.Ino)
		f.put(wire.File, wire.FlagFin, s, append(file, path...))
	case "count": // with and without the feature
		f.reply(s, arg)
		measures := []tally.Measure{{Kind: tally.Counter, Name: arg, Value: 2}, {Kind: tally.Gauge, Name: arg, Value: 1}}
		f.put(wire.Count, 0, 0, wire.AppendCount(nil, measures)[wire.HeaderSize:])
	case "count-garbage":
		f.reply(s, arg)
		f.put(wire.Count, 0, 0, []byte{1, 2, 3})
	case "echo-log":
		f.put(wire.Log, wire.LevelWarn, s, []byte("logged "+arg))
		f.reply(s, arg)
		f.put(wire.Log, wire.LevelWarn, s, []byte("logged late "+arg))
	case "mark-and-wait": // adds its pid to a file, then waits until another one exists
		mark, gate, _ := strings.Cut(arg, " ")
		file, err := os.OpenFile(mark, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err == nil {
			fmt.Fprintln(file, os.Getpid())
			err = file.Close()
		}
		if err != nil {
			os.Exit(1)
		}
		for _, err := os.Stat(gate); err != nil; _, err = os.Stat(gate) {
			time.Sleep(time.Millisecond)
		}
		if err := f.poll(); err != nil && !f.hears {
			os.Exit(1)
		}
		f.reply(s, "")
	case "out-of-order":
		f.reply(s+1, "")
		time.Sleep(time.Hour)
	case "twice":
		f.reply(s, arg)
		f.reply(s, arg)
		time.Sleep(time.Hour)
	case "answer-while-busy":
		f.put(wire.Response, wire.FlagFin|wire.FlagBusy, s, wire.AppendPairs([]byte{0, 200}))
		f.put(wire.Body, wire.FlagFin, s, nil)
		time.Sleep(time.Hour)
	case "early":
		n, _ := strconv.Atoi(arg)
		for range n {
			f.put(wire.Informational, 0, s, wire.AppendPairs([]byte{0, 103}, "link", strings.Repeat("x", 1000)))
		}
		f.reply(s, "")
	case "two-heads":
		f.put(wire.Response, 0, s, wire.AppendPairs([]byte{0, 200}))
		f.put(wire.Response, 0, s, wire.AppendPairs([]byte{0, 200}))
		time.Sleep(time.Hour)
	case "late-failed":
		f.put(wire.Failed, 0, 0, []byte("after all"))
		time.Sleep(time.Hour)
	case "note": // appends to a file, so that a test can count executions
		file, err := os.OpenFile(arg, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err == nil {
			fmt.Fprintln(file, os.Getpid())
			err = file.Close()
		}
		f.reply(s, fmt.Sprint(err))
	case "wait": // until the file exists
		for {
			if _, err := os.Stat(arg); err == nil {
				break
			}
			time.Sleep(time.Millisecond)
		}
		if err := f.poll(); err != nil && !f.hears {
			os.Exit(1)
		}
		f.reply(s, strconv.Itoa(os.Getpid()))
	case "loaded":
		loaded := append(binary.BigEndian.AppendUint32(nil, uint32(len(arg))), arg...)
		_, _ = f.keeper.Write(wire.AppendFrame(nil, wire.Loaded, 0, 0, loaded)) // it may have gone
		f.reply(s, "")
	case "wait-and-crash": // until the file exists
		for _, err := os.Stat(arg); err != nil; _, err = os.Stat(arg) {
			time.Sleep(time.Millisecond)
		}
		os.Exit(7)
	case "hang-deaf":
		ossignal.Ignore(syscall.SIGTERM)
		time.Sleep(time.Hour)
	case "sleep":
		d, _ := time.ParseDuration(arg)
		time.Sleep(d)
		if err := f.poll(); err != nil && !f.hears {
			os.Exit(1)
		}
		f.reply(s, "")
	case "hang":
		time.Sleep(time.Hour)
	case "crash":
		os.Exit(7)
	case "crash-once": // crashes the first time only; the file remembers it
		if _, err := os.Stat(arg); err != nil {
			_ = os.WriteFile(arg, nil, 0o600)
			os.Exit(7)
		}
		f.reply(s, "second time")
	case "big":
		n, _ := strconv.Atoi(arg)
		f.put(wire.Response, 0, s, wire.AppendPairs([]byte{0, 200}))
		chunk := []byte(strings.Repeat("0123456789abcdef", 2048))
		for ; n > len(chunk); n -= len(chunk) {
			f.put(wire.Body, 0, s, chunk)
		}
		f.put(wire.Body, wire.FlagFin, s, chunk[:n])
	case "start-and-crash":
		f.put(wire.Response, 0, s, append(wire.AppendPairs([]byte{0, 200}), "begun"...))
		os.Exit(7)
	case "garbage-deaf":
		ossignal.Ignore(syscall.SIGTERM)
		_, _ = f.conn.Write([]byte("HTTP/1.1 200 OK\r\n\r\nhello"))
		time.Sleep(time.Hour)
	case "garbage":
		_, _ = f.conn.Write([]byte("HTTP/1.1 200 OK\r\n\r\nhello"))
		time.Sleep(time.Hour)
	case "unknown":
		f.put(0x77, 0, s, nil)
		time.Sleep(time.Hour)
	case "large-head": // of that many bytes, in a frame that is not too large for the wire, or is
		n, _ := strconv.Atoi(arg)
		f.put(wire.Response, wire.FlagFin, s, wire.AppendPairs([]byte{0, 200}, "x", strings.Repeat("x", n)))
		time.Sleep(time.Hour)
	case "large-abort":
		n, _ := strconv.Atoi(arg)
		f.put(wire.Abort, wire.FlagFin, s, append([]byte{wire.AbortDied}, strings.Repeat("x", n)...))
		time.Sleep(time.Hour)
	case "malformed":
		f.put(wire.Response, wire.FlagFin, s, []byte{0})
		time.Sleep(time.Hour)
	case "cut": // the first n bytes of an answer, then the end
		n, _ := strconv.Atoi(arg)
		whole := wire.AppendFrame(nil, wire.Response, wire.FlagFin, s, append(wire.AppendPairs([]byte{0, 200}, "a", "b"), "hello"...))
		_, _ = f.conn.Write(whole[:min(n, len(whole)-1)])
		os.Exit(0)
	case "abort":
		f.put(wire.Abort, wire.FlagFin, s, append([]byte{wire.AbortDied}, arg...))
	case "status": // answers with it
		n, _ := strconv.Atoi(arg)
		f.put(wire.Response, wire.FlagFin, s, wire.AppendPairs(binary.BigEndian.AppendUint16(nil, uint16(n))))
	case "cleanup": // busy after the answer, until the file exists
		f.put(wire.Response, wire.FlagFin|wire.FlagBusy, s, wire.AppendPairs([]byte{0, 200}))
		for {
			if _, err := os.Stat(arg); err == nil {
				break
			}
			time.Sleep(time.Millisecond)
		}
		f.put(wire.Idle, 0, s, nil)
	case "leave-slowly":
		f.put(wire.Response, wire.FlagFin|wire.FlagBusy, s, wire.AppendPairs([]byte{0, 200}))
		f.exiting("in a moment")
		time.Sleep(time.Hour)
	case "leave-early": // before the answer is complete
		f.exiting("right now")
		time.Sleep(time.Hour)
	case "child": // one that does not listen to TERM
		cmd := exec.Command("sh", "-c", "trap '' TERM; echo $$; sleep 3600")
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			os.Exit(1)
		}
		line, _ := bufio.NewReader(out).ReadString('\n')
		f.reply(s, strings.TrimSpace(line))
	case "write-much": // reads the rest of the batch only after it has written a lot
		f.reply(s, strings.Repeat("x", 1<<20))
	case "drip":
		n, _ := strconv.Atoi(arg)
		f.put(wire.Response, 0, s, wire.AppendPairs([]byte{0, 200}))
		var frames []byte
		for range n {
			frames = wire.AppendFrame(frames, wire.Body, 0, s, []byte("."))
		}
		if _, err := f.conn.Write(frames); err != nil {
			os.Exit(0)
		}
		f.put(wire.Body, wire.FlagFin, s, nil)
	case "leave":
		f.put(wire.Response, wire.FlagFin|wire.FlagBusy, s, wire.AppendPairs([]byte{0, 200}))
		f.exiting("had enough")
		os.Exit(0)
	case "shout": // a line of that length, in a LOG frame
		n, _ := strconv.Atoi(strings.Fields(arg)[0])
		f.put(wire.Log, wire.LevelWarn, s, []byte(strings.Repeat("x", n)))
		fmt.Println(strings.Repeat("y", 8000))
		f.reply(s, "")
	case "log-cleaning":
		f.put(wire.Response, wire.FlagFin|wire.FlagBusy, s, wire.AppendPairs([]byte{0, 200}))
		f.put(wire.Log, wire.LevelWarn, s, []byte("logged "+arg))
		f.put(wire.Idle, 0, s, nil)
	case "print":
		fmt.Println(arg)
		f.put(wire.Log, wire.LevelWarn, s, []byte("logged "+arg))
		f.reply(s, "")
	case "daemon": // leaves a child behind, unless told otherwise, that holds the connection and the output open
		cmd := exec.Command("sleep", "3600")
		file, err := f.conn.(*net.UnixConn).File()
		if err == nil {
			cmd.ExtraFiles = []*os.File{file}
			cmd.Stderr = os.Stderr
			err = cmd.Start()
		}
		if err == nil {
			f.reply(s, strconv.Itoa(cmd.Process.Pid))
		}
		if arg == "" {
			os.Exit(0)
		}
	}
}

// writeFile makes a file and returns what stat says about it.
func writeFile(path, content string) (*syscall.Stat_t, error) {
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		return nil, err
	}
	stat := &syscall.Stat_t{}
	return stat, syscall.Stat(path, stat)
}

// poll reads the frames that have arrived meanwhile, without waiting for more.
func (f *fake) poll() error {
	if err := f.conn.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
		return err
	}
	if _, err := f.frames.Peek(1); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	if err := f.conn.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	return f.read(false)
}

// bloated is the memory that the fake worker keeps.
var bloated [][]byte

func bloat(megabytes string) {
	n, _ := strconv.Atoi(megabytes)
	for range n {
		block := make([]byte, 1<<20)
		for i := range block {
			block[i] = 1
		}
		bloated = append(bloated, block)
	}
}
