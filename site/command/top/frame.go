package top

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/terminal"
	"github.com/pagi-go/pagi-bridge/internal/vitals"
)

// Sort is an order of mounts.
type Sort int

// The orders. All but SortSite and SortMount begin with the highest value.
const (
	SortSite Sort = iota // that of the site file
	SortMount
	SortRate
	SortP99
	SortQueue
	SortFailed
	SortMemory
	sorts
)

// sortNames are the orders for the user, and the title of the column by which they sort.
var sortNames = [sorts]struct{ name, column string }{
	{"site file", ""}, {"name", "MOUNT"}, {"req/s", "REQ/S"}, {"p99", "P99"}, {"queue", "QUEUE"}, {"failed", "FAILED"}, {"memory", "MEMORY"},
}

// State is how the user wants to see a View.
type State struct {
	Columns, Lines int // of the terminal; Columns of 0 do not limit a line
	Sort           Sort
	Workers        bool // processes are shown below their mounts
	Paused         bool
	Help           bool
	Scroll         int    // lines of the table above the window; Frame brings it into range
	Problem        string // why the last look has failed, "" if it has not
	Color          bool
}

// headLines is the number of lines above what scrolls: two of the gateway, and the titles.
const headLines = 3

// Styles, as parameters of SGR.
const (
	styleTitle = "7"
	styleBold  = "1"
	styleGood  = "32"
	styleWarn  = "33"
	styleBad   = "31"
	styleSoft  = "2"
)

func (s *State) style(style, text string) string {
	if !s.Color || style == "" || text == "" {
		return text
	}
	return "\x1b[" + style + "m" + text + "\x1b[0m"
}

// Frame returns the lines of a screen, which has exactly s.Lines of them or fewer.
func (s *State) Frame(v *vitals.View) []string {
	if s.Help {
		return s.fit(helpText)
	}
	head, rows := s.head(v), s.rows(v)
	room := max(1, s.Lines-headLines-1)
	s.Scroll = max(0, min(s.Scroll, len(rows)-room))
	shown := rows[s.Scroll:min(len(rows), s.Scroll+room)]
	lines := append(head, shown...)
	for len(lines) < headLines+room {
		lines = append(lines, "")
	}
	lines = append(lines, s.foot(len(rows), room))
	return lines[:min(len(lines), max(1, s.Lines))]
}

// Table returns all lines, for a reader that is no terminal.
func (s *State) Table(v *vitals.View) []string { return append(s.head(v), s.rows(v)...) }

var helpText = []string{
	"pagi-bridge top",
	"",
	"  q          quit",
	"  p, space   pause, or go on",
	"  w          show workers and scripts, or leave them out",
	"  arrows, j k, page up and down, g G   scroll",
	"  < >        another order of the mounts:",
	"  s n r l    as in the site file, by name, by req/s, by p99",
	"  u e m      by queue, by failed requests, by memory",
	"  h, ?       this help",
	"",
	"REQ/S and FAIL/S are those since the look before, P50 and P99 those of the last ten seconds.",
	"FOR is how long a worker has had its request. LAST is why a worker was replaced last.",
	"",
	"Any key leads back.",
}

func (s *State) fit(text []string) []string {
	lines := make([]string, 0, len(text))
	for _, line := range text[:min(len(text), max(1, s.Lines))] {
		lines = append(lines, s.cut(line))
	}
	return lines
}

// cut cuts a line to the width of the terminal.
func (s *State) cut(line string) string {
	if s.Columns <= 0 {
		return line
	}
	return terminal.Cut(line, s.Columns)
}

