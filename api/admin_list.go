package api

import (
	"context"

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

// answerList answers with the part of a list that the request asks for. place returns
// the place of a row in the list. fetch returns the rows after a place: that of the
// last row of the part before. The structs in filter are filled in from the query
// before fetch is called.
func answerList[Row any, Place comparable](
	ctx context.Context, a *Admin, c *adminCall,
	fetch func(context.Context, admin.Page[Place]) ([]Row, error), place func(*Row) Place, filter ...any,
) (any, error) {
	q := listQuery{Limit: defaultLimit}
	if err := c.readQuery(append(filter, &q)...); err != nil {
		return nil, err
	}
	page := admin.Page[Place]{Limit: q.Limit + 1} // one more row shows whether there is a next part
	// A cursor is valid only for its own path and filter.
	query := c.request.URL.Query()
	query.Del("cursor")
	query.Del("limit")
	list := []byte(c.request.URL.EscapedPath() + "?" + query.Encode())
	if q.Cursor != "" {
		if err := a.cursors.decrypt(q.Cursor, list, &page.After); err != nil {
			return nil, err
		}
	}
	rows, err := fetch(ctx, page)
	if err != nil {
		return nil, err
	}
	answer := listAnswer[Row]{Items: rows}
	if len(rows) > q.Limit {
		answer.Items = rows[:q.Limit]
		if answer.NextCursor, err = a.cursors.encrypt(place(&rows[q.Limit-1]), list); err != nil {
			return nil, err
		}
	}
	return answer, nil
}
