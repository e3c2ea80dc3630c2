package strictjson_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/usher-auth/usher/internal/strictjson"
)

const depth = 16

func ExampleObject() {
	body := []byte(`{"room":"acme:\u0031","limits":{"users":20}}`)
	members, err := strictjson.Object(body, depth)
	if err != nil {
		fmt.Println(err)
		return
	}
	room, _ := members.Get("room")
	text, ok := room.Text()
	fmt.Println(text, ok)

	limits, _ := members.Get("limits")
	inner, _ := limits.Members()
	users, _ := inner.Get("users")
	number, ok := users.Float64()
	fmt.Println(number, ok)

	_, err = strictjson.Object([]byte(`{"room":"acme:1","ROOM":"other:1"}`), depth)
	fmt.Println(err)
	// Output:
	// acme:1 true
	// 20 true
	// strictjson: at byte 17: a repeated name in an object
}

func ExampleValue_Elements() {
	value, err := strictjson.Parse([]byte(`["a", 1, null]`), depth)
	if err != nil {
		fmt.Println(err)
		return
	}
	elements, _ := value.Elements()
	for _, e := range elements {
		text, ok := e.Text()
		fmt.Println(e.Raw(), ok, text, e.IsNull())
	}
	// Output:
	// "a" true a false
	// 1 false  false
	// null false  true
}

