package audit_test

import (
	"encoding/hex"
	"encoding/json"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/usher-auth/usher/audit"
	"github.com/usher-auth/usher/permissions"
)

// vector is one row of testdata/vectors.json. testdata/vectors.py makes it, written only from
// the description of the encoding.
type vector struct {
	Name           string          `json:"name"`
	ID             int64           `json:"id"`
	Record         *audit.Record   `json:"record"`
	Salt           string          `json:"salt"`
	IP             string          `json:"ip"`
	UserAgent      *string         `json:"userAgent"`
	Origin         *string         `json:"origin"`
	PersonalDigest string          `json:"personalDigest"`
	Change         *audit.Change   `json:"change"`
	Details        json.RawMessage `json:"-"`
	Digest         string          `json:"digest"`
	Leaf           string          `json:"leaf"`
}

// All sealed audits use these encodings, so these digests never change.
func TestVectors(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []vector
	if err := json.Unmarshal(text, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors) < 6 {
		t.Fatalf("only %d vectors", len(vectors))
	}
	equal := func(t *testing.T, what, want string, got []byte) {
		t.Helper()
		if want != hex.EncodeToString(got) {
			t.Errorf("%s = %x, want %s", what, got, want)
		}
	}
	for _, v := range vectors {
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			if v.Change != nil {
				digest := v.Change.Digest()
				equal(t, "digest", v.Digest, digest[:])
				leaf := audit.ChangeLeaf(v.ID, v.Change.ChangedAt, digest[:])
				equal(t, "leaf", v.Leaf, leaf[:])
				return
			}
			salt, err := hex.DecodeString(v.Salt)
			if err != nil || len(salt) != audit.SaltSize {
				t.Fatalf("salt %q: %v", v.Salt, err)
			}
			var ip netip.Prefix
			if v.IP != "" {
				ip = netip.MustParsePrefix(v.IP)
			}
			personal := audit.PersonalDigest(salt, ip, v.UserAgent, v.Origin)
			equal(t, "personal digest", v.PersonalDigest, personal[:])
			digest := v.Record.Digest(personal[:])
			equal(t, "digest", v.Digest, digest[:])
			leaf := audit.DecisionLeaf(v.ID, v.Record.RecordedAt, digest[:])
			equal(t, "leaf", v.Leaf, leaf[:])
		})
	}
}

func rule(kind permissions.Kind, pattern string, access permissions.Access) permissions.Rule {
	return permissions.Rule{Pattern: permissions.MustPattern(kind, pattern), Access: access}
}

// A decision becomes a row with the same values. Empty values become null.
func TestNewRecord(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 5, 14, 2, 11, 0, time.UTC)
	patterns := audit.Patterns{Rooms: []permissions.Rule{rule(permissions.RoomKind, "b", permissions.Full), rule(permissions.RoomKind, "a*", permissions.Read)}}
	got := audit.NewRecord(&audit.Decision{
		Token: &audit.Token{ID: "j", KeyID: "k", Audience: "sync", ExpiresAt: at.Add(time.Minute), Patterns: patterns, Partial: true},
		At:    at, CallerKind: audit.CallerSession, UserID: "ada", Request: audit.Request{Room: "b"}, RequestID: "R", SkippedGrants: []int64{7},
	}, "replica")
	text, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"issuedAt":"2026-11-05T14:02:11Z","recordedAt":"0001-01-01T00:00:00Z","result":"issued","callerKind":"session","userId":"ada",` +
		`"audience":"sync","room":"b","patterns":{"rooms":{"b":"full","a*":"read"}},"partial":true,"skippedGrants":[7],"jti":"j","kid":"k",` +
		`"expiresAt":"2026-11-05T14:03:11Z","requestId":"R","replica":"replica"}`
	if diff := cmp.Diff(want, string(text)); diff != "" {
		t.Errorf("JSON (-want +got):\n%s", diff)
	}
	// A row that is written and read back has the same digest.
	var read audit.Record
	if err := json.Unmarshal(text, &read); err != nil {
		t.Fatal(err)
	}
	if read.Digest(nil) != got.Digest(nil) {
		t.Error("the digest changes when the row is read back")
	}
}

func TestPatternsRefuseWhatUsherDoesNotWrite(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		`[]`, `null`, `"x"`, `1`, `{"desks": {}}`, `{"rooms": null}`, `{"rooms": []}`, `{"rooms": {"a": null}}`, `{"rooms": {"a": 1}}`,
		`{"rooms": {"a": "admin"}}`, `{"rooms": {"a**": "read"}}`, `{"stores": {"a:b": "read"}}`, `{"Rooms": {}}`,
	} {
		var p audit.Patterns
		if err := p.UnmarshalJSON([]byte(text)); err == nil {
			t.Errorf("%s is read as %+v, want an error", text, p)
		}
	}
}
