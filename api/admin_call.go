package api

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-chi/chi/v5"

	"github.com/usher-auth/usher/internal/admin"
	"github.com/usher-auth/usher/internal/strictjson"
	"github.com/usher-auth/usher/permissions"
	"github.com/usher-auth/usher/session"
)

// An adminCall is one request of an administrator who may make it.
type adminCall struct {
	request *http.Request
	actor   admin.Actor
	body    strictjson.Members
}

// id returns an id that stands in the path.
func (c *adminCall) id(name string) (string, error) {
	text := chi.URLParam(c.request, name)
	if c.request.URL.RawPath != "" { // then the router has not decoded it
		var err error
		if text, err = url.PathUnescape(text); err != nil {
			return "", badRequest("The " + name + " in the path is not percent-encoded as RFC 3986 has it.")
		}
	}
	if text == "" {
		return "", errNotFound
	}
	if !session.IsDirectoryID(text) {
		return "", badRequest("The " + name + " in the path must be 1 to 128 characters of UTF-8, none of them a control character.")
	}
	return text, nil
}

// only returns the id in the path of a request that has nothing more to say.
func (c *adminCall) only(name string) (string, error) {
	id, err := c.id(name)
	if err != nil {
		return "", err
	}
	return id, c.read(nil)
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

// fields are the members that a body may have, each with what reads it and
// says, where it is wrong, how it must be: "must be a string".
type fields map[string]func(strictjson.Value) string

// read reads a request that has all in its path and its body. Members that are
// not listed are refused: a misspelt one would be lost.
func (c *adminCall) read(known fields) error {
	if c.request.URL.RawQuery != "" {
		return badRequest("This route takes no query parameters.")
	}
	return readFields(c.body, known, "")
}

// readFields is read for an object at some place of the body.
func readFields(body strictjson.Members, known fields, place string) error {
	for _, m := range body {
		read, ok := known[m.Name]
		if !ok {
			return badRequest(fmt.Sprintf("usher does not know the member %.64q%s here: %s.", place+m.Name, nearest(m.Name, known), listOf(known, "member")))
		}
		if fault := read(m.Value); fault != "" {
			return badRequest(place + m.Name + " " + fault + ".")
		}
	}
	return nil
}

// nearest hints at a name that differs in case alone.
func nearest[V any](name string, known map[string]V) string {
	for k := range known {
		if strings.EqualFold(k, name) {
			return fmt.Sprintf(" (is it %s?)", k)
		}
	}
	return ""
}

func listOf[V any](known map[string]V, noun string) string {
	if len(known) == 0 {
		return "it takes none"
	}
	return "the " + noun + "s are " + strings.Join(slices.Sorted(maps.Keys(known)), ", ")
}

func text(to *string) func(strictjson.Value) string {
	return func(v strictjson.Value) (fault string) {
		var ok bool
		if *to, ok = v.Text(); !ok {
			return "must be a string"
		}
		return ""
	}
}

// optionalText tells a string that is empty from one that is absent.
func optionalText(to **string) func(strictjson.Value) string {
	return func(v strictjson.Value) (fault string) {
		*to = new(string)
		return text(*to)(v)
	}
}

func texts(to *[]string) func(strictjson.Value) string {
	return func(v strictjson.Value) (fault string) {
		var ok bool
		if *to, ok = readStrings(v); !ok || len(*to) == 0 {
			return "must be a list of strings that is not empty: leave it out for the default"
		}
		return ""
	}
}

func boolean(to *bool) func(strictjson.Value) string {
	return func(v strictjson.Value) (fault string) {
		var ok bool
		if *to, ok = v.Bool(); !ok {
			return "must be true or false"
		}
		return ""
	}
}

func object(to *json.RawMessage) func(strictjson.Value) string {
	return func(v strictjson.Value) (fault string) {
		if _, ok := v.Members(); !ok {
			return "must be an object"
		}
		*to = json.RawMessage(v.Raw())
		return ""
	}
}

// parsed reads a string by the function that reads the same as a parameter.
func parsed(parse func(string) string) func(strictjson.Value) string {
	return func(v strictjson.Value) (fault string) {
		text, ok := v.Text()
		if !ok {
			return "must be a string"
		}
		return parse(text)
	}
}

func patterns(to *session.Patterns) func(strictjson.Value) string {
	return func(v strictjson.Value) (fault string) {
		kinds, ok := v.Members()
		if !ok {
			return `must be an object: {"rooms": {"acme:*": "full"}}`
		}
		for _, kind := range kinds {
			if kind.Name != "rooms" && kind.Name != "stores" {
				return "has the members rooms and stores, and no other"
			}
		}
		if err := json.Unmarshal([]byte(v.Raw()), to); err != nil {
			return "is not {kind: {pattern: \"read\" or \"full\"}}: " + strings.TrimPrefix(err.Error(), "permissions: ")
		}
		for _, r := range slices.Concat(to.Rooms, to.Stores) {
			if r.Access != permissions.Read && r.Access != permissions.Full {
				return "gives an access that is neither read nor full"
			}
		}
		return ""
	}
}

// params are the query parameters that a request may have, each with what reads
// it and says, where it is wrong, how it must be.
type params map[string]func(string) string

// readParams reads the query. Parameters that are not listed are refused: a
// misspelt filter would widen what it was to narrow.
func (c *adminCall) readParams(known params) error {
	query, err := url.ParseQuery(c.request.URL.RawQuery)
	if err != nil {
		return badRequest("The query is not one that usher can read: percent-encode its values.")
	}
	for name, values := range query {
		read, ok := known[name]
		switch {
		case !ok:
			return badRequest(fmt.Sprintf("usher does not know the parameter %.64q%s here: %s.", name, nearest(name, known), listOf(known, "parameter")))
		case len(values) > 1:
			return badRequest("The parameter " + name + " is there twice.")
		case values[0] == "": // which would widen the answer, too
			return badRequest("The parameter " + name + " is empty: leave it out.")
		}
		if fault := read(values[0]); fault != "" {
			return badRequest("The parameter " + name + " " + fault + ".")
		}
	}
	return nil
}

func textParam(to *string) func(string) string {
	return func(text string) (fault string) {
		*to = text
		if !utf8.ValidString(text) || strings.IndexByte(text, 0) >= 0 {
			return "must be UTF-8 without NUL"
		}
		return ""
	}
}

func timeParam(to *time.Time) func(string) string {
	return func(text string) (fault string) {
		var err error
		if *to, err = time.Parse(time.RFC3339, text); err != nil {
			return "must be a time like 2030-01-31T18:00:00Z"
		}
		return ""
	}
}

func limitParam(to *int) func(string) string {
	return func(text string) (fault string) {
		var err error
		if *to, err = strconv.Atoi(text); err != nil || *to < 1 || *to > maxLimit {
			return fmt.Sprintf("must be a number from 1 to %d", maxLimit)
		}
		return ""
	}
}

func boolParam(to *bool) func(string) string {
	return func(text string) (fault string) {
		*to = text == "true"
		if text != "true" && text != "false" {
			return "must be true or false"
		}
		return ""
	}
}

func kindParam(to *permissions.Kind) func(string) string {
	return func(text string) (fault string) {
		var err error
		if *to, err = permissions.ParseKind(text); err != nil {
			return "must be room or store"
		}
		return ""
	}
}

func accessParam(to *permissions.Access) func(string) string {
	return func(text string) (fault string) {
		var err error
		if *to, err = permissions.ParseAccess(text); err != nil || *to == permissions.None {
			return "must be read or full"
		}
		return ""
	}
}

func oneOf(to *string, choices ...string) func(string) string {
	return func(text string) (fault string) {
		*to = text
		if !slices.Contains(choices, text) {
			return "must be one of " + strings.Join(choices, ", ")
		}
		return ""
	}
}
