package api

import (
	"net/http"
	"net/url"

	"github.com/go-chi/chi/v5"
	"github.com/go-playground/validator/v10"

	"github.com/usher-auth/usher/internal/admin"
	"github.com/usher-auth/usher/internal/principal"
	"github.com/usher-auth/usher/internal/strictjson"
)

// An adminCall is one request to the admin API whose admin key allows it.
type adminCall struct {
	request  *http.Request
	actor    admin.Actor
	body     strictjson.Members
	validate *validator.Validate
}

// id returns an id from the path.
func (c *adminCall) id(name string) (string, error) {
	text := chi.URLParam(c.request, name)
	if c.request.URL.RawPath != "" { // in this case the router has not decoded it
		var err error
		if text, err = url.PathUnescape(text); err != nil {
			return "", badRequest("The " + name + " in the path is not valid percent-encoding (RFC 3986).")
		}
	}
	if text == "" {
		return "", errNotFound
	}
	if !principal.IsID(text) {
		return "", badRequest("The " + name + " in the path must be 1 to 128 characters of UTF-8 without control characters.")
	}
	return text, nil
}

// only returns the id in the path of a request that has no other field or parameter.
func (c *adminCall) only(name string) (string, error) {
	id, err := c.id(name)
	if err != nil {
		return "", err
	}
	return id, c.read(&noFields{})
}

// readBody reads and checks the body, which may be empty.
func (c *adminCall) readBody(w http.ResponseWriter, largest int64) (body []byte, err error) {
	if body, err = readBody(w, c.request, largest); err != nil || len(body) == 0 {
		return nil, err
	}
	if !isJSON(c.request.Header.Values("Content-Type")) {
		return nil, errNotJSON
	}
	c.body, err = parseObject(body)
	return body, err
}

// read fills in a struct from the body. It refuses a query.
func (c *adminCall) read(into any) error {
	if c.request.URL.RawQuery != "" {
		return badRequest("This route takes no query parameters.")
	}
	return readFields(c.validate, c.body, into, "")
}

// readQuery fills in structs from the query. It refuses fields in a body.
func (c *adminCall) readQuery(into ...any) error {
	if err := readFields(c.validate, c.body, &noFields{}, ""); err != nil {
		return err
	}
	return readQuery(c.validate, c.request.URL.RawQuery, into...)
}