// head is what stands above the table.
func (s *State) head(v *vitals.View) []string {
	first := fmt.Sprintf("pagi-bridge %s, process %d, up %s   connections: HTTP/1 %d, HTTP/2 %d, HTTP/3 %d (%s so far)",
		terminal.Safe(v.Version), v.PID, age(v.Uptime), v.HTTP1, v.HTTP2, v.HTTP3, count(v.Accepted))
	style := styleBold
	if v.StopsIn != nil {
		first, style = fmt.Sprintf("DRAINING, stops in %.0f s   ", *v.StopsIn)+first, styleBad
	}
	if s.Problem != "" {
		first, style = terminal.Safe(s.Problem), styleBad
	}
	second := fmt.Sprintf("%s req/s, %s fail/s   p50 %s, p99 %s   running %d, queue %d   served %s, failed %s   memory %s",
		rate(v.Rate), rate(v.FailedRate), duration(v.P50), duration(v.P99), v.Running, v.Queued, count(v.Requests), count(v.Failed), size(v.Memory))
	return []string{s.style(style, s.cut(first)), s.cut(second), s.titles(v)}
}

// column is a column of the table of mounts.
type column struct {
	title string
	width int
	left  bool
	// rank is the order in which columns are shown as far as the terminal is wide enough.
	rank int
	text func(m *vitals.Mount) (text, style string)
}

func plain(text string) (string, string) { return text, "" }

// columns are those of mounts, from left to right. The first has what the others leave.
var columns = []column{
	{"MOUNT", 12, true, 0, func(m *vitals.Mount) (string, string) { return terminal.Safe(m.Mount), styleBold }},
	{"KIND", 11, true, 10, func(m *vitals.Mount) (string, string) { return plain(terminal.Safe(m.Kind)) }},
	{"STATE", 8, true, 3, func(m *vitals.Mount) (string, string) { return m.State, stateStyle(m.State) }},
	{"BUSY", 9, false, 6, func(m *vitals.Mount) (string, string) { return plain(busy(m)) }},
	{"QUEUE", 6, false, 2, func(m *vitals.Mount) (string, string) { return count(int64(m.Queued)), mark(m.Queued > 0, styleWarn) }},
	{"REQ/S", 7, false, 1, func(m *vitals.Mount) (string, string) { return plain(rate(m.Rate)) }},
	{"FAIL/S", 7, false, 12, func(m *vitals.Mount) (string, string) {
		return rate(m.FailedRate), mark(m.FailedRate != nil && *m.FailedRate > 0, styleBad)
	}},
	{"P50", 7, false, 4, func(m *vitals.Mount) (string, string) { return plain(duration(m.P50)) }},
	{"P99", 7, false, 5, func(m *vitals.Mount) (string, string) { return plain(duration(m.P99)) }},
	{"SERVED", 7, false, 8, func(m *vitals.Mount) (string, string) { return plain(count(m.Requests)) }},
	{"FAILED", 7, false, 7, func(m *vitals.Mount) (string, string) {
		return count(m.Failed), mark(m.FailedRate != nil && *m.FailedRate > 0, styleBad)
	}},
	{"RUNS", 7, false, 13, func(m *vitals.Mount) (string, string) { return plain(some(m.Runs)) }},
	{"MEMORY", 7, false, 9, func(m *vitals.Mount) (string, string) { return plain(size(m.Memory)) }},
	{"RESTARTS", 9, false, 11, func(m *vitals.Mount) (string, string) { return plain(some(m.Restarts)) }},
	{"LAST", 20, true, 14, func(m *vitals.Mount) (string, string) { return plain(last(m)) }},
}

var byRank = func() []column {
	list := slices.Clone(columns)
	slices.SortFunc(list, func(a, b column) int { return a.rank - b.rank })
	return list
}()

func stateStyle(state string) string {
	switch state {
	case "ok":
		return styleGood
	case "drained", "starting":
		return styleWarn
	}
	return styleBad
}

func mark(is bool, style string) string {
	if is {
		return style
	}
	return ""
}

// shown returns the columns for the width of the terminal, with their widths.
func (s *State) shown(v *vitals.View) []column {
	all := s.Columns
	if all <= 0 {
		all = 1 << 20
	}
	taken, most := 0, 0 // most is the rank of the first column that has no room
	for _, c := range byRank {
		if taken += c.width + 1; taken-1 > all && c.rank > 0 {
			taken -= c.width + 1
			break
		}
		most++
	}
	var list []column
	for _, c := range columns {
		if c.rank < most {
			list = append(list, c)
		}
	}
	longest := list[0].width
	for i := range v.Mounts {
		longest = max(longest, terminal.Width(terminal.Safe(v.Mounts[i].Mount)))
	}
	list[0].width = min(longest, 60, list[0].width+max(0, all-taken+1))
	return list
}

