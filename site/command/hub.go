package command

import (
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/pagi-go/pagi-bridge/pagi/pubsub"
)

// hubHandler publishes what is posted: the path is the channel, the body the message, the header
// X-Event the name of the event. A body of application/octet-stream is a binary message. The answer
// is the id of the message.
func hubHandler(broker func() pubsub.Broker) http.HandlerFunc {
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
		channel, m := strings.TrimPrefix(r.URL.Path, "/"), pubsub.Message{
			Name: r.Header.Get("X-Event"), Data: string(body), Binary: r.Header.Get("Content-Type") == "application/octet-stream",
		}
		if err := errors.Join(pubsub.CheckName(channel), m.Check()); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		id := ""
		if err == nil {
			id, err = broker().Publish(r.Context(), channel, m)
		}
		switch {
		case errors.Is(err, pubsub.ErrTooLarge):
			http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
			return
		case err != nil:
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, id+"\n") // the message is published, whether or not the client hears of it
	}
}
