package api

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/usher-auth/usher/internal/strictjson"
)

// A body is read completely, with limits on its size and time, before its request
// takes anything that other requests wait for.
const (
	maxBody  = 64 << 10
	maxDepth = 16
	// maxBatchBody is enough for [maxBatch] grants with the longest possible ids.
	maxBatchBody = 4 << 20
	// bodyWithin bounds the time in which a body must arrive; batchWithin is for a batch.
	bodyWithin, batchWithin = 2 * time.Second, 8 * time.Second
)

// readBody reads a body of at most limit bytes.
func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if r.Body == nil || r.Body == http.NoBody {
		return nil, nil
	}
	within := bodyWithin
	if limit > maxBody {
		within = batchWithin
	}
	// This fails for a test's recorder, which needs no deadline.
	connection := http.NewResponseController(w)
	_ = connection.SetReadDeadline(time.Now().Add(within))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if err == nil {
		_ = connection.SetReadDeadline(time.Time{})
		return body, nil
	}
	// Do not wait for the rest of the body. Over HTTP/2, only the stream ends: many
	// clients may share the connection.
	if r.ProtoMajor == 1 {
		w.Header().Set("Connection", "close")
	}
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return nil, tooLargeFor(limit)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, errSlowBody
	}
	return nil, badRequest("The request body ended early.")
}

// readObject reads a JSON object. It does not check the content type.
func readObject(w http.ResponseWriter, r *http.Request) (strictjson.Members, error) {
	body, err := readBody(w, r, maxBody)
	if err != nil {
		return nil, err
	}
	return parseObject(body)
}

func parseObject(body []byte) (strictjson.Members, error) {
	members, err := strictjson.Object(body, maxDepth)
	if e, ok := errors.AsType[*strictjson.SyntaxError](err); ok {
		return nil, badRequest(fmt.Sprintf("The request body is not a valid JSON object (byte %d: %s).", e.Offset, e.Reason))
	}
	return members, err
}

// isJSON reports whether the Content-Type is application/json, with no charset or with
// UTF-8. An HTML form can never send this type (OWASP ASVS 3.5.2).
func isJSON(contentTypes []string) bool {
	if len(contentTypes) != 1 {
		return false
	}
	if contentTypes[0] == "application/json" {
		return true
	}
	media, parameters, err := mime.ParseMediaType(contentTypes[0])
	if err != nil || media != "application/json" {
		return false
	}
	for name, value := range parameters {
		if name != "charset" || !strings.EqualFold(value, "utf-8") && !strings.EqualFold(value, "utf8") {
			return false
		}
	}
	return true
}

func readStrings(value strictjson.Value) ([]string, bool) {
	elements, ok := value.Elements()
	if !ok {
		return nil, false
	}
	list := make([]string, len(elements))
	for i, e := range elements {
		if list[i], ok = e.Text(); !ok {
			return nil, false
		}
	}
	return list, true
}