// titles is the line above the rows.
func (s *State) titles(v *vitals.View) string {
	var b strings.Builder
	for i, c := range s.shown(v) {
		if i > 0 {
			b.WriteByte(' ')
		}
		title := c.title
		if title == sortNames[s.Sort].column && s.Sort != SortSite {
			title += "*"
		}
		b.WriteString(aligned(title, c))
	}
	line := s.cut(b.String())
	if s.Columns > 0 {
		line = terminal.Left(line, s.Columns)
	}
	return s.style(styleTitle, strings.TrimRight(line, " ")+strings.Repeat(" ", s.fill(line)))
}

// fill is how many spaces make a line that is drawn in reverse as wide as a terminal.
func (s *State) fill(line string) int {
	if !s.Color || s.Columns <= 0 {
		return 0
	}
	return terminal.Width(line) - terminal.Width(strings.TrimRight(line, " "))
}

func aligned(text string, c column) string {
	if c.left {
		return terminal.Left(text, c.width)
	}
	return terminal.Right(text, c.width)
}

// rows are the lines that scroll.
func (s *State) rows(v *vitals.View) (rows []string) {
	columns := s.shown(v)
	for _, m := range s.sorted(v.Mounts) {
		rows = append(rows, s.mountRow(m, columns))
		if !s.Workers {
			continue
		}
		for i := range m.Processes {
			rows = append(rows, s.processRow(&m.Processes[i]))
		}
		if m.Left > 0 {
			rows = append(rows, s.style(styleSoft, s.cut(fmt.Sprintf("  %d more", m.Left))))
		}
	}
	return append(rows, s.besideRows(v)...)
}

// sorted returns the mounts in the order that the user has chosen.
func (s *State) sorted(mounts []vitals.Mount) []*vitals.Mount {
	list := make([]*vitals.Mount, len(mounts))
	for i := range mounts {
		list[i] = &mounts[i]
	}
	if s.Sort == SortSite {
		return list
	}
	value := func(m *vitals.Mount) float64 {
		switch s.Sort {
		case SortRate:
			return number(m.Rate)
		case SortP99:
			return number(m.P99)
		case SortQueue:
			return float64(m.Queued)
		case SortFailed:
			return float64(m.Failed)
		case SortMemory:
			return float64(m.Memory)
		}
		return 0
	}
	slices.SortStableFunc(list, func(a, b *vitals.Mount) int {
		if s.Sort == SortMount {
			return cmp.Compare(a.Mount, b.Mount)
		}
		return cmp.Compare(value(b), value(a))
	})
	return list
}

func number(f *float64) float64 {
	if f == nil {
		return -1
	}
	return *f
}

func (s *State) mountRow(m *vitals.Mount, columns []column) string {
	var b strings.Builder
	left := s.Columns
	for i, c := range columns {
		text, style := c.text(m)
		text = aligned(text, c)
		if i > 0 {
			text = " " + text
		}
		if s.Columns > 0 {
			text = terminal.Cut(text, left)
			left -= terminal.Width(text)
		}
		b.WriteString(s.style(style, text))
	}
	return strings.TrimRight(b.String(), " ")
}

// processRow is the line of a worker or a script.
func (s *State) processRow(p *vitals.Process) string {
	running, text := "", ""
	if r := p.Request; r != nil {
		running, text = duration(&r.For), terminal.Safe(strings.TrimSpace(r.Method+" "+r.Path))
		if r.ID != "" {
			text += " (" + terminal.Safe(r.ID) + ")"
		}
		if r.Left {
			text += ", the client has left"
		}
	}
	served := "-"
	if p.ID > 0 {
		served = count(int64(p.Served))
	}
	facts := "  " + terminal.Right(strconv.Itoa(p.PID), 8) + " " + terminal.Left(terminal.Safe(p.State), 10)
	if s.Columns <= 0 || s.Columns >= 90 {
		facts += terminal.Right(served, 7) + " served " + terminal.Right(size(p.Memory), 7) + " " + terminal.Right(age(p.Age), 7) + " old "
	}
	facts += terminal.Right(running, 7)
	line := facts + "  " + text
	if s.Columns > 0 {
		line = terminal.Cut(line, s.Columns)
	}
	line = strings.TrimRight(line, " ")
	if p.Request == nil {
		return s.style(styleSoft, line)
	}
	return line
}

