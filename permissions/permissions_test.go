package permissions_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/usher-auth/usher/permissions"
)

func room(text string) permissions.Pattern {
	return permissions.MustPattern(permissions.RoomKind, text)
}

func store(text string) permissions.Pattern {
	return permissions.MustPattern(permissions.StoreKind, text)
}

func read(text string) permissions.Rule {
	return permissions.Rule{Pattern: room(text), Access: permissions.Read}
}

func full(text string) permissions.Rule {
	return permissions.Rule{Pattern: room(text), Access: permissions.Full}
}

func TestAccessText(t *testing.T) {
	t.Parallel()
	for access, text := range map[permissions.Access]string{
		permissions.None: "none",
		permissions.Read: "read",
		permissions.Full: "full",
	} {
		if got := access.String(); got != text {
			t.Errorf("String() = %q, want %q", got, text)
		}
		if got, err := permissions.ParseAccess(text); err != nil || got != access {
			t.Errorf("ParseAccess(%q) = %v, %v, want %v", text, got, err, access)
		}
		encoded, err := json.Marshal(map[string]permissions.Access{"a": access})
		if want := `{"a":"` + text + `"}`; err != nil || string(encoded) != want {
			t.Errorf("Marshal = %s, %v, want %s", encoded, err, want)
		}
	}
	for _, text := range []string{"", "FULL", "Full", " full", "write", "2", strings.Repeat("full", 1000)} {
		access := permissions.Read
		err := access.UnmarshalText([]byte(text))
		if err == nil || access != permissions.Read {
			t.Errorf("UnmarshalText(%.10q) = %v, leaving %v; want an error, leaving read", text, err, access)
		} else if len(err.Error()) > 200 {
			t.Errorf("UnmarshalText(%.10q): message of %d bytes", text, len(err.Error()))
		}
	}
	if text, err := (permissions.Full + 1).MarshalText(); err == nil {
		t.Errorf("MarshalText of no access = %q, want an error", text)
	}
	if got, want := (permissions.Full + 1).String(), "Access(3)"; got != want {
		t.Errorf("String() = %q, want %q", got, want)
	}
}

func TestAccessOrder(t *testing.T) {
	t.Parallel()
	if permissions.None >= permissions.Read || permissions.Read >= permissions.Full {
		t.Errorf("want none < read < full, got %d, %d, %d", permissions.None, permissions.Read, permissions.Full)
	}
}

func TestKindText(t *testing.T) {
	t.Parallel()
	for kind, text := range map[permissions.Kind]string{
		permissions.RoomKind:  "room",
		permissions.StoreKind: "store",
	} {
		if got := kind.String(); got != text {
			t.Errorf("String() = %q, want %q", got, text)
		}
		if got, err := permissions.ParseKind(text); err != nil || got != kind {
			t.Errorf("ParseKind(%q) = %v, %v, want %v", text, got, err, kind)
		}
	}
	for _, text := range []string{"", "Room", "rooms", "Kind(0)"} {
		if got, err := permissions.ParseKind(text); err == nil || got != 0 {
			t.Errorf("ParseKind(%q) = %v, %v, want an error", text, got, err)
		}
	}
	if got, want := permissions.Kind(0).String(), "Kind(0)"; got != want {
		t.Errorf("String() = %q, want %q", got, want)
	}
}

// The vectors test the ids of rooms. This tests ids that JSON cannot contain, and stores.
func TestCheckID(t *testing.T) {
	t.Parallel()
	const (
		roomKind  = permissions.RoomKind
		storeKind = permissions.StoreKind
	)
	for _, c := range []struct {
		name   string
		kind   permissions.Kind
		id     string
		reason string // "": the id is good
	}{
		{"the whole charset", storeKind, "azAZ09_-", ""},
		{"128 units", storeKind, strings.Repeat("a", 128), ""},
		{"129 units", storeKind, strings.Repeat("a", 129), "is longer than 128 UTF-16 units"},
		{"colon in a store", storeKind, "acme:notes", "contains a character that store ids cannot have: use A-Z, a-z, 0-9, '_' and '-'"},
		{"blank in a store", storeKind, "acme notes", "contains a character that store ids cannot have: use A-Z, a-z, 0-9, '_' and '-'"},
		{"letter beyond ASCII in a store", storeKind, "ａcme", "contains a character that store ids cannot have: use A-Z, a-z, 0-9, '_' and '-'"},
		{"empty", storeKind, "", "is empty"},
		{"wildcard", storeKind, "acme_*", "contains a '*', which is allowed only at the end of a pattern"},
		{"64 pairs of surrogates", roomKind, strings.Repeat("😀", 64), ""},
		{"one unit more", roomKind, strings.Repeat("😀", 64) + "a", "is longer than 128 UTF-16 units"},
		{"128 units of three bytes", roomKind, strings.Repeat("日", 128), ""},
		{"129 units of three bytes", roomKind, strings.Repeat("日", 129), "is longer than 128 UTF-16 units"},
		{"a megabyte", roomKind, strings.Repeat("a", 1<<20), "is longer than 128 UTF-16 units"},
		{"replacement character", roomKind, "\uFFFD", ""},
		{"bare continuation byte", roomKind, "a\x80", "is not valid UTF-8"},
		{"cut rune", roomKind, "日"[:2], "is not valid UTF-8"},
		{"surrogate in UTF-8", roomKind, "\xed\xa0\x80", "is not valid UTF-8"},
		{"overlong slash", roomKind, "\xc0\xaf", "is not valid UTF-8"},
		{"no kind", 0, "acme", "is of no known kind"},
		{"unknown kind", 3, "acme", "is of no known kind"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			reason := ""
			if err := permissions.CheckID(c.kind, c.id); err != nil {
				idErr, ok := errors.AsType[*permissions.IDError](err)
				if !ok {
					t.Fatalf("got a %T, want an *IDError", err)
				}
				reason = idErr.Reason
				if len(err.Error()) > 300 {
					t.Errorf("message of %d bytes", len(err.Error()))
				}
			}
			if reason != c.reason {
				t.Errorf("CheckID(%.40q) = %q, want %q", c.id, reason, c.reason)
			}
		})
	}
}

func TestResource(t *testing.T) {
	t.Parallel()
	if got, want := permissions.Room("a"), (permissions.Resource{Kind: permissions.RoomKind, ID: "a"}); got != want {
		t.Errorf("Room = %v, want %v", got, want)
	}
	if permissions.Room("a") == permissions.Store("a") {
		t.Error("a room equals a store")
	}
}
