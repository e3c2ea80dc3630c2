package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-playground/validator/v10"

	"github.com/usher-auth/usher/internal/codes"
	"github.com/usher-auth/usher/internal/principal"
	"github.com/usher-auth/usher/internal/strictjson"
	"github.com/usher-auth/usher/permissions"
	"github.com/usher-auth/usher/session"
)

// Bodies and queries are structs: the json tag is the name of a field, and the
// validate tag its rule. Unknown names are refused, and so are values of another type.
// Values are not converted, and the case of names counts.

// rules are our own validate tags, in addition to those of the library.
var rules = map[string]func(text string) bool{
	"room":         func(s string) bool { return permissions.CheckID(permissions.RoomKind, s) == nil },
	"store":        func(s string) bool { return permissions.CheckID(permissions.StoreKind, s) == nil },
	"directory_id": principal.IsID,
	"kind":         func(s string) bool { _, err := permissions.ParseKind(s); return err == nil },
	"access":       func(s string) bool { a, err := permissions.ParseAccess(s); return err == nil && a != permissions.None },
	"time":         func(s string) bool { _, err := time.Parse(time.RFC3339, s); return err == nil },
	"future":       func(s string) bool { at, err := time.Parse(time.RFC3339, s); return err == nil && at.After(time.Now()) },
	"text":         func(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 },
}

// sentences say what a value must be. A wrong type or form is a 400; a value with a
// wrong meaning is a 422.
var sentences = map[string]struct {
	status int
	text   string
}{
	"directory_id": {http.StatusUnprocessableEntity, "must be an id of 1 to 128 characters without control characters"},
	"kind":         {http.StatusBadRequest, "must be room or store"},
	"access":       {http.StatusBadRequest, "must be read or full"},
	"time":         {http.StatusBadRequest, "must be a time like 2030-01-31T18:00:00Z"},
	"future":       {http.StatusUnprocessableEntity, "must be in the future"},
	"text":         {http.StatusBadRequest, "must be UTF-8 without NUL"},
	"oneof":        {http.StatusBadRequest, "must be one of %s"},
	"route":        {http.StatusUnprocessableEntity, "must be one of the routes %s"},
	"environment":  {http.StatusUnprocessableEntity, "must be 2 to 12 lower-case letters"},
	"name":         {http.StatusUnprocessableEntity, "must have 1 to 128 characters"},
	"scope":        {http.StatusUnprocessableEntity, `is missing or empty. A key without a scope could grant nothing. Send for example {"rooms": {"*": "full"}}`},
	"limit":        {http.StatusBadRequest, "must be a number from 1 to 1000"},
	"required":     {http.StatusBadRequest, "is missing"},
}

func newValidator() *validator.Validate {
	v := validator.New(validator.WithRequiredStructEnabled())
	v.RegisterTagNameFunc(nameOf)
	v.RegisterAlias("route", "oneof="+strings.Join(apiKeyRoutes, " "))
	v.RegisterAlias("environment", "min=2,max=12,lowercase,alpha")
	v.RegisterAlias("name", "min=1,max=128")
	v.RegisterAlias("limit", "min=1,max="+strconv.Itoa(maxLimit))
	for tag, holds := range rules {
		err := v.RegisterValidation(tag, func(f validator.FieldLevel) bool { return holds(f.Field().String()) })
		if err != nil {
			panic(err) // the tags are constants
		}
	}
	err := v.RegisterValidation("scope", func(f validator.FieldLevel) bool {
		patterns, ok := f.Field().Interface().(session.Patterns)
		return ok && len(patterns.Rooms)+len(patterns.Stores) > 0
	}, true)
	if err != nil {
		panic(err) // the tag is a constant
	}
	return v
}

func nameOf(f reflect.StructField) string { return f.Tag.Get("json") }

// A fieldSet is a struct that is filled in from a request.
type fieldSet struct {
	value   reflect.Value
	present []string // names of the Go fields that were given, or are required
}

