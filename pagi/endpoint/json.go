package endpoint

import "github.com/pagi-go/pagi-bridge/pagi/response"

// JSON makes a Func of a function whose request and response are values in JSON. A body that cannot be
// decoded into an In is answered with 400, 413 or 415, as request.Request.JSON says. The Out is
// answered with 200, or is a *response.Response.
//
//	r.Post("/orders", endpoint.JSON(func(c *endpoint.Context, o Order) (Receipt, error) { ... }))
func JSON[In, Out any](f func(c *Context, in In) (Out, error)) Func {
	return func(c *Context) (*response.Response, error) {
		var in In
		if err := c.JSON(&in); err != nil {
			return nil, err
		}
		out, err := f(c, in)
		if err != nil {
			return nil, err
		}
		if r, ok := any(out).(*response.Response); ok {
			return r, nil
		}
		return response.JSON(out), nil
	}
}
