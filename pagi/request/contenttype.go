package request

import "mime"

func (r *Request) ContentType() (mediaType string, params map[string]string) {
	t, p, _ := mime.ParseMediaType(r.Header("content-type"))
	return t, p
}