func TestRefused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, in string
		offset   int
		reason   string
	}{
		{"nothing", "", 0, "unexpected end"},
		{"blanks only", " \n", 2, "unexpected end"},
		{"byte order mark", "\ufeff{}", 0, "expected a value"},
		{"two values", "{} {}", 3, "unexpected text after the value"},
		{"NUL after", "{}\x00", 2, "unexpected text after the value"},
		{"no object", "[]", 0, "not an object"},
		{"null", "null", 0, "not an object"},
		{"comment", "{/**/}", 1, "expected a name in quotes"},
		{"trailing comma", `{"a":1,}`, 7, "expected a name in quotes"},
		{"leading comma", `{,"a":1}`, 1, "expected a name in quotes"},
		{"no comma", `{"a":1"b":2}`, 6, "expected a comma or the end of the object"},
		{"no colon", `{"a" 1}`, 5, "expected a colon"},
		{"single quotes", `{'a':1}`, 1, "expected a name in quotes"},
		{"open object", `{"a":1`, 6, "unexpected end"},
		{"open array", `{"a":[1`, 7, "unexpected end"},
		{"open string", `{"a":"b`, 7, "unexpected end"},
		{"open escape", `{"a":"\`, 6, "an unknown escape in a string"},
		{"array without comma", `{"a":[1 2]}`, 8, "expected a comma or the end of the array"},
		{"array ending in comma", `{"a":[1,]}`, 8, "expected a value"},
		{"upper case literal", `{"a":True}`, 5, "expected a value"},
		{"NaN", `{"a":NaN}`, 5, "expected a value"},
		{"plus", `{"a":+1}`, 5, "expected a value"},
		{"leading zero", `{"a":01}`, 6, "expected a comma or the end of the object"},
		{"bare point", `{"a":1.}`, 7, "expected a digit"},
		{"bare exponent", `{"a":1e+}`, 8, "expected a digit"},
		{"bare minus", `{"a":-}`, 6, "expected a digit"},
		{"duplicate name", `{"a":1,"a":1}`, 7, "a repeated name in an object"},
		{"duplicate name, escaped", `{"a":1,"\u0061":1}`, 7, "a repeated name in an object"},
		{"duplicate name, other case", `{"exp":1,"EXP":2}`, 9, "a repeated name in an object"},
		{"duplicate name, long s", `{"iss":1,"iſs":2}`, 9, "a repeated name in an object"},
		{"duplicate name, Kelvin", `{"b":1,"k":1,"\u212a":2}`, 13, "a repeated name in an object"},
		{"duplicate name, Greek", `{"ΣΣ":1,"σς":2}`, 10, "a repeated name in an object"},
		{"duplicate empty name", `{"":1,"":1}`, 6, "a repeated name in an object"},
		{"duplicate name, nested", `{"a":[{"b":1,"\u0062":1}]}`, 13, "a repeated name in an object"},
		{"raw control character", "{\"a\":\"\x1f\"}", 6, "a control character in a string"},
		{"raw NUL", "{\"a\":\"\x00\"}", 6, "a control character in a string"},
		{"escaped NUL", `{"a":"\u0000"}`, 6, "NUL in a string"},
		{"escaped NUL in a name", `{"a\u0000":1}`, 3, "NUL in a string"},
		{"high half alone", `{"a":"\ud800"}`, 6, "half a surrogate pair in a string"},
		{"low half alone", `{"a":"\udc00"}`, 6, "half a surrogate pair in a string"},
		{"halves swapped", `{"a":"\udc00\ud800"}`, 6, "half a surrogate pair in a string"},
		{"high half twice", `{"a":"\ud800\ud800"}`, 6, "half a surrogate pair in a string"},
		{"half and another escape", `{"a":"\ud83d\nde00"}`, 6, "half a surrogate pair in a string"},
		{"half and no escape", `{"a":"\ud83dxude00"}`, 6, "half a surrogate pair in a string"},
		{"half in a name", `{"\ud800":1}`, 2, "half a surrogate pair in a string"},
		{"unknown escape", `{"a":"\x"}`, 6, "an unknown escape in a string"},
		{"signed hex", `{"a":"\u+041"}`, 6, "an unknown escape in a string"},
		{"bad byte", "{\"a\":\"\xff\"}", 6, "invalid UTF-8"},
		{"bad byte in a name", "{\"\xff\":1}", 2, "invalid UTF-8"},
		{"overlong", "{\"a\":\"\xc0\x80\"}", 6, "invalid UTF-8"},
		{"surrogate in UTF-8", "{\"a\":\"\xed\xa0\x80\"}", 6, "invalid UTF-8"},
		{"17 deep", `{"a":` + strings.Repeat("[", 16) + strings.Repeat("]", 16) + "}", 5 + 15, "nested too deeply"},
		{"100,000 deep", strings.Repeat("[", 100_000), 16, "nested too deeply"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := strictjson.Object([]byte(tt.in), depth)
			want := &strictjson.SyntaxError{Offset: tt.offset, Reason: tt.reason}
			if diff := cmp.Diff(error(want), err); diff != "" {
				t.Errorf("Object(%.40q) (-want +got):\n%s", tt.in, diff)
			}
		})
	}
}

func TestAccepted(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, in, want string }{
		{"blanks", " \t\r\n{ \"a\" : 1 } \n", "a=1"},
		{"empty name", `{"":1}`, "=1"},
		{"names that differ", `{"exp":1,"expo":2,"ex":3}`, "exp=1 expo=2 ex=3"},
		{"not a fold: dotless i", `{"i":1,"ı":2}`, "i=1 ı=2"},
		{"not a fold: sharp s", `{"ss":1,"ß":2}`, "ss=1 ß=2"},
		{"inner names that differ in case", `{"perms":{"acme:*":1,"ACME:*":2}}`, `perms={"acme:*":1,"ACME:*":2}`},
		{"same name in two objects", `{"a":{"a":1},"b":{"a":2}}`, `a={"a":1} b={"a":2}`},
		{"escapes", `{"a":"\"\\\/\b\f\n\r\t\u00e9x"}`, "a=\"\\/\b\f\n\r\téx"},
		{"a pair", `{"a":"\ud83d\uDE00"}`, "a=😀"},
		{"replacement character", `{"a":"\ufffd\uFFFD` + "\ufffd" + `"}`, "a=\ufffd\ufffd\ufffd"},
		{"delete", "{\"a\":\"\x7f\"}", "a=\x7f"},
		{"16 deep", `{"a":` + strings.Repeat("[", 15) + strings.Repeat("]", 15) + "}", "a=" + strings.Repeat("[", 15) + strings.Repeat("]", 15)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			members, err := strictjson.Object([]byte(tt.in), depth)
			if err != nil {
				t.Fatalf("Object(%q): %v", tt.in, err)
			}
			var got []string
			for _, m := range members {
				text, ok := m.Value.Text()
				if !ok {
					text = m.Value.Raw()
				}
				got = append(got, m.Name+"="+text)
			}
			if got := strings.Join(got, " "); got != tt.want {
				t.Errorf("Object(%q) = %q, want %q", tt.in, got, tt.want)
			}
		})
	}
}

// Each accessor reports true only for its own kind of value.
func TestValueKinds(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ in, want string }{
		{`"1"`, "text"},
		{`1`, "number"},
		{`-0.5e-3`, "number"},
		{`1e400`, ""},
		{`-1e400`, ""},
		{`true`, "bool"},
		{`false`, "bool"},
		{`null`, "null"},
		{`{}`, "members"},
		{`[]`, "elements"},
		{``, ""},
	} {
		v, _ := strictjson.Parse([]byte(tt.in), depth)
		var got []string
		if _, ok := v.Text(); ok {
			got = append(got, "text")
		}
		if _, ok := v.Float64(); ok {
			got = append(got, "number")
		}
		if _, ok := v.Bool(); ok {
			got = append(got, "bool")
		}
		if v.IsNull() {
			got = append(got, "null")
		}
		if _, ok := v.Members(); ok {
			got = append(got, "members")
		}
		if _, ok := v.Elements(); ok {
			got = append(got, "elements")
		}
		if got := strings.Join(got, " "); got != tt.want {
			t.Errorf("Parse(%q) answers as %q, want %q", tt.in, got, tt.want)
		}
	}
}

// Inner objects may have names that differ only in case, because there they are ids.
func TestInnerNames(t *testing.T) {
	t.Parallel()
	members, err := strictjson.Object([]byte(`{"perms":{"acme:*":1,"ACME:*":2}}`), depth)
	if err != nil {
		t.Fatal(err)
	}
	perms, _ := members.Get("perms")
	inner, _ := perms.Members()
	for name, want := range map[string]string{"acme:*": "1", "ACME:*": "2"} {
		if v, ok := inner.Get(name); !ok || v.Raw() != want {
			t.Errorf("Get(%q) = %q, %t; want %s", name, v.Raw(), ok, want)
		}
	}
}

func TestGetIsExact(t *testing.T) {
	t.Parallel()
	members, err := strictjson.Object([]byte(`{"EXP":1}`), depth)
	if err != nil {
		t.Fatal(err)
	}
	if v, ok := members.Get("exp"); ok {
		t.Errorf(`Get("exp") found %s under "EXP"`, v.Raw())
	}
}

// A JSON parser must accept these files, but the rules beyond RFC 8259 refuse them.
var refusedByPolicy = map[string]string{
	"y_object_duplicated_key.json":           "a repeated name",
	"y_object_duplicated_key_and_value.json": "a repeated name",
	"y_object_escaped_null_in_key.json":      "NUL in a name",
	"y_string_null_escape.json":              "NUL in a string",
}

// A JSON parser may accept or refuse some files. This one accepts these; the others have invalid
// UTF-8, half surrogate pairs, a byte order mark or 500 levels.
var acceptedByChoice = map[string]string{
	"i_number_double_huge_neg_exp.json":   "the grammar has no limits; Float64 gives 0",
	"i_number_huge_exp.json":              "the grammar has no limits; Float64 refuses",
	"i_number_neg_int_huge_exp.json":      "the grammar has no limits; Float64 refuses",
	"i_number_pos_double_huge_exp.json":   "the grammar has no limits; Float64 refuses",
	"i_number_real_neg_overflow.json":     "the grammar has no limits; Float64 refuses",
	"i_number_real_pos_overflow.json":     "the grammar has no limits; Float64 refuses",
	"i_number_real_underflow.json":        "the grammar has no limits; Float64 gives 0",
	"i_number_too_big_neg_int.json":       "the grammar has no limits",
	"i_number_too_big_pos_int.json":       "the grammar has no limits",
	"i_number_very_big_negative_int.json": "the grammar has no limits",
}

func TestJSONTestSuite(t *testing.T) {
	t.Parallel()
	dir := filepath.Join("testdata", "json-testsuite")
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for _, f := range files {
		data, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		want := strings.HasPrefix(f.Name(), "y_")
		if refusedByPolicy[f.Name()] != "" {
			want = false
		} else if acceptedByChoice[f.Name()] != "" {
			want = true
		}
		_, err = strictjson.Parse(data, depth)
		if got := err == nil; got != want {
			t.Errorf("%s accepted: got %t (%v), want %t", f.Name(), got, err, want)
		}
		count[fmt.Sprintf("%s accepted %t", f.Name()[:1], err == nil)]++
	}
	want := map[string]int{
		"n accepted false": 188,
		"y accepted true":  91, "y accepted false": len(refusedByPolicy),
		"i accepted true": len(acceptedByChoice), "i accepted false": 25,
	}
	if diff := cmp.Diff(want, count); diff != "" {
		t.Errorf("verdicts (-want +got):\n%s", diff)
	}
	t.Logf("JSONTestSuite: %v", count)
}

// A document full of names is the most expensive one: comparing each name with every other name
// would take minutes here.
func TestManyNames(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	b.WriteString(`{"x":0`)
	for i := range 200_000 {
		fmt.Fprintf(&b, `,"%d":0`, i)
	}
	b.WriteString("}")
	members, err := strictjson.Object(b.Bytes(), depth)
	if err != nil || len(members) != 200_001 {
		t.Errorf("Object gave %d members, %v; want 200001, nil", len(members), err)
	}
}

func TestErrorsDoNotRepeatInput(t *testing.T) {
	t.Parallel()
	for _, in := range []string{`{"s3cret":s3cret}`, `{"s3cret":1,"s3cret":2}`, `s3cret`, `{"a":"s3cret\q"}`, `{} s3cret`} {
		_, err := strictjson.Object([]byte(in), depth)
		if err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("Object(%q): error %v, want one without the input in it", in, err)
		}
	}
}

// encoding/json accepts everything that strictjson accepts, and reads the same values.
func FuzzStrictJSON(f *testing.F) {
	for _, seed := range []string{
		`{"a":[1,-2.5e3,"x\u00e9\ud83d\ude00\n",true,false,null,{"b":{}}]}`,
		`{"iss":"https://a","iſs":"b"}`, `{"a":1,"A":2}`, `{"k":1,"\u212a":2}`,
		"\ufeff{}", `{"a":"\u0000"}`, `{"a":"\ud800"}`, "{\"a\":\"\xff\"}", `{} {}`, `[[[[]]]]`, ``,
		`{"exp":1e400}`, `{"exp":01}`, `{"":""}`, " \t\r\n1 ",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		value, err := strictjson.Parse(data, depth)
		if err != nil {
			if e, ok := errors.AsType[*strictjson.SyntaxError](err); !ok || e.Offset < 0 || e.Offset > len(data) {
				t.Fatalf("Parse(%q): %#v, want a *SyntaxError inside the document", data, err)
			}
			return
		}
		var want any
		d := json.NewDecoder(bytes.NewReader(data))
		d.UseNumber()
		if err := d.Decode(&want); err != nil {
			t.Fatalf("Parse accepts %q, encoding/json says %v", data, err)
		}
		if diff := cmp.Diff(want, plain(value)); diff != "" {
			t.Errorf("Parse(%q) (-encoding/json +strictjson):\n%s", data, diff)
		}
	})
}

// plain returns a value in the form that encoding/json uses.
func plain(v strictjson.Value) any {
	if members, ok := v.Members(); ok {
		m := map[string]any{}
		for _, member := range members {
			m[member.Name] = plain(member.Value)
		}
		return m
	}
	if elements, ok := v.Elements(); ok {
		a := make([]any, len(elements))
		for i, e := range elements {
			a[i] = plain(e)
		}
		return a
	}
	if text, ok := v.Text(); ok {
		return text
	}
	if b, ok := v.Bool(); ok {
		return b
	}
	if v.IsNull() {
		return nil
	}
	return json.Number(v.Raw())
}

func BenchmarkObject(b *testing.B) {
	token := []byte(`{"iss":"https://usher.example","sub":"user_1","aud":"liveblocks","iat":1799999990,"exp":1800000290,` +
		`"jti":"3q2-7wAAAAAAAAAAAAAAAA","k":"acc","pid":"usher","uid":"user_1","perms":{"acme:*":["room:write","comments:write"],` +
		`"beta:*":["room:read","room:presence:write","comments:read"]},"ui":{"name":"Alice","color":"#123456"},"org":"acme"}`)
	b.Run("strictjson", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := strictjson.Object(token, depth); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encoding/json", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var m map[string]json.RawMessage
			if err := json.Unmarshal(token, &m); err != nil {
				b.Fatal(err)
			}
		}
	})
}
