package journal

import (
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// Records that fit into the journal are not lost, and stay in order.
func TestJournalKeepsOrder(t *testing.T) {
	logger, text, release := testkit.StuckLog(t)
	var js Journals
	log := js.Logger(logger).With("worker", 1)
	for n := range 500 {
		log.With("n", n).Info("record")
	}
	release()
	js.Flush()
	var numbers []string
	for _, m := range regexp.MustCompile(`worker=1 n=(\d+)`).FindAllStringSubmatch(text.String(), -1) {
		numbers = append(numbers, m[1])
	}
	if len(numbers) != 500 {
		t.Fatalf("%d records of 500", len(numbers))
	}
	for n, got := range numbers {
		if got != strconv.Itoa(n) {
			t.Fatalf("record %d is %s", n, got)
		}
	}
	log.Debug("another")
	js.Flush()
	if !strings.Contains(text.String(), "msg=another") {
		t.Error("it does not begin again")
	}
}

// The log tells of lost records at the place where they are missing.
func TestJournalTellsTheLoss(t *testing.T) {
	logger, text, release := testkit.StuckLog(t)
	var js Journals
	log := js.Logger(logger)
	for range 5 {
		log.Info(strings.Repeat("x", maxJournal/3))
	}
	release()
	js.Flush()
	log.Info("afterwards")
	js.Flush()
	lost := strings.Index(text.String(), "lines of output were lost")
	if after := strings.Index(text.String(), "afterwards"); lost < 0 || after < lost || !strings.Contains(text.String(), `"3 lines`) {
		t.Errorf("%d: %s", lost, regexp.MustCompile("x+").ReplaceAllString(text.String(), "x"))
	}
}