// foot is the last line of a screen.
func (s *State) foot(rows, room int) string {
	text := "q quit  p pause  w workers  < > order: " + sortNames[s.Sort].name + "  h help"
	if s.Paused {
		text = "PAUSED  " + text
	}
	if rows > room {
		text += fmt.Sprintf("   %d-%d of %d", s.Scroll+1, min(rows, s.Scroll+room), rows)
	}
	return s.style(styleSoft, s.cut(text))
}

// busy tells how much of a mount is in use.
func busy(m *vitals.Mount) string {
	switch {
	case m.Workers > 0:
		return fmt.Sprintf("%d/%d", m.Busy, m.Workers)
	case m.Upstreams > 0:
		return fmt.Sprintf("%d/%d up", m.Up, m.Upstreams)
	case m.Scripts > 0 || m.Runs > 0:
		return strconv.Itoa(m.Scripts)
	}
	return "-"
}

// last tells why and when a worker was replaced last.
func last(m *vitals.Mount) string {
	if m.LastCause == "" {
		return ""
	}
	return m.LastCause + ", " + age(m.LastRestart) + " ago"
}

// some is a count, or a dash for none.
func some(n int64) string {
	if n == 0 {
		return "-"
	}
	return count(n)
}

// count is a number in five characters or less.
func count(n int64) string {
	switch f := float64(n); {
	case n < 10_000:
		return strconv.FormatInt(n, 10)
	case n < 999_950:
		return strconv.FormatFloat(f/1e3, 'f', mantissa(f/1e3), 64) + "k"
	case n < 999_950_000:
		return strconv.FormatFloat(f/1e6, 'f', mantissa(f/1e6), 64) + "M"
	default:
		return strconv.FormatFloat(f/1e9, 'f', mantissa(f/1e9), 64) + "G"
	}
}

func mantissa(f float64) int {
	if f < 99.95 {
		return 1
	}
	return 0
}

// rate is a number per second.
func rate(f *float64) string {
	switch {
	case f == nil:
		return "-"
	case *f == 0:
		return "0"
	case *f < 99.95:
		return strconv.FormatFloat(*f, 'f', 1, 64)
	}
	return count(int64(*f + 0.5))
}

// duration is a number of milliseconds in seven characters or less.
func duration(ms *float64) string {
	switch {
	case ms == nil:
		return "-"
	case *ms < 1:
		return strconv.FormatFloat(*ms*1000, 'f', 0, 64) + "us"
	case *ms < 100:
		return strconv.FormatFloat(*ms, 'f', 1, 64) + "ms"
	case *ms < 10_000:
		return strconv.FormatFloat(*ms, 'f', 0, 64) + "ms"
	case *ms < 100_000:
		return strconv.FormatFloat(*ms/1000, 'f', 1, 64) + "s"
	}
	return age(*ms / 1000)
}

// age is a number of seconds in seven characters or less.
func age(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd%02dh", int(d.Hours())/24, int(d.Hours())%24)
}

// size is a number of bytes in seven characters or less.
func size(bytes int64) string {
	switch mib := float64(bytes) / (1 << 20); {
	case bytes == 0:
		return "-"
	case mib < 99.95:
		return strconv.FormatFloat(mib, 'f', 1, 64) + "M"
	case mib < 10_000:
		return strconv.FormatFloat(mib, 'f', 0, 64) + "M"
	default:
		return strconv.FormatFloat(mib/1024, 'f', 1, 64) + "G"
	}
}