func newFieldSet(into any) *fieldSet {
	s := &fieldSet{value: reflect.ValueOf(into).Elem()}
	for i := range s.value.NumField() {
		f := s.value.Type().Field(i)
		if must := strings.Split(f.Tag.Get("validate"), ","); slices.Contains(must, "required") || slices.Contains(must, "name") || slices.Contains(must, "scope") {
			s.present = append(s.present, f.Name)
		}
	}
	return s
}

// names lists the names of the fields.
func (s *fieldSet) names() (names []string) {
	for i := range s.value.NumField() {
		names = append(names, nameOf(s.value.Type().Field(i)))
	}
	slices.Sort(names)
	return names
}

// get returns a pointer to the field with this name, or nil.
func (s *fieldSet) get(name string) any {
	for i := range s.value.NumField() {
		if f := s.value.Type().Field(i); nameOf(f) == name {
			s.present = append(s.present, f.Name)
			return s.value.Field(i).Addr().Interface()
		}
	}
	return nil
}

// check applies the validate tags of the fields that are present.
func (s *fieldSet) check(v *validator.Validate, place, noun string) error {
	if len(s.present) == 0 {
		return nil
	}
	err := v.StructPartial(s.value.Addr().Interface(), s.present...)
	if err == nil {
		return nil
	}
	faults, ok := errors.AsType[validator.ValidationErrors](err)
	if !ok {
		return err
	}
	return sentenceOf(faults[0], place, noun)
}

// sentenceOf is the only place where an error of the validator becomes ours.
func sentenceOf(fault validator.FieldError, place, noun string) error {
	sentence, known := sentences[fault.Tag()]
	if !known {
		return fmt.Errorf("api: no sentence for the rule %s", fault.Tag())
	}
	text := sentence.text
	if strings.Contains(text, "%s") {
		choices := fault.Param()
		if fault.Tag() == "route" {
			choices = strings.Join(apiKeyRoutes, " ")
		}
		text = fmt.Sprintf(text, strings.ReplaceAll(choices, " ", ", "))
	}
	subject := place + fault.Field()
	if noun != "" {
		subject, sentence.status = "The "+noun+" "+subject, http.StatusBadRequest
	}
	slug := codes.BadRequest
	if sentence.status == http.StatusUnprocessableEntity {
		slug = codes.UnprocessableEntity
	}
	return &requestError{sentence.status, slug, subject + " " + text + "."}
}

// readFields fills in a struct from a JSON object. place is the object's place in the
// body, a prefix for names in errors.
func readFields(v *validator.Validate, body strictjson.Members, into any, place string) error {
	s := newFieldSet(into)
	for _, m := range body {
		field := s.get(m.Name)
		if field == nil {
			return unknownField(place+m.Name, m.Name, s.names())
		}
		if fault := setField(v, field, m.Value, place+m.Name); fault != nil {
			return fault
		}
	}
	return s.check(v, place, "")
}

// setField fills in one field by its type.
func setField(v *validator.Validate, field any, value strictjson.Value, name string) error {
	ok := true
	var must string
	switch field := field.(type) {
	case *string:
		must = "must be a string"
		*field, ok = value.Text()
	case **string: // a field for which the empty string differs from no value
		must = "must be a string"
		var text string
		if text, ok = value.Text(); ok {
			*field = &text
		}
	case *bool:
		must = "must be true or false"
		*field, ok = value.Bool()
	case *[]string:
		must = "must be a list of strings that is not empty; leave it out for the default"
		*field, ok = readStrings(value)
		ok = ok && len(*field) > 0
	case *json.RawMessage:
		must = "must be an object"
		if _, ok = value.Members(); ok {
			*field = json.RawMessage(value.Raw())
		}
	case *session.Patterns:
		must = readPatterns(field, value)
		ok = must == ""
	case *[]grantRequest:
		elements, isList := value.Elements()
		if !isList || len(elements) > maxBatch {
			return badRequest(fmt.Sprintf("%s must be a list of at most %d grants.", name, maxBatch))
		}
		*field = make([]grantRequest, len(elements))
		for i, e := range elements {
			at := fmt.Sprintf("%s[%d]", name, i)
			members, isObject := e.Members()
			if !isObject {
				return badRequest(at + " must be an object.")
			}
			if err := readFields(v, members, &(*field)[i], at+"."); err != nil {
				return err
			}
		}
		return nil
	default:
		return fmt.Errorf("api: no reader for a %T", field)
	}
	if !ok {
		return badRequest(name + " " + must + ".")
	}
	return nil
}

