package api

import (
	"context"
	"maps"

	"github.com/usher-auth/usher/internal/admin"
)

const (
	defaultLimit = 100
	maxLimit     = 1_000
)

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
	// A cursor is valid only for its own path and filter.
	filter := c.request.URL.Query()
	filter.Del("cursor")
	filter.Del("limit")
	list := []byte(c.request.URL.EscapedPath() + "?" + filter.Encode())
	if cursor != "" {
		if err := a.cursors.decrypt(cursor, list, &page.After); err != nil {
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
		if answer.NextCursor, err = a.cursors.encrypt(place(&rows[limit-1]), list); err != nil {
			return nil, err
		}
	}
	return answer, nil
}
