package command

import (
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/pagi-go/pagi-bridge/pagi/pubsub"
)

// hubHandler publishes what is posted: the path is the channel, the body the message, the header
// X-Event the name of the event. A body of application/octet-stream is a binary message. The answer is
// the id of the message.
func hubHandler(broker pubsub.Broker) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			w.Header().Set("Allow", http.MethodPost)
			http.Error(w, "Messages are sent by POST.", http.StatusMethodNotAllowed)
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, pubsub.DefaultMaxMessage))
		var large *http.MaxBytesError
		switch {
		case errors.As(err, &large):
			err = pubsub.ErrTooLarge
		case err != nil:
			return // the client has gone
		}
		id := ""
		if err == nil {
			id, err = broker.Publish(r.Context(), strings.TrimPrefix(r.URL.Path, "/"), pubsub.Message{
				Name: r.Header.Get("X-Event"), Data: string(body), Binary: r.Header.Get("Content-Type") == "application/octet-stream",
			})
		}
		if err != nil {
			http.Error(w, err.Error(), hubStatus(err))
			return
		}
		_, _ = io.WriteString(w, id+"\n") // the message is published, whether or not the client hears of it
	}
}

// hubStatus is the status for an error of Publish.
func hubStatus(err error) int {
	switch {
	case errors.Is(err, pubsub.ErrTooLarge):
		return http.StatusRequestEntityTooLarge
	case errors.Is(err, pubsub.ErrTooMany), errors.Is(err, pubsub.ErrClosed):
		return http.StatusServiceUnavailable
	}
	return http.StatusBadRequest
}
