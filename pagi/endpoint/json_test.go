package endpoint_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/endpoint"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/pagi/response"
)

func ExampleJSON() {
	type order struct {
		Item   string `json:"item"`
		Amount int    `json:"amount"`
	}
	type receipt struct {
		Total int `json:"total"`
	}
	r := &endpoint.Router{}
	r.Post("/orders", endpoint.JSON(func(_ *endpoint.Context, o order) (receipt, error) {
		return receipt{Total: 3 * o.Amount}, nil
	}))
	fmt.Println(pagitest.New(r).Post("/orders", pagitest.JSON(order{"tea", 2})).Text())
	// Output: {"total":6}
}

func TestJSON(t *testing.T) {
	broken := errors.New("broken")
	values := endpoint.JSON(func(_ *endpoint.Context, n int) (int, error) {
		if n < 0 {
			return 0, broken
		}
		return n + 1, nil
	})
	created := endpoint.JSON(func(_ *endpoint.Context, name string) (*response.Response, error) {
		return response.JSON(name).Status(201), nil
	})
	for _, c := range []struct {
		name   string
		app    pagi.App
		body   pagitest.Option
		status int
		text   string
		err    error
	}{
		{"a value", values, pagitest.JSON(1), 200, "2", nil},
		{"a response", created, pagitest.JSON("ann"), 201, `"ann"`, nil},
		{"a value of another type", values, pagitest.JSON("x"), 400, "", nil},
		{"what is no JSON", values, pagitest.Form("a", "1"), 415, "", nil},
		{"an error", values, pagitest.JSON(-1), 500, "", broken},
	} {
		res := pagitest.New(c.app).Post("/", c.body)
		if res.Status != c.status || c.text != "" && res.Text() != c.text || c.err != nil && !errors.Is(res.Err, c.err) {
			t.Errorf("%s: %d %q %v", c.name, res.Status, res.Text(), res.Err)
		}
	}
}
