package upstream

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Checks asks backends by GET whether they are well.
type Checks struct {
	Pool      *Pool
	Transport *Transport
	// Path is a path of the backend, perhaps with a query. The prefix of the backend is not put in
	// front.
	Path string
	// Host is the Host header; "" means that of the backend.
	Host     string
	Interval time.Duration
	Timeout  time.Duration
	// Status are those of a backend that is well; none means 200 to 299.
	Status []int
}

// Run checks all backends, each at once and then every Interval. It returns when ctx has ended.
func (c *Checks) Run(ctx context.Context) {
	var all sync.WaitGroup
	for _, b := range c.Pool.Backends() {
		all.Go(func() { c.watch(ctx, b) })
	}
	all.Wait()
}

func (c *Checks) watch(ctx context.Context, b *Backend) {
	ticker := time.NewTicker(c.Interval)
	defer ticker.Stop()
	for {
		err := c.check(ctx, b)
		if ctx.Err() != nil {
			return
		}
		c.Pool.checked(b, err)
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// check asks one backend.
func (c *Checks) check(ctx context.Context, b *Backend) error {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	u := *b.URL
	path, query, _ := strings.Cut(c.Path, "?")
	u.Path, u.RawPath, u.RawQuery = path, "", query
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return err
	}
	if c.Host != "" {
		req.Host = c.Host
	}
	req.Header.Set("User-Agent", "pagi-bridge (health check)")
	res, err := c.Transport.RoundTrip(b, req)
	if err != nil {
		return err
	}
	defer res.Body.Close() // it is read, or of no use
	_, _ = io.CopyN(io.Discard, res.Body, 4096)
	if len(c.Status) == 0 && (res.StatusCode < 200 || res.StatusCode > 299) || len(c.Status) > 0 && !slices.Contains(c.Status, res.StatusCode) {
		return fmt.Errorf("the health check got status %d", res.StatusCode)
	}
	return nil
}
