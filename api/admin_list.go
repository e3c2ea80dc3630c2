package api

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"maps"

	"github.com/usher-auth/usher/internal/admin"
)

const (
	defaultLimit = 100
	maxLimit     = 1_000
)

var errCursor = badRequest("This cursor is none that usher gave for this very list: begin without one, and change nothing but the limit on the way.")

// listAnswer is one part of a list.
type listAnswer[Row any] struct {
	Items      []Row  `json:"items"`
	NextCursor string `json:"nextCursor,omitempty"` // absent at the end
}

// answerList answers with the part of a list that the request asks for. fetch
// gets the rows after a place, which is that of the last row shown before.
func answerList[Row any, Place comparable](
	ctx context.Context, a *Admin, c *adminCall, known params,
	fetch func(context.Context, admin.Page[Place]) ([]Row, error), place func(*Row) Place,
) (any, error) {
	limit, cursor := defaultLimit, ""
	all := params{"limit": limitParam(&limit), "cursor": textParam(&cursor)}
	maps.Copy(all, known)
	if err := c.readParams(all); err != nil {
		return nil, err
	}
	page := admin.Page[Place]{Limit: limit + 1} // one more shows that there is more
	// A cursor is worth something for its own route and filter alone.
	filter := c.request.URL.Query()
	filter.Del("cursor")
	filter.Del("limit")
	bound := []byte(c.request.URL.EscapedPath() + "?" + filter.Encode())
	if cursor != "" {
		if err := a.openCursor(cursor, bound, &page.After); err != nil {
			return nil, err
		}
	}
	rows, err := fetch(ctx, page)
	if err != nil {
		return nil, err
	}
	answer := listAnswer[Row]{Items: rows}
	if len(rows) > limit {
		answer.Items = rows[:limit]
		if answer.NextCursor, err = a.sealCursor(place(&rows[limit-1]), bound); err != nil {
			return nil, err
		}
	}
	return answer, nil
}

// sealCursor writes a place so that nobody but usher can read or make one.
func (a *Admin) sealCursor(place any, bound []byte) (string, error) {
	text, err := json.Marshal(place)
	if err != nil {
		return "", err
	}
	sealed := a.cursors.Seal(nil, nil, text, bound) //nolint:gosec // it makes a nonce of its own
	return base64.RawURLEncoding.EncodeToString(sealed), nil
}

func (a *Admin) openCursor(cursor string, bound []byte, place any) error {
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil || base64.RawURLEncoding.EncodeToString(sealed) != cursor { // it would take line breaks
		return errCursor
	}
	text, err := a.cursors.Open(nil, nil, sealed, bound)
	if err != nil {
		return errCursor
	}
	return json.Unmarshal(text, place)
}
