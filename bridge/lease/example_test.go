package lease_test

import (
	"context"
	"fmt"
	"os/exec"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/internal/fakeworker"
	"github.com/pagi-go/pagi-bridge/bridge/lease"
	"github.com/pagi-go/pagi-bridge/bridge/pool"
	"github.com/pagi-go/pagi-bridge/bridge/wire"
	"github.com/pagi-go/pagi-bridge/bridge/worker"
)

// A keeper with one worker, and a pool that leases it. In a site the keeper is in an adapter, and what carries Control
// between the two processes takes its place in Options.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	keeper := lease.NewKeeper(lease.KeeperOptions{Options: worker.Options{
		Processes: worker.Processes{Workers: 1}, Need: wire.FeatureRequests, Offer: wire.Offer{Features: wire.FeatureRequests},
		Start: func(s worker.Setup) (*exec.Cmd, []byte, error) { // as psgi.PSGI makes it for Perl
			cmd, configuration := fakeworker.Command("serve", s.Socket, s.Listen, s.Token, s.Worker)
			return cmd, configuration, nil
		},
	}})
	if err := keeper.Start(ctx); err != nil {
		fmt.Println(err)
		return
	}
	requests := pool.New(pool.Options{Crew: func(o worker.Options, host worker.Host) worker.Crew {
		return lease.New(lease.Options{Options: o, Control: keeper}, host)
	}})
	if err := requests.Start(ctx); err != nil {
		fmt.Println(err)
		return
	}
	answer, err := requests.Do(request("echo hello", true))
	if err != nil {
		fmt.Println(err)
		return
	}
	piece, err := answer.Next(ctx)
	fmt.Println(piece.Head.Status, string(piece.Body), err)
	answer.Close()
	fmt.Println(requests.Stop(ctx)) // the worker goes on, for the next gateway
	fmt.Println(keeper.Stop(ctx))
	// Output:
	// 200 hello <nil>
	// <nil>
	// <nil>
}
