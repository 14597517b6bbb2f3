package pool

import (
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/worker"
)

// Every log record about a request names the request.
func TestRecordsNameTheRequest(t *testing.T) {
	for do, message := range map[string]string{
		"print hello":             `msg="logged hello"`,
		"crash now":               `msg="the worker died in a request"`,
		"hang here":               `msg="a worker is killed"`,
		"cleanup /no/such/file":   `msg="a worker is killed"`,
		"log-cleaning afterwards": `msg="logged afterwards"`,
	} {
		t.Run(do, func(t *testing.T) {
			s := start(t, Options{Name: "/m", Limits: Limits{Limits: worker.Limits{KillAfter: 100 * time.Millisecond}, RequestTimeout: 300 * time.Millisecond}})
			s.do(do, false)
			s.log.WaitFor(t, message, "mount=/m", "worker=1", "pid=", `request="`+do+`"`, `request_id="id of `+do+`"`)
		})
	}
}