// readPatterns reads a scope. If the value is not valid, it returns what it must be.
func readPatterns(to *session.Patterns, value strictjson.Value) (must string) {
	kinds, ok := value.Members()
	if !ok {
		return `must be an object: {"rooms": {"acme:*": "full"}}`
	}
	for _, kind := range kinds {
		if kind.Name != "rooms" && kind.Name != "stores" {
			return "may have the fields rooms and stores only"
		}
	}
	if err := json.Unmarshal([]byte(value.Raw()), to); err != nil {
		return "is not {kind: {pattern: \"read\" or \"full\"}}: " + strings.TrimPrefix(err.Error(), "permissions: ")
	}
	for _, r := range slices.Concat(to.Rooms, to.Stores) {
		if r.Access != permissions.Read && r.Access != permissions.Full {
			return "has an access that is neither read nor full"
		}
	}
	return ""
}

// readQuery fills in structs from the query. Unknown parameters are refused: ignoring a
// misspelled filter would return more than was asked for.
func readQuery(v *validator.Validate, rawQuery string, into ...any) error {
	query, err := url.ParseQuery(rawQuery)
	if err != nil {
		return badRequest("The query is not valid: percent-encode its values.")
	}
	sets, names := make([]*fieldSet, len(into)), []string(nil)
	for i, of := range into {
		sets[i] = newFieldSet(of)
		names = append(names, sets[i].names()...)
	}
	slices.Sort(names)
	for name, values := range query {
		var field any
		for _, s := range sets {
			if field == nil {
				field = s.get(name)
			}
		}
		switch {
		case field == nil:
			return unknownParameter(name, names)
		case len(values) > 1:
			return badRequest("The parameter " + name + " is given twice.")
		case values[0] == "": // an empty filter would also return more than was asked for
			return badRequest("The parameter " + name + " is empty. Leave it out.")
		}
		if must := setParameter(field, values[0]); must != "" {
			return badRequest("The parameter " + name + " " + must + ".")
		}
	}
	for _, s := range sets {
		if err := s.check(v, "", "parameter"); err != nil {
			return err
		}
	}
	return nil
}

// setParameter fills in one field by its type. If the text is not valid, it returns what
// it must be.
func setParameter(field any, text string) (must string) {
	switch field := field.(type) {
	case *string:
		*field = text
	case *bool:
		*field = text == "true"
		if text != "true" && text != "false" {
			return "must be true or false"
		}
	case *int:
		var err error
		if *field, err = strconv.Atoi(text); err != nil {
			*field = -1 // the limit rule refuses it
		}
	}
	return ""
}

// unknownField refuses a name of a body.
func unknownField(at, name string, allowed []string) error {
	return badRequest(unknownName("field", at, name, allowed))
}

func unknownParameter(name string, allowed []string) error {
	return badRequest(unknownName("parameter", name, name, allowed))
}

func unknownName(noun, at, name string, allowed []string) string {
	if len(allowed) == 0 {
		return fmt.Sprintf("Unknown %s %.64q. This route has no %ss.", noun, at, noun)
	}
	hint := ""
	for _, other := range allowed {
		if strings.EqualFold(other, name) {
			hint = fmt.Sprintf(" Did you mean %s?", other)
		}
	}
	return fmt.Sprintf("Unknown %s %.64q.%s Allowed %ss: %s.", noun, at, hint, noun, strings.Join(allowed, ", "))
}

// timeOf, kindOf and accessOf read a text that its rule has accepted. For an empty text
// they return the zero value.
func timeOf(text string) time.Time {
	at, _ := time.Parse(time.RFC3339, text)
	return at
}

func kindOf(text string) permissions.Kind {
	kind, _ := permissions.ParseKind(text)
	return kind
}

func accessOf(text string) permissions.Access {
	access, _ := permissions.ParseAccess(text)
	return access
}
