package redispubsub_test

import (
	"os"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

func TestMain(m *testing.M) {
	code := m.Run()
	testkit.StopSharedRedis()
	os.Exit(code)
}

// clientOf returns a client of a server for the test itself.
func clientOf(t *testing.T, server *testkit.Redis) *redis.Client {
	t.Helper()
	options, err := redis.ParseURL(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	options.MaxRetries = -1
	client := redis.NewClient(options)
	t.Cleanup(func() { client.Close() })
	return client
}
